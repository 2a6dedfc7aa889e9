from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from Execution.matching import continuity, wire
from Execution.matching.feed import Depth, Event, Feed, FeedError, Gap, Quote, Snapshot, Trade, read

RECORDED = Path(__file__).resolve().parents[1].parent / "shared" / "market_data"
USDM = RECORDED / "usdm_btcusdt_20240808.gz"
SPOT = RECORDED / "spot_ethusdt_20240808.gz"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded market data is not beside the repository")

T0 = 1_700_000_000_000_000_000
D = Decimal


def line(body: object, ms: float = 0, *, stream: str = "") -> bytes:
    whole = {"stream": stream, "data": body} if stream else body
    text = whole if isinstance(whole, str) else json.dumps(whole, separators=(",", ":"))
    return b"%d %s\n" % (T0 + int(ms * 1_000_000), text.encode())


def quote(ms: float = 0, bid: object = "100.10", ask: object = "100.20", u: object = 7, sym: str = "btcusdt") -> bytes:
    return line({"u": u, "s": "X", "b": bid, "B": "1.5", "a": ask, "A": "2.50"}, ms, stream=f"{sym}@bookTicker")


def trade(
    ms: float = 0, price: object = "100.2", amount: object = "0.3", *, maker: object = False, **more: object
) -> bytes:
    body = {"e": "trade", "s": "X", "t": 9, "p": price, "q": amount, "m": maker, **more}
    return line(body, ms, stream="btcusdt@trade")


def depth(first: int, last: int, pu: int | None = None, ms: float = 0, bids: object = (("100.0", "1"),)) -> bytes:
    body = {"e": "depthUpdate", "s": "X", "U": first, "u": last, "b": bids, "a": [["101.0", "0"]]}
    return line(body if pu is None else {**body, "pu": pu}, ms, stream="btcusdt@depth@100ms")


def snapshot(update_id: int, ms: float = 0) -> bytes:
    return line({"lastUpdateId": update_id, "bids": [["100.0", "3"]], "asks": [["100.5", "4"]]}, ms)


def feed_of(tmp_path: Path, *lines: bytes, packed: bool = False, **options: object) -> Feed:
    path = tmp_path / "recording"
    data = b"".join(lines)
    path.write_bytes(gzip.compress(data) if packed else data)
    return read(path, **options)  # type: ignore[arg-type]


def drain(feed: Feed) -> tuple[list[Event], FeedError | None]:
    events: list[Event] = []
    try:
        for event in feed:
            events.append(event)
    except FeedError as error:
        return events, error
    return events, None


@pytest.mark.parametrize("packed", [False, True])
def test_every_kind_arrives_exact_and_in_order(tmp_path: Path, packed: bool) -> None:
    feed = feed_of(tmp_path, snapshot(5, 0), quote(1), trade(2, maker=True), depth(6, 8, 5, 3), trade(4), packed=packed)
    at = [(T0 + ms * 1_000_000) / 1e9 for ms in range(5)]
    assert list(feed) == [
        Snapshot(at[0], 5, [(D("100.0"), D(3))], [(D("100.5"), D(4))]),
        Quote(at[1], 7, D("100.10"), D("1.5"), D("100.20"), D("2.50")),
        Trade(at[2], 9, D("100.2"), D("0.3"), "sell"),
        Depth(at[3], 5, 8, [(D("100.0"), D(1))], [(D("101.0"), D(0))], True),
        Trade(at[4], 9, D("100.2"), D("0.3"), "buy"),
    ]
    assert (feed.skipped, feed.gaps, feed.line) == (0, 0, 5)
    assert list(feed) == []


def test_numbers_keep_their_text(tmp_path: Path) -> None:
    (event,) = feed_of(tmp_path, quote(0, "0.1000000000000000055511151231257827", "0.30"))
    assert isinstance(event, Quote)
    assert str(event.bid) == "0.1000000000000000055511151231257827"
    assert str(event.ask) == "0.30"


def test_forgetting_numbers_changes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [trade(n, f"{n % 7 + 1}.50", f"0.{n + 1}") for n in range(100)]
    expected = list(feed_of(tmp_path, *lines))
    monkeypatch.setattr(wire, "REMEMBERED", 3)
    assert list(feed_of(tmp_path, *lines)) == expected


