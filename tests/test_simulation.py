"""The paper account's parts: recordings as markets, replays by hand, the store, the price sources."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from Execution.common import clock, settings
from Execution.common.clock import ManualClock
from Execution.common.errors import Refused, StoreError
from Execution.common.precision import Rules
from Execution.exchanges import paper
from Execution.matching.engine import Engine
from Execution.matching.events import Event, Quote, Trade
from Execution.matching.feed import FeedError
from Execution.matching.model import AccountState, Changes, Fill, Order, Rejected, Request
from Execution.simulation import account, desk, forms, instruments, sources
from Execution.simulation.account_store import AccountStore, Saved
from Execution.simulation.paper_account import PaperAccount
from Execution.simulation.replay import replay

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT.parent / "shared" / "market_data" / "usdm_btcusdt_20240808.gz"
recorded = pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded market data is not beside the repository")
SWAP = "BTC-USDT-SWAP"
START = 1_700_000_010.0
D = Decimal


def good(answer: dict[str, Any]) -> Any:
    assert answer["success"], answer
    return answer["data"]


def restart() -> None:
    settings.forget()
    account.forget()


@pytest.fixture
def hand() -> ManualClock:
    """Time that stands still until it is moved."""
    made = ManualClock(START)
    clock.set_clock(made)
    return made


# Recordings


def line(second: float, stream: str, body: dict[str, Any]) -> str:
    data = json.dumps({"stream": f"btcusdt@{stream}", "data": body}, separators=(",", ":"))
    return f"{int((1_600_000_000 + second) * 1e9)} {data}\n"


def quote(second: float, bid: float, size: float = 5) -> str:
    return line(
        second, "bookTicker", {"u": int(second * 10) + 1, "s": "BTCUSDT", "b": str(bid), "B": str(size),
                               "a": str(bid + 1), "A": str(size)},
    )  # fmt: skip


def trade(second: float, price: float, amount: float = 1, *, sold: bool = True) -> str:
    body = {"e": "trade", "t": int(second * 10) + 1, "s": "BTCUSDT", "p": str(price), "q": str(amount), "m": sold}
    return line(second, "trade", body)


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """Ten minutes: the bid falls from 60000 by 10 each half minute; a seller's trade at the bid after each quote."""
    path = tmp_path / "btcusdt.txt"
    lines = []
    for step in range(20):
        bid = 60000 - 10 * step
        lines += [quote(30 * step, bid), trade(30 * step + 10, bid)]
    path.write_text("".join(lines))
    return path


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    """Three candles of a minute: 100 to 104, down to 90, up to 110."""
    path = tmp_path / "candles.csv"
    path.write_text(
        "timestamp,open,high,low,close,volume\n"
        "1600000000,100,105,99,104,400\n1600000060,104,104,89,90,400\n1600000120,90,111,90,110,400\n"
    )
    return path


# Recordings against the wall clock


def test_candles_are_played_as_time_passes(monkeypatch: pytest.MonkeyPatch, hand: ManualClock, candles: Path) -> None:
    monkeypatch.setenv("PAPER_SOURCE", f"candles:{candles}")
    first = good(paper.get_ticker("LTC-USDT"))
    assert (first["last"], first["price_source"], first["timestamp"]) == (100.0, "candles of candles.csv", START)
    order = good(paper.place_limit_order("LTC-USDT", "buy", 1, 95))
    hand.advance(59)
    assert good(paper.get_order_status("LTC-USDT", order["order_id"]))["status"] == "open"
    hand.advance(61)
    filled = good(paper.get_order_status("LTC-USDT", order["order_id"]))
    assert (filled["status"], filled["average_price"]) == ("filled", 95.0)
    assert START + 60 < filled["updated"] < START + 120
    assert paper.get_ticker("LTC-USDT")["message"] == ""
    restart()
    assert good(paper.get_order_status("LTC-USDT", order["order_id"])) == filled
    hand.advance(600)
    last = paper.get_ticker("LTC-USDT")
    assert last["data"]["last"] == 110.0
    assert "has ended" in last["message"]
    bars = good(paper.get_klines("LTC-USDT", "1h", start=START - 3600, limit=3))
    assert (bars[0]["open"], max(b["high"] for b in bars), min(b["low"] for b in bars)) == (100.0, 111.0, 89.0)
    assert sum(b["volume"] for b in bars) == 1200.0
    assert paper.get_klines("LTC-USDT", "1s")["data"]["error"] == "NOT_SUPPORTED"


