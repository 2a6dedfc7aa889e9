from __future__ import annotations

import random
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Execution.matching.candles import Candle, CandleError, path, read_candles, replay
from Execution.matching.events import Quote, Trade

RECORDED = Path(__file__).resolve().parents[1].parent / "shared" / "market_data"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded market data is not beside the repository")

D = Decimal
T0 = 1_577_836_800.0
HEADER = "datetime,open,high,low,close,volume\n"
ROW = "2020-01-01 00:00:00,10,12,9,11,4\n"


def written(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "candles.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def candle(o: object, h: object, low: object, c: object, volume: object = 8, time: float = 0.0) -> Candle:
    return Candle(time, *(D(str(x)) for x in (o, h, low, c, volume)))


def test_a_row_becomes_a_candle(tmp_path: Path) -> None:
    assert list(read_candles(written(tmp_path, HEADER + ROW))) == [candle(10, 12, 9, 11, 4, T0)]


def test_columns_go_by_name(tmp_path: Path) -> None:
    text = (
        "\ufeffVolume, Close ,LOW,High,Open,Timestamp,trades\r\n4.50,11,9,12,10.0,2020-01-01 00:00:00.000000,77\r\n\r\n"
    )
    (read,) = read_candles(written(tmp_path, text))
    assert read == candle(10, 12, 9, 11, "4.5", T0)
    assert str(read.volume) == "4.50"


@pytest.mark.parametrize(
    "time",
    [
        "2020-01-01 00:00:00",
        "2020-01-01T00:00:00Z",
        "2020-01-01T02:00:00+02:00",
        "2020-01-01",
        "1577836800",
        "1577836800000",
        "1577836800000000",
        "1577836800000000000",
    ],
)
def test_times_are_utc(tmp_path: Path, time: str) -> None:
    (read,) = read_candles(written(tmp_path, f"{HEADER}{time},10,12,9,11,4\n"))
    assert read.time == T0


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        ("2020-01-01 00:01:00,13,12,9,11,4", "open", "13"),
        ("2020-01-01 00:01:00,10,12,9,8,4", "close", "8"),
        ("2020-01-01 00:01:00,10,9,12,11,4", "open", "10"),
        ("2020-01-01 00:01:00,10,12,0,11,4", "low", "0"),
        ("2020-01-01 00:01:00,10,12,9,11,-4", "volume", "-4"),
        ("2020-01-01 00:01:00,10,12,9,NaN,4", "close", "NaN"),
        ("2020-01-01 00:01:00,10,Infinity,9,11,4", "high", "Infinity"),
        ("2020-01-01 00:01:00,1e1,12,9,11,4", "open", "1e1"),
        ("2020-01-01 00:01:00,1_0,12,9,11,4", "open", "1_0"),
        ("2020-01-01 00:01:00,,12,9,11,4", "open", ""),
        ("2020-01-01 00:01:00,\u0661,12,9,11,4", "open", "\u0661"),
        ("2020-01-01 00:00:00,10,12,9,11,4", "datetime", "2020-01-01 00:00:00"),
        ("2019-12-31 23:59:00,10,12,9,11,4", "datetime", "2019-12-31 23:59:00"),
        ("yesterday,10,12,9,11,4", "datetime", "yesterday"),
        ("2020-01-01 00:01:00,10,12,9,11", "row", "2020-01-01 00:01:00,10,12,9,11"),
        ("2020-01-01 00:01:00,10,12,9,11,4,5", "row", "2020-01-01 00:01:00,10,12,9,11,4,5"),
    ],
)
def test_a_wrong_row_is_named_after_those_before_it(tmp_path: Path, row: str, field: str, value: str) -> None:
    file = written(tmp_path, HEADER + ROW + row + "\n")
    candles = read_candles(file)
    assert next(candles).time == T0
    with pytest.raises(CandleError) as caught:
        next(candles)
    error = caught.value
    assert (error.path, error.line, error.field, error.value) == (file, 3, field, value)
    for part in (str(file), "line 3", field, repr(value)):
        assert part in str(error)


@pytest.mark.parametrize("header", ["", "open,high,low,close,volume\n", "time,open,open,high,low,close,volume\n", "\n"])
def test_the_header_must_have_every_column_once(tmp_path: Path, header: str) -> None:
    with pytest.raises(CandleError, match="header"):
        list(read_candles(written(tmp_path, header + ROW)))


def test_what_cannot_be_read_is_a_candle_error(tmp_path: Path) -> None:
    for file in (tmp_path / "nothing.csv", written(tmp_path, HEADER.encode() + b"\xff\xfe\n")):
        with pytest.raises(CandleError, match="cannot be read"):
            list(read_candles(file))


def test_flipped_bytes_give_sound_candles_or_an_error(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-01 00:{n:02}:00,10.5,12.25,9.75,11.0,4.5\n" for n in range(5))
    data, rng = (HEADER + rows).encode(), random.Random(1)
    for _ in range(2000):
        broken = bytearray(data)
        broken[rng.randrange(len(broken))] = rng.randrange(256)
        candles = []
        try:
            for one in read_candles(written(tmp_path, bytes(broken))):
                candles.append(one)
        except CandleError:
            pass
        assert all(0 < c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in candles)
        assert all(c.volume >= 0 for c in candles)
        assert all(a.time < b.time for a, b in pairwise(candles))


@recorded
@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        (
            "btc-perp-20211231-20220201_1m.csv",
            45_031,
            candle("46319.0", "46385.0", "46319.0", "46377.0", "2300413.7295", 1_640_991_660.0),
        ),
        (
            "bitstamp_btcusd_min_2020_01_01.csv",
            1_440,
            candle("7160.69", "7160.69", "7159.64", "7159.64", "5.50169101", T0),
        ),
    ],
)
def test_the_recorded_candles_are_read_and_replayed_whole(name: str, count: int, first: Candle) -> None:
    candles = list(read_candles(RECORDED / name))
    assert len(candles) == count
    assert candles[0] == first
    volume = sum(e.amount for e in replay(candles, interval=60, tick=D("0.01")) if isinstance(e, Trade))
    assert volume == sum(c.volume for c in candles)


