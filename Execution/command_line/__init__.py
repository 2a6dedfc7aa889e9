"""The command line: what `python -m Execution` shows and answers."""