def test_layout_of_the_json_does_not_matter(tmp_path: Path) -> None:
    body = {"m": False, "q": "1", "p": "2", "t": 3, "e": "trade"}
    turned = line(json.dumps({"data": body, "stream": "BTCUSDT@trade"}))
    spaced = line(json.dumps({"stream": "btcusdt@trade", "data": body}))
    assert len(list(feed_of(tmp_path, turned, spaced, trade(1).replace(b"\n", b"\r\n")))) == 3


@pytest.mark.parametrize("symbol", ["", "BTC-USDT", "BTC-USDT-SWAP", "BTC/USDT:USDT", "BTC/USDT", "btcusdt"])
def test_the_symbol_may_be_written_as_anywhere_else(tmp_path: Path, symbol: str) -> None:
    feed = feed_of(tmp_path, quote(), quote(1, sym="ethusdt"), quote(2), symbol=symbol)
    assert len(list(feed)) == 2
    assert feed.ignored == {"ethusdt@bookTicker": 1}


def test_unknown_streams_are_counted_by_name_within_bounds(tmp_path: Path) -> None:
    strange = [line({}, n, stream=f"btcusdt@kline_{n}m") for n in range(300)]
    feed = feed_of(tmp_path, quote(), *strange, line({}, 300, stream="btcusdt@depth20@100ms"))
    assert len(list(feed)) == 1
    assert feed.ignored.total() == 301
    assert len(feed.ignored) <= 101
    assert feed.skipped == 0


def test_a_recording_of_something_else_is_an_error_not_a_quiet_market(tmp_path: Path) -> None:
    events, error = drain(feed_of(tmp_path, quote(), symbol="ETH-USDT"))
    assert events == []
    assert error is not None
    assert "no message of ethusdt" in error.what
    assert "btcusdt@bookTicker" in error.what


def test_trades_outside_the_book_are_left_out_and_counted(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, trade(), trade(1, X="INSURANCE_FUND"), trade(2, "0", "0", X="NA"), trade(3, X="MARKET"))
    assert len(list(feed)) == 2
    assert feed.off_book == 2