def test_a_stream_is_played_at_its_speed(monkeypatch: pytest.MonkeyPatch, hand: ManualClock, stream: Path) -> None:
    monkeypatch.setenv("PAPER_SOURCE", f"replay:{stream}@60")
    assert good(paper.get_ticker(SWAP))["bid"] == 60000.0
    order = good(paper.place_limit_order(SWAP, "buy", 0.5, 59945))
    hand.advance(2.4)
    assert good(paper.get_ticker(SWAP))["bid"] == 59960.0
    assert good(paper.get_open_orders())[0]["order_id"] == order["order_id"]
    hand.advance(0.7)
    filled = good(paper.get_order_status(SWAP, order["order_id"]))
    assert (filled["status"], filled["average_price"]) == ("filled", 59945.0)
    assert filled["updated"] == pytest.approx(START + 3)
    restart()
    assert good(paper.get_order_status(SWAP, order["order_id"])) == filled
    assert good(paper.get_ticker(SWAP))["bid"] == 59940.0


def test_two_processes_play_the_same_recording(
    monkeypatch: pytest.MonkeyPatch, hand: ManualClock, stream: Path
) -> None:
    monkeypatch.setenv("PAPER_SOURCE", f"replay:{stream}@60")
    good(paper.get_ticker(SWAP))
    first = good(paper.place_limit_order(SWAP, "buy", 0.5, 59945))
    code = f"""
from Execution.common import clock
from Execution.exchanges import paper
clock.set_clock(lambda: {START + 3.1})
print(paper.get_order_status("{SWAP}", "{first["order_id"]}")["data"]["status"])
print(paper.place_limit_order("{SWAP}", "buy", 0.25, 59915)["data"]["order_id"])
"""
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert out[0] == "filled"
    hand.advance(3.2)
    assert len(good(paper.get_fills())) == 1
    assert [o["order_id"] for o in good(paper.get_open_orders())] == [out[1]]
    hand.advance(2)
    assert good(paper.get_order_status(SWAP, out[1]))["status"] == "filled"
    assert [f["amount"] for f in good(paper.get_fills())] == [0.5, 0.25]
    assert good(paper.get_positions(SWAP))[0]["size"] == 0.75


def test_a_symbol_that_is_not_in_the_recording(
    monkeypatch: pytest.MonkeyPatch, hand: ManualClock, stream: Path
) -> None:
    monkeypatch.setenv("PAPER_SOURCE", f"replay:{stream}")
    monkeypatch.setenv("PAPER_BALANCES", "USDT=1000,ETH=1")
    assert good(paper.get_ticker("ETH-USDT"))["bid"] is None
    assert paper.place_market_order("ETH-USDT", "sell", 0.1)["data"]["error"] == "VENUE_REJECTED"
    info = paper.get_account_info()
    assert good(info)["total_equity"] == 1000.0
    assert "ETH" in info["message"]
    assert good(paper.get_positions("ETH-USDT"))[0]["mark_price"] is None


def test_a_recording_that_breaks_off_says_so(monkeypatch: pytest.MonkeyPatch, hand: ManualClock, stream: Path) -> None:
    stream.write_text(stream.read_text()[:-20])
    monkeypatch.setenv("PAPER_SOURCE", f"replay:{stream}@1000")
    good(paper.get_ticker(SWAP))
    hand.advance(60)
    answer = paper.get_ticker(SWAP)
    assert answer["success"]
    assert "ended early" in answer["message"]
    assert "cut off" in answer["message"]


def test_candles_that_cannot_be_a_market(monkeypatch: pytest.MonkeyPatch, candles: Path) -> None:
    candles.write_text("timestamp,open,high,low,close,volume\n1600000000,100,105,99,104,400\n")
    monkeypatch.setenv("PAPER_SOURCE", f"candles:{candles}")
    answer = paper.get_ticker(SWAP)
    assert answer["data"]["error"] == "CONFIGURATION"
    assert "candles.csv" in answer["message"]


