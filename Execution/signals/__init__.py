"""What the executor is made of: signals checked, turned into orders, carried out once, answered.

parse        a signal, checked completely            orders       its orders, sized and rounded
once         the same key is carried out once        protection   stops and profit targets of entries
answers      what the caller gets                    liquidation  cancel all, close all
batch        many signals, two commits               inbox, loop  where `run` takes signals from, and the loop
"""