BAD = {
    "not JSON": line('{"stream":"btcusdt@trade","data":{'),
    "no stamp": b'{"stream":"btcusdt@trade"}\n',
    "short stamp": b"1700000 {}\n",
    "underscored stamp": quote(5).replace(b"17000000000", b"1_000000000"),
    "text": b"hello\n",
    "binary": b"\x00\xff\xfe\n",
    "neither stream nor snapshot": line({"result": None, "id": 1}),
    "list": line([1, 2]),
    "number for text": quote(0, 100.1),
    "null price": quote(0, None),
    "negative price": quote(0, "-100.1"),
    "negative size": depth(1, 2, 0, bids=[["1", "-1"]]),
    "level of three": depth(1, 2, 0, bids=[["1", "1", "1"]]),
    "level price zero": depth(1, 2, 0, bids=[["0.0", "1"]]),
    "ids descend": depth(9, 2, 8),
    "zero price": trade(0, "0.00"),
    "zero amount": trade(0, "1", "0"),
    "NaN": trade(0, "NaN"),
    "infinite": trade(0, "Infinity"),
    "exponent": trade(0, "1e5"),
    "underscore": trade(0, "1_0"),
    "other script": trade(0, "\u0661"),
    "two points": trade(0, "1.2.3"),
    "empty": trade(0, ""),
    "too long": trade(0, "1" * 41),
    "aggressor text": trade(0, maker="true"),
    "aggressor number": trade(0, maker=1),
    "id text": quote(0, u="7"),
    "id negative": quote(0, u=-7),
    "id fraction": quote(0, u=7.5),
    "crossed": quote(0, "100.2", "100.1"),
    "locked": quote(0, "100.2", "100.2"),
    "crossed snapshot": line({"lastUpdateId": 1, "bids": [["2", "1"]], "asks": [["1", "1"]]}),
    "wrong event": line({"e": "aggTrade", "t": 1, "p": "1", "q": "1", "m": True}, stream="btcusdt@trade"),
    "data missing": line({"stream": "btcusdt@trade"}),
    "nested too deep": line('{"stream":"btcusdt@trade","data":' + "[" * 100_000),
    "invalid UTF-8": trade(0, "1").replace(b'"X"', b'"\xff\xfe"').replace(b"100", b"\xc3\x28"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_skipped_counted_and_explained(tmp_path: Path, bad: bytes) -> None:
    if bad is BAD["invalid UTF-8"]:
        bad = trade(0).replace(b"100.2", b"\xc3\x28")
    for before in ((), (trade(0), quote(0), snapshot(0))):
        feed = feed_of(tmp_path, *before, bad, trade(1))
        assert list(feed)[-1] == Trade((T0 + 1_000_000) / 1e9, 9, D("100.2"), D("0.3"), "buy")
        assert feed.skipped == 1
        assert feed.reasons[0].startswith(f"line {len(before) + 1}: ")


def test_blank_lines_are_nothing(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, b"\n \r\n", trade(), b"\n")
    assert len(list(feed)) == 1
    assert feed.skipped == 0


def test_too_many_bad_lines_refuse_the_file_after_what_was_good(tmp_path: Path) -> None:
    events, error = drain(feed_of(tmp_path, trade(), *[b"x\n"] * 20, trade(1), max_skipped=10))
    assert len(events) == 1
    assert error is not None
    assert error.line == 12
    assert "more than 10 bad lines; the first: line 2" in error.what


def test_reasons_are_bounded(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, *[b"x\n"] * 50, trade())
    assert len(list(feed)) == 1
    assert (feed.skipped, len(feed.reasons)) == (50, 10)


def test_a_clock_corrected_by_less_than_a_second_never_runs_backwards(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, trade(1000), trade(400), trade(1001), trade(-5000), trade(1002))
    times = [event.time for event in feed]
    assert times == sorted(times)
    assert (len(times), feed.clamped, feed.skipped) == (4, 1, 1)
    assert "goes back by" in feed.reasons[0]


def test_one_leap_is_a_bad_line_and_two_are_a_pause(tmp_path: Path) -> None:
    day = 86_400_000
    feed = feed_of(
        tmp_path, trade(0), trade(900 * day), trade(1), trade(2 * day), trade(2 * day + 1), trade(2 * day + 2)
    )
    assert [event.time - T0 / 1e9 for event in feed] == pytest.approx([0, 0.001, 2 * 86_400.001, 2 * 86_400.001], abs=1)
    assert feed.skipped == 2
    assert all("leaps forward" in reason for reason in feed.reasons)


def kinds(events: list[Event]) -> str:
    return "".join(type(event).__name__[0] for event in events)


def test_usdm_depth_waits_for_the_snapshot_and_joins_it(tmp_path: Path) -> None:
    feed = feed_of(
        tmp_path,
        depth(1, 4, 0, 0),
        quote(1),
        depth(5, 10, 4, 2),
        depth(11, 14, 10, 3),
        trade(4),
        snapshot(12, 5),
        depth(15, 20, 14, 6),
    )
    events, _ = drain(feed)
    assert kinds(events) == "QTSDD"
    assert [(e.update_id, round((e.time - T0 / 1e9) * 1e3)) for e in events[2:] if isinstance(e, Depth)] == [
        (14, 5),
        (20, 6),
    ]
    assert (feed.stale, feed.gaps) == (2, 0)


@pytest.mark.parametrize(("pu", "kept"), [(4, [10, 14]), (None, [14])], ids=["usdm", "spot"])
def test_an_update_ending_on_the_snapshot(tmp_path: Path, pu: int | None, kept: list[int]) -> None:
    feed = feed_of(tmp_path, snapshot(10), depth(5, 10, pu), depth(11, 14, None if pu is None else 10))
    assert [event.update_id for event in feed if isinstance(event, Depth)] == kept
    assert feed.gaps == 0


def test_a_hole_is_reported_and_the_next_snapshot_heals_it(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, snapshot(10), depth(11, 12), depth(15, 16), depth(17, 18), snapshot(15), depth(19, 20))
    events, error = drain(feed)
    assert error is None
    assert kinds(events) == "SDGDDSDDD"
    gap = events[2]
    assert isinstance(gap, Gap)
    assert (gap.line, gap.expected, gap.found) == (3, 12, 14)
    assert [e.update_id for e in events if isinstance(e, Depth)] == [12, 16, 18, 16, 18, 20]
    assert feed.gaps == 1


def test_a_snapshot_that_does_not_bridge_is_a_gap(tmp_path: Path) -> None:
    assert kinds(list(feed_of(tmp_path, snapshot(10), depth(13, 14)))) == "SGD"
    assert kinds(list(feed_of(tmp_path, depth(13, 14), snapshot(10)))) == "SGD"


def test_repeats_and_snapshots_behind_the_book_change_nothing(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, snapshot(10), depth(11, 12), depth(11, 12), snapshot(11), snapshot(10), depth(13, 14))
    assert kinds(list(feed)) == "SDD"
    assert feed.stale == 3


def test_a_snapshot_ahead_of_the_stream_replaces_the_book(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, snapshot(10), depth(11, 12), snapshot(20), depth(13, 14), depth(15, 22))
    events = list(feed)
    assert kinds(events) == "SDSD"
    assert feed.gaps == 0


def test_depth_without_any_snapshot_is_said_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuity, "HELD", 5)
    feed = feed_of(tmp_path, trade(), *[depth(n, n, n - 1) for n in range(1, 20)])
    events = list(feed)
    assert kinds(events) == "TG"
    gap = events[1]
    assert isinstance(gap, Gap)
    assert "no snapshot: 19 depth updates" in gap.reason


class Engine:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def on_snapshot(self, *args: object) -> None:
        self.calls.append(("snapshot", *args))

    def on_depth(self, *args: object) -> None:
        self.calls.append(("depth", *args))

    def on_quote(self, *args: object) -> None:
        self.calls.append(("quote", *args))

    def on_trade(self, *args: object) -> None:
        self.calls.append(("trade", *args))


def test_events_enter_an_engine(tmp_path: Path) -> None:
    engine, now = Engine(), T0 / 1e9
    for event in feed_of(tmp_path, snapshot(5), quote(), trade(), depth(6, 8), depth(99, 99)):
        event.apply(engine, "S")
    level = [(D("100.0"), D(1))], [(D("101.0"), D(0))]
    assert engine.calls == [
        ("snapshot", "S", [(D("100.0"), D(3))], [(D("100.5"), D(4))], now),
        ("quote", "S", D("100.1"), D("1.5"), D("100.2"), D("2.5"), now, 7),
        ("trade", "S", D("100.2"), D("0.3"), "buy", now),
        ("depth", "S", *level, now, 8),
        ("depth", "S", *level, now, 99),
    ]


SMALL = (snapshot(5), quote(1), depth(6, 8, 5, 2), trade(3), quote(4, "100.15"), trade(5, maker=True))


def whole(tmp_path: Path) -> list[Event]:
    return list(feed_of(tmp_path, *SMALL))


def test_a_plain_file_cut_at_any_byte_gives_a_prefix_and_says_so(tmp_path: Path) -> None:
    expected, data = whole(tmp_path), b"".join(SMALL)
    for size in range(len(data)):
        events, error = drain(feed_of(tmp_path, data[:size]))
        assert events == expected[: len(events)]
        complete = data[:size].count(b"\n")
        assert len(events) >= complete
        whole_lines = size > 0 and (data[size - 1 : size] == b"\n" or data[size : size + 1] == b"\n")
        assert (error is None) == whole_lines, size


def test_a_gzip_file_cut_at_any_byte_gives_a_prefix_and_says_so(tmp_path: Path) -> None:
    expected, data = whole(tmp_path), gzip.compress(b"".join(SMALL))
    best = 0
    for size in range(len(data)):
        events, error = drain(feed_of(tmp_path, data[:size]))
        assert events == expected[: len(events)]
        assert error is not None
        assert error.path == tmp_path / "recording"
        best = max(best, len(events))
    assert best == len(expected)


def test_every_flipped_bit_of_a_gzip_file_is_noticed_where_it_matters(tmp_path: Path) -> None:
    """Only the header's comments and the padding before the checksum mean nothing: there every event is as it was."""
    expected, data = whole(tmp_path), gzip.compress(b"".join(SMALL))
    unnoticed = 0
    for at in range(8 * len(data)):
        broken = bytearray(data)
        broken[at // 8] ^= 1 << at % 8
        events, error = drain(feed_of(tmp_path, bytes(broken)))
        assert error is not None or events == expected, at
        unnoticed += error is None
    assert unnoticed < 64


def sound(event: Event) -> bool:
    match event:
        case Quote():
            return 0 < event.bid < event.ask and event.bid_size >= 0 and event.ask_size >= 0
        case Trade():
            return event.price > 0 and event.amount > 0 and event.aggressor in ("buy", "sell")
        case Snapshot() | Depth():
            return all(price > 0 and size >= 0 for price, size in event.bids + event.asks)
    return True


def test_flipped_bytes_in_text_give_sound_numbers_or_none(tmp_path: Path) -> None:
    data, rng = b"".join(SMALL), random.Random(2)
    for _ in range(3000):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        feed = feed_of(tmp_path, bytes(broken))
        events, _ = drain(feed)
        times = [event.time for event in events]
        assert all(map(sound, events))
        assert times == sorted(times)


def test_noise_is_refused(tmp_path: Path) -> None:
    rng = random.Random(3)
    for _ in range(200):
        events, error = drain(feed_of(tmp_path, rng.randbytes(rng.randrange(400))))
        assert events == []
        assert error is not None


def test_a_file_that_is_not_there_and_one_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FeedError, match="cannot be read"):
        list(read(tmp_path / "nothing.gz"))
    monkeypatch.setattr("Execution.matching.feed.LONGEST_LINE", 1000)
    events, error = drain(feed_of(tmp_path, trade(), b"x" * 300_000))
    assert error is not None
    assert "longer than 1000 bytes" in error.what
    assert len(events) == 1


def test_recordings_joined_byte_to_byte_are_one(tmp_path: Path) -> None:
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(trade() + trade(1)[:20]) + gzip.compress(trade(1)[20:]))
    assert len(list(read(path))) == 2