# Replays by hand


def test_a_replay_gives_each_event_after_the_engine_saw_it(stream: Path) -> None:
    seen: list[tuple[str, float, float]] = []
    before = clock.now
    for event in replay(stream, SWAP):
        assert clock.now() == event.time
        bid = good(paper.get_ticker(SWAP))["bid"]
        seen.append((type(event).__name__, event.time - 1_600_000_000, bid))
    assert seen[:3] == [("Quote", 0, 60000.0), ("Trade", 10, 60000.0), ("Quote", 30, 59990.0)]
    assert len(seen) == 40
    assert clock.now is before


def strategy(path: Path, symbol: str = SWAP) -> Iterator[Event]:
    """Buy below the market on every fifth quote, cancel on every seventh."""
    quotes = 0
    for event in replay(path, symbol):
        if isinstance(event, Quote):
            quotes += 1
            if not quotes % 5:
                good(paper.place_limit_order(symbol, "buy", "0.1", event.bid - 25, client_order_id=f"q{quotes}"))
            if not quotes % 7:
                good(paper.cancel_all_orders())
        yield event


def test_what_the_market_does_in_a_replay_is_durable(stream: Path) -> None:
    for _ in strategy(stream):
        pass
    restart()
    fills = good(paper.get_fills())
    assert [f["client_order_id"] for f in fills] == ["q10", "q15"]
    assert [f["price"] for f in fills] == [59885.0, 59835.0]
    assert all(f["maker"] and 1_600_000_000 < f["timestamp"] < 1_600_000_600 for f in fills)
    assert good(paper.get_order_status(SWAP, client_order_id="q5"))["status"] == "cancelled"
    assert [o["client_order_id"] for o in good(paper.get_open_orders())] == ["q20"]


def test_a_strategy_that_stops_early_leaves_all_in_order(stream: Path) -> None:
    before = clock.now
    events = strategy(stream)
    for event in islice(events, 25):
        last = event
    events.close()  # type: ignore[attr-defined]
    assert clock.now is before
    assert isinstance(last, Quote)
    restart()
    assert len(good(paper.get_fills())) == 1
    assert good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))["status"] == "open"


def test_a_replay_pays_funding_and_heeds_the_switch(monkeypatch: pytest.MonkeyPatch, stream: Path) -> None:
    monkeypatch.setenv("PAPER_FUNDING_INTERVAL", "60")
    monkeypatch.setenv("PAPER_FUNDING_RATE", "0.01")
    first = True
    for event in replay(stream, SWAP):
        if first:
            first = False
            good(paper.place_market_order(SWAP, "buy", 1))
            good(paper.place_limit_order(SWAP, "buy", 1, 59905))
            good(paper.cancel_all_after(200))
        last = event
    restart()
    paid = account.current()
    paper.get_open_orders()
    assert paid.engine is not None
    (position,) = paid.engine.positions("paper")
    crossed = int(last.time) // 60 - 1_600_000_000 // 60
    assert position.funding == pytest.approx(D(-599) * crossed, abs=5 * crossed)
    assert position.size == 1
    assert good(paper.get_order_status(SWAP, "2"))["status"] == "cancelled"


def test_a_replay_keeps_its_account_to_itself(stream: Path) -> None:
    events = replay(stream, SWAP)
    next(events)
    other = AccountStore(account.current().store.path)
    with other.database as connection:
        saved, _ = other.load(connection, other.newest())
        other.save(connection, other.newest() + 1, Changes([], [], set()), saved)
    answer = paper.place_limit_order(SWAP, "buy", 0.01, 50000)
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent")
    assert "replay" in answer["message"]
    with pytest.raises(StoreError, match="lost its account"):
        next(events)
    assert good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))


def test_replays_that_cannot_begin(tmp_path: Path, stream: Path) -> None:
    with pytest.raises(Refused, match=r"no\.gz") as missing:
        replay(tmp_path / "no.gz", SWAP)
    assert missing.value.code == "CONFIGURATION"
    with pytest.raises(Refused, match="ethusdt"):
        replay(stream, "ETH-USDT-SWAP")
    with pytest.raises(Refused, match="NOPE-USDT"):
        replay(stream, "NOPE-USDT")