@pytest.mark.parametrize(
    ("one", "prices"),
    [
        (candle(10, 15, 9, 12), [10, 9, 15, 12]),
        (candle(10, 11, 5, 8), [10, 11, 5, 8]),
        (candle(10, 12, 8, 11), [10, 8, 12, 11]),
        (candle(10, 12, 8, 9), [10, 12, 8, 9]),
        (candle(10, 12, 10, 11), [10, 12, 11]),
        (candle(10, 12, 8, 12), [10, 8, 12]),
        (candle(10, 10, 8, 8), [10, 8]),
        (candle(10, 10, 10, 10), [10]),
    ],
)
def test_the_path_visits_the_nearer_extreme_first(one: Candle, prices: list[int]) -> None:
    visits = path(one)
    assert [price for price, _, _ in visits] == prices
    assert sum(volume for _, volume, _ in visits) == one.volume
    moments = [moment for _, _, moment in visits]
    assert moments == sorted(set(moments))
    assert moments[0] == 0
    assert moments[-1] < 1


def test_a_candle_is_quoted_then_traded_at_each_visit() -> None:
    events = list(replay([candle(10, 15, 9, 12, 8, 600.0)], interval=60, tick=D(1), depth=D("0.5")))
    assert events == [
        Quote(600.0, 1, D(9), D(4), D(10), D(4)),
        Trade(600.0, 1, D(10), D(2), "buy"),
        Quote(620.0, 2, D(9), D(4), D(10), D(4)),
        Trade(620.0, 2, D(9), D(2), "sell"),
        Quote(640.0, 3, D(14), D(4), D(15), D(4)),
        Trade(640.0, 3, D(15), D(2), "buy"),
        Quote(659.94, 4, D(12), D(4), D(13), D(4)),
        Trade(659.94, 4, D(12), D(2), "sell"),
    ]


def test_depth_is_known_from_candles_that_are_over() -> None:
    candles = [candle(10, 10, 10, 10, v, 60.0 * n) for n, v in enumerate((8, 800, 0, 80))]
    events = list(replay(candles, interval=60, tick=D(1), depth=D("0.5")))
    assert [e.bid_size for e in events if isinstance(e, Quote)] == [4, 4, 400, 400]
    assert [e.amount for e in events if isinstance(e, Trade)] == [8, 800, 80]


def test_what_replay_refuses() -> None:
    one = candle(10, 10, 10, 10)
    for options in ({"interval": 0}, {"tick": D(0)}, {"depth": D(0)}):
        with pytest.raises(ValueError, match="greater than zero"):
            list(replay([one], **{"interval": 60.0, "tick": D(1), **options}))
    with pytest.raises(ValueError, match="starts before"):
        list(replay([one, candle(10, 10, 10, 10, 8, 30.0)], interval=60, tick=D(1)))
    with pytest.raises(ValueError, match="within one tick"):
        list(replay([candle(1, 1, 1, 1)], interval=60, tick=D(1)))


ticks = st.integers(2, 10_000)
candles_of_ticks = st.builds(
    lambda prices, close, volume: candle(
        prices[1], prices[2], prices[0], prices[0] + close % (prices[2] - prices[0] + 1), volume
    ),
    st.lists(ticks, min_size=3, max_size=3).map(sorted),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)


@given(st.lists(candles_of_ticks, max_size=6))
def test_any_candles_make_a_market_within_their_bounds(shapes: list[Candle]) -> None:
    candles = [Candle(60.0 * n, c.open, c.high, c.low, c.close, c.volume) for n, c in enumerate(shapes)]
    events = list(replay(candles, interval=60, tick=D(1)))
    assert [e.time for e in events] == sorted(e.time for e in events)
    for one in candles:
        during = [e for e in events if one.time <= e.time < one.time + 60]
        trades = [e for e in during if isinstance(e, Trade)]
        quotes = [e for e in during if isinstance(e, Quote)]
        assert sum(e.amount for e in trades) == one.volume
        assert all(one.low <= e.price <= one.high for e in trades)
        assert all(e.ask - e.bid == 1 and one.low - 1 <= e.bid and e.ask <= one.high + 1 for e in quotes)
        assert one.close in (quotes[-1].bid, quotes[-1].ask)
        assert {one.high, one.low} <= {e.price for e in trades} or not one.volume
    last = None
    for event in events:
        if isinstance(event, Trade):
            assert last is not None
            assert event.price == (last.ask if event.aggressor == "buy" else last.bid)
        else:
            last = event


def test_candles_ahead_change_nothing_before_them() -> None:
    now = [candle(10, 15, 9, 12), candle(12, 13, 11, 11, 5, 60.0)]
    futures = [candle(50, 90, 40, 41, 9999, 120.0), candle(3, 4, 2, 4, 0, 120.0)]
    short = list(replay(now, interval=60, tick=D(1)))
    for future in futures:
        assert list(replay([*now, future], interval=60, tick=D(1)))[: len(short)] == short