def test_a_pass_can_be_abandoned_and_taken_up(tmp_path: Path) -> None:
    feed = feed_of(tmp_path, *SMALL)
    assert kinds(list(islice(feed, 2))) == "SQ"
    assert kinds([next(feed)]) == "D"
    assert kinds(list(feed)) == "TQT"


@recorded
@pytest.mark.parametrize(
    ("path", "symbol", "counts"),
    [
        (USDM, "BTC-USDT-SWAP", {"Quote": 66089, "Trade": 21313, "Depth": 6547, "Snapshot": 1}),
        (SPOT, "ETH-USDT", {"Quote": 24077, "Trade": 6106, "Depth": 3432, "Snapshot": 1}),
    ],
    ids=["usdm", "spot"],
)
def test_the_recordings_are_read_to_the_last_message(path: Path, symbol: str, counts: dict[str, int]) -> None:
    feed = read(path, symbol=symbol)
    events = list(feed)
    assert Counter(type(event).__name__ for event in events) == counts
    assert (feed.skipped, feed.clamped, feed.gaps, feed.off_book, feed.ignored) == (0, 0, 0, 0, {})
    assert feed.stale == feed.line - len(events)
    times = [event.time for event in events]
    assert times == sorted(times)
    assert all(map(sound, events))


@recorded
def test_the_recorded_book_agrees_with_the_recorded_quotes() -> None:
    """The best levels built from snapshot and depth alone must be quotes that bookTicker gave around that id."""
    quoted: dict[tuple[Decimal, Decimal], None] = {}
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    tops = []
    for event in read(SPOT, symbol="ETH-USDT"):
        if isinstance(event, Quote):
            quoted[event.bid, event.ask] = None
        elif isinstance(event, Snapshot | Depth):
            for book, levels in ((bids, event.bids), (asks, event.asks)):
                book.update(levels)
                for price in [price for price, size in levels if not size]:
                    book.pop(price, None)
            tops.append((max(bids), min(asks)))
    assert len(tops) > 3_000
    assert sum(top in quoted for top in tops) / len(tops) > 0.95