def test_a_damaged_recording_ends_the_replay(stream: Path) -> None:
    stream.write_text(stream.read_text()[:-20])
    seen = []
    with pytest.raises(FeedError, match="cut off"):
        seen += [event for event in strategy(stream) if seen.append(event) is None]  # type: ignore[func-returns-value]
    assert len(seen) == 39
    restart()
    assert len(good(paper.get_fills())) == 2


def test_klines_of_a_replay(stream: Path) -> None:
    for event in replay(stream, SWAP):
        if event.time - 1_600_000_000 > 300:
            break
    bars: list[Any] = []
    for event in replay(stream, SWAP):
        if event.time - 1_600_000_000 > 300:
            bars = good(paper.get_klines(SWAP, "1m", limit=3))
            break
    assert [bar["closed"] for bar in bars] == [True, True, False]
    assert bars[0]["open"] > bars[0]["close"] > bars[1]["open"]


@recorded
def test_the_recorded_market_gives_the_same_history_twice() -> None:
    histories = []
    for name in ("one", "two"):
        with settings.using_account(name):
            sent = 0
            for number, event in enumerate(replay(RECORDED, SWAP)):
                if not number % 500:
                    ticker = good(paper.get_ticker(SWAP))
                    side, price = ("buy", ticker["bid"]) if number % 1000 else ("sell", ticker["ask"])
                    sent += good(paper.place_limit_order(SWAP, side, 0.01, price))["status"] != "rejected"
                if isinstance(event, Trade):
                    continue
                if number > 30_000:
                    break
            fills = [(f["order_id"], f["amount"], f["price"], f["timestamp"]) for f in good(paper.get_fills())]
            histories.append((sent, fills, good(paper.get_account_info())["balances"]["USDT"]["total"]))
    assert histories[0] == histories[1]
    assert histories[0][0] == 61
    assert len(histories[0][1]) > 20


# The store


def order(number: int, status: str = "open", **more: Any) -> Order:
    request = Request(SWAP, "buy", "limit", D("0.01"), D(50000), client_order_id=f"c{number}")
    return Order(number, "paper", request, status, 1.0, 1.0, **more)  # type: ignore[arg-type]


def fill(number: int, order_id: int, when: float = 1.0) -> Fill:
    return Fill(number, order_id, "paper", SWAP, "buy", D("0.01"), D(50000), D("0.1"), "USDT", False, when)


@pytest.fixture
def book(tmp_path: Path) -> AccountStore:
    return AccountStore(str(tmp_path / "a.db"))


def write(book: AccountStore, version: int, orders: list[Order], fills: list[Fill] | None = None) -> None:
    with book.database as connection:
        book.save(
            connection, version, Changes(orders, fills or [], {"paper"}), Saved(AccountState("paper", {}, [], {}))
        )


def test_a_load_sees_what_is_folded_and_what_is_not(book: AccountStore) -> None:
    write(book, 1, [order(1), order(2)])
    write(book, 2, [order(1, "filled", filled=D("0.01"))], [fill(1, 1)])
    with book.database as connection:
        book.fold(connection, 2)
    write(book, 3, [order(3), order(2, "cancelled")])
    write(book, 4, [order(4, "filled")], [fill(2, 4, 9.0)])
    for again in (book, AccountStore(book.path)):
        with again.database as connection:
            live = again.load(connection, again.newest())[1]
            assert [each.order_id for each in live] == [3]
            assert [each.trade_id for each in again.fills(None, None, None)] == [1, 2]
            assert [each.trade_id for each in again.fills(SWAP, None, 5.0)] == [2]
            assert again.fills("ETH-USDT", None, None) == []
            assert [each.trade_id for each in again.fills(None, 1, None)] == [1]
            assert [each.trade_id for each in again.fills(None, 4, None)] == [2]
            statuses = [again.order(n, None).status for n in (1, 2, 3, 4)]  # type: ignore[union-attr]
            assert statuses == ["filled", "cancelled", "open", "filled"]
            assert again.order(None, "c4").order_id == 4  # type: ignore[union-attr]
            assert again.order(5, None) is None
            assert again.used_client_ids(["c1", "c4", "c9"]) == {"c1", "c4"}
            assert [again.is_used(connection, each) for each in ("c1", "c4", "c9")] == [True, True, False]


def test_folding_twice_does_no_harm(book: AccountStore) -> None:
    other = AccountStore(book.path)
    write(book, 1, [order(1)], [fill(1, 1)])
    with other.database as connection:
        other.load(connection, 1)
        other.fold(connection, 1)
        other.fold(connection, 1)
    write(book, 2, [order(1, "filled")], [fill(2, 1)])
    with book.database as connection:
        book.fold(connection, 2)
    with other.database as connection:
        found = other.since(connection, 1, 2)
        assert found is not None
        assert [each.status for each in found[1]] == ["filled"]
        other.fold(connection, 2)
        assert [each.trade_id for each in other.fills(None, 1, None)] == [1, 2]
        assert connection.execute("SELECT live, first_fill, last_fill FROM orders").fetchall() == [(0, 1, 2)]


def test_too_far_back_is_said(book: AccountStore) -> None:
    for version in (1, 2, 4):
        write(book, version, [order(version)])
    with book.database as connection:
        assert book.since(connection, 2, 4) is None
        assert book.since(connection, 1, 2) is None


# The sources


def market() -> tuple[Engine, dict[str, Any]]:
    specs = instruments.default_specs(D("0.0002"), D("0.0005"))
    return Engine(specs.values()), specs


def test_the_walk_is_played_second_by_second_and_in_strides_after_a_long_absence(hand: ManualClock) -> None:
    engine, specs = market()
    source = sources.RandomSource(3, specs)
    times: list[float] = []

    class Watch:
        def on_snapshot(self, symbol: str, bids: Any, asks: Any, now: float) -> None:
            times.append(now)

        def on_quote(self, *_given: Any) -> None: ...

    watch: Any = Watch()
    source.play(watch, {SWAP}, 0.0, START)
    assert times == [START]
    source.play(watch, {SWAP}, START, START + 0.9)
    assert len(times) == 1
    source.play(watch, {SWAP}, START, START + 5)
    assert times == [START + n for n in range(6)]
    times.clear()
    hand.advance(5 + 86400)
    source.play(watch, {SWAP}, START + 5, START + 40000)
    source.play(watch, {SWAP}, START + 40000, START + 5 + 86400)
    assert len(times) < 15000
    assert times[-1] == START + 5 + 86400
    assert {times[-1] - n for n in range(3590)} <= set(times)
    steps = [after - before for before, after in pairwise(times)]
    assert max(steps) <= 25
    assert min(steps) > 0
    source.play(engine, {SWAP, "ETH-USDT"}, START, START + 86500)
    assert engine.ticker("ETH-USDT").bid is not None


def test_candles_of_the_walk_join_and_hold_the_ticker(hand: ManualClock) -> None:
    ticker = good(paper.get_ticker(SWAP))
    bars = good(paper.get_klines(SWAP, "5m", limit=4))
    assert len(bars) == 4
    assert all(one["close"] == two["open"] for one, two in pairwise(bars))
    assert bars[-1]["close"] == ticker["last"]
    assert [bar["closed"] for bar in bars] == [True, True, True, False]
    again = good(paper.get_klines(SWAP, "5m", start=bars[1]["timestamp"], limit=2))
    assert again == bars[1:3]
    assert good(paper.get_klines(SWAP, "1d", start=START + 1e6)) == []


def test_every_listed_symbol_has_a_price_on_its_ticks(hand: ManualClock) -> None:
    for symbol, spec in instruments.default_specs(D(0), D(0)).items():
        ticker = good(paper.get_ticker(symbol))
        assert 0 < ticker["bid"] < ticker["ask"]
        assert D(str(ticker["bid"])) % spec.tick == 0
        assert D(str(ticker["bid_size"])) % spec.lot == 0
        assert spec.min_notional < ticker["bid"] * ticker["bid_size"] < 1e8


def test_a_symbol_added_later_walks_on_its_own_ticks(hand: ManualClock) -> None:
    good(paper.add_instrument("NEW-USDT", "0.25", "0.5"))
    ticker = good(paper.get_ticker("NEW-USDT"))
    assert D(str(ticker["bid"])) % D("0.25") == 0
    assert good(paper.place_market_order("NEW-USDT", "buy", 2))["filled"] == 2.0
    restart()
    assert good(paper.get_ticker("NEW-USDT")) == ticker


def test_a_venue_needs_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "venue:other")
    monkeypatch.setattr(sources, "ticker_of", None)
    answer = paper.get_ticker(SWAP)
    assert answer["data"]["error"] == "CONFIGURATION"
    assert "registry" in answer["message"]


# Several engines of one account


def state(held: PaperAccount) -> Any:
    """Everything an engine believes about its account, and what follows from it."""
    orders = desk.open_orders(held, None)
    summary, mode = desk.summary(held)
    assert held.engine is not None
    positions = sorted(held.engine.positions("paper"), key=lambda each: (each.symbol, each.side))
    # Where an order stands in the queue is each process's own observation; its funds and its fills are not.
    plain = [msgspec.structs.replace(each, queue_ahead=D(0), priority=0) for each in orders]
    return sorted(plain, key=lambda each: each.order_id), summary, positions, mode, held.engine.next_ids


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("mode", ["net", "hedge"])
def test_engines_that_share_an_account_agree(monkeypatch: pytest.MonkeyPatch, seed: int, mode: str) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    monkeypatch.setenv("PAPER_POSITION_MODE", mode)
    monkeypatch.setenv("PAPER_BALANCES", "USDT=20000,BTC=0.3")
    dice = random.Random(seed)
    several = [PaperAccount("") for _ in range(3)]
    symbols = (SWAP, "BTC-USDT", "ETH-USDT-SWAP")
    rules = {symbol: several[0].rules(symbol) for symbol in symbols}
    for symbol in symbols:
        desk.set_price(several[0], symbol, forms.build_prices(rules[symbol], 1000, 1001, 2, None))
    refused = 0
    for _ in range(150):
        held, symbol = dice.choice(several), dice.choice(symbols)
        try:
            refused += not _anything(dice, held, symbol, rules[symbol])
        except Rejected:
            refused += 1
        if dice.random() < 0.2:
            assert state(several[0]) == state(several[1])
    fresh = PaperAccount("")
    believed = [state(each) for each in (*several, fresh)]
    assert all(each == believed[0] for each in believed)
    assert refused < 75
    histories = [desk.fills(each, None, None, None) for each in (*several, fresh)]
    assert all(each == histories[0] for each in histories)
    assert histories[0]
    for each in (*several, fresh):
        each.close()


def _anything(dice: random.Random, held: PaperAccount, symbol: str, rules: Rules) -> bool:
    """Do one thing of those a trader or the market may do."""
    what, side, amount = dice.random(), dice.choice(("buy", "sell")), D(dice.randint(10, 300)) / 1000
    price = dice.randint(960, 1040)
    reduce = symbol.endswith("SWAP") and dice.random() < 0.3
    if what < 0.15:
        desk.set_price(held, symbol, forms.build_prices(rules, price, price + dice.randint(1, 4), 2, None))
    elif what < 0.30:
        live = desk.open_orders(held, symbol)
        if not live:
            return True
        desk.cancel(held, symbol, dice.choice(live).order_id, None)
    elif what < 0.33:
        desk.cancel_all(held, dice.choice((None, symbol)))
    elif what < 0.38 and symbol.endswith("SWAP"):
        desk.set_leverage(held, symbol, dice.randint(1, 20))
    elif what < 0.55:
        desk.place(held, forms.build_market_order(rules, side, amount, reduce_only=reduce))
    elif what < 0.70:
        stop = forms.build_stop_order if dice.random() < 0.5 else forms.build_take_profit_order
        desk.place(held, stop(rules, side, amount, price, reduce_only=reduce))
    elif what < 0.8:
        orders = [forms.build_limit_order(rules, side, amount, price + n) for n in range(4)]
        return any(not isinstance(each, Rejected) for each in desk.place_many(held, orders)[0])
    else:
        desk.place(held, forms.build_limit_order(rules, side, amount, price, reduce_only=reduce))
    return True
