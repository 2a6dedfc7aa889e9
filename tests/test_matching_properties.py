"""Random histories of the matching engine: whatever happens, money, locks, positions and queues add up."""

from __future__ import annotations

import os
from collections import defaultdict
from decimal import Decimal, getcontext, localcontext
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Execution.matching.engine import Engine
from Execution.matching.model import Changes, Fill, Position, Rejected, Request
from tests.test_matching_kit import ETH, SPOT, SWAP, D, check_sums, levels, totals

SPECS = {spec.symbol: spec for spec in (SPOT, SWAP, ETH)}
SYMBOLS = list(SPECS)
ACCOUNTS = ("a", "b", "h")

MORE = int(os.environ.get("MATCHING_EXAMPLES", "1"))


def examples(count: int) -> settings:
    return settings(deadline=None, max_examples=count * MORE, suppress_health_check=list(HealthCheck))


sides = st.sampled_from(("buy", "sell"))
symbols = st.sampled_from(SYMBOLS)
prices = st.integers(970, 1030).map(lambda n: D(n) / 10)
wild_prices = st.one_of(prices, prices, st.integers(300, 2500).map(lambda n: D(n) / 10))
amounts = st.one_of(
    st.integers(1, 30).map(D), st.integers(60, 40_000).map(lambda n: D(n).scaleb(-3).quantize(D("0.01")))
)
slippages = st.sampled_from((None, None, D("0.01"), D("0.1")))


@st.composite
def requests(draw: Any) -> Request:
    kind = draw(st.sampled_from(("limit", "limit", "limit", "market", "stop", "take_profit")))
    priced = kind == "limit" or (kind != "market" and draw(st.booleans()))
    return Request(
        draw(symbols),
        draw(sides),
        kind,
        draw(amounts),
        price=draw(prices) if priced else None,
        stop_price=draw(prices) if kind in ("stop", "take_profit") else None,
        time_in_force=draw(st.sampled_from(("GTC", "GTC", "GTC", "IOC", "FOK"))),
        post_only=draw(st.integers(0, 5)) == 0,
        reduce_only=draw(st.integers(0, 3)) == 0,
        position_side=draw(st.sampled_from(("", "", "long", "short"))),
        max_slippage=draw(slippages),
    )


fine = st.integers(1, 9_999_999).map(lambda n: D(n).scaleb(-6))  # finer than any lot
sizes = st.one_of(st.just(D(0)), amounts, fine)
ladders = st.lists(st.tuples(prices, sizes), max_size=5)
accounts = st.sampled_from(ACCOUNTS)
picks = st.integers(0, 1_000)
orders = st.one_of(
    st.tuples(st.just("place"), accounts, requests()),
    st.tuples(st.just("cancel"), accounts, picks),
    st.tuples(st.just("amend"), accounts, picks, st.none() | amounts, st.none() | prices),
)
markets = st.one_of(
    st.tuples(st.just("quote"), symbols, wild_prices, amounts, fine),
    st.tuples(st.just("depth"), symbols, ladders, ladders),
    st.tuples(st.just("trade"), symbols, prices, amounts | fine, sides),
    st.tuples(st.just("mark"), symbols, wild_prices),
    st.tuples(st.just("fund"), symbols, st.sampled_from((D("0.0001"), D("-0.02"), D("0.3")))),
    st.tuples(st.just("leverage"), accounts, symbols, st.sampled_from((1, 3, 7, 50))),
)
histories = st.lists(st.one_of(orders, orders, markets), min_size=15, max_size=100)
options = st.fixed_dictionaries(
    {
        "self_trade": st.sampled_from(("cancel_maker", "cancel_taker")),
        "order_delay": st.sampled_from((0.0, 0.0, 1.5)),
        "cancel_delay": st.sampled_from((0.0, 0.0, 2.5)),
        "default_leverage": st.sampled_from((1, 5, 50)),
    }
)


def build(chosen: dict[str, Any]) -> Engine:
    made = Engine(SPECS.values(), **chosen)
    made.open_account("a", {"USDT": D(3000), "BTC": D(20)})
    made.open_account("b", {"USDT": D("100000.12345678"), "BTC": D("0.00000001")})
    made.open_account("h", {"USDT": D(5000)}, position_mode="hedge")
    for symbol in SYMBOLS:
        made.on_snapshot(
            symbol, levels((99.5, 5), (99, 20), (98, 50)), levels((100.5, 5), (101, 20), (102, 50)), now=0.0
        )
    return made


def play(made: Engine, step: tuple[Any, ...], now: float) -> Rejected | None:
    """Carry out one step; a refusal is an answer like any other."""
    what, *rest = step
    try:
        if what in ("cancel", "amend"):
            account, pick, *values = rest
            live = made.open_orders(account)
            if live and what == "cancel":
                made.cancel(account, live[pick % len(live)].order_id, now)
            elif live:
                made.amend(account, live[pick % len(live)].order_id, amount=values[0], price=values[1], now=now)
        elif what == "quote":
            symbol, bid, bid_size, ask_size = rest
            made.on_quote(symbol, bid, bid_size, bid + D("0.1"), ask_size, now)
        elif what == "leverage":
            made.set_leverage(*rest)
        else:
            call = {
                "place": made.place, "depth": made.on_depth, "trade": made.on_trade, "mark": made.on_mark,
                "fund": made.on_funding,
            }[what]  # fmt: skip
            call(*rest, now)
    except Rejected as refusal:
        return refusal
    return None


@examples(300)
@given(options, histories)
def test_money_locks_orders_and_positions_add_up(chosen: dict[str, Any], history: list[tuple[Any, ...]]) -> None:
    made = build(chosen)
    before, ledger = totals(made), Ledger()
    for number, step in enumerate(history):
        with localcontext() as context:
            context.prec = 6
            play(made, step, float(number))
            assert getcontext() is context
        assert totals(made) == before
        check_sums(made)
        ledger.follow(made.drain())
        for name in ACCOUNTS:
            ledger.check_positions(name, made.account_state(name).positions)


class Ledger:
    """Sums over all fills, kept the plain way."""

    def __init__(self) -> None:
        self.filled: dict[int, Decimal] = defaultdict(D)
        self.cost: dict[int, Decimal] = defaultdict(D)
        self.size: dict[tuple[str, str, str], Decimal] = defaultdict(D)
        self.traded: dict[tuple[str, str, str], Decimal] = defaultdict(D)
        self.trade_id = 0

    def follow(self, changes: Changes) -> None:
        orders = {order.order_id: order for order in changes.orders}
        for fill in changes.fills:
            self._note(fill, orders[fill.order_id])
        for order in changes.orders:
            assert order.filled == self.filled[order.order_id] <= order.request.amount
            assert order.cost == self.cost[order.order_id]
            assert (order.status == "filled") == (order.filled == order.request.amount)

    def check_positions(self, account: str, positions: list[Position]) -> None:
        """Sizes are the signed sums of fills; costs and realised profits explain every coin that was traded."""
        for position in positions:
            key = (account, position.symbol, position.side)
            assert position.size == self.size[key]
            assert position.cost - position.realized_pnl == self.traded[key]

    def _note(self, fill: Fill, order: Any) -> None:
        assert fill.trade_id == self.trade_id + 1
        self.trade_id = fill.trade_id
        assert fill.amount > 0
        assert not fill.amount % SPECS[fill.symbol].lot
        request = order.request
        if request.price is not None:
            assert fill.price <= request.price if fill.side == "buy" else fill.price >= request.price
            assert not fill.maker or fill.price == request.price
        assert fill.maker or not request.post_only
        self.filled[fill.order_id] += fill.amount
        self.cost[fill.order_id] += fill.amount * fill.price
        if SPECS[fill.symbol].kind == "spot":
            return
        key = (fill.account, fill.symbol, order.position_side)
        signed = fill.amount if fill.side == "buy" else -fill.amount
        if order.reducing:
            assert self.size[key] * signed < 0, "a reduce-only order opened a position"
            assert abs(signed) <= abs(self.size[key]), "a reduce-only order flipped a position"
        self.size[key] += signed
        self.traded[key] += signed * fill.price


@examples(100)
@given(options, histories, histories)
def test_restart_reaches_the_same_state(
    chosen: dict[str, Any], first: list[tuple[Any, ...]], second: list[tuple[Any, ...]]
) -> None:
    """Stored and loaded again, through bytes, the engine goes on exactly as if it had never stopped."""
    chosen = {**chosen, "cancel_delay": 0.0}
    made = build(chosen)
    for number, step in enumerate(first):
        play(made, step, float(number))
    made.advance(1000.0)
    settle_market(made)
    made.drain()
    again = reload(made, chosen)
    for each in (made, again):
        settle_market(each)
    assert_same(made, again)
    for number, step in enumerate(second):
        play(made, step, 1002.0 + number)
        play(again, step, 1002.0 + number)
        assert_same(made, again)
    check_sums(again)


def settle_market(made: Engine) -> None:
    """The same picture of every market, and everything it sets off done."""
    for symbol in SYMBOLS:
        made.on_mark(symbol, D(100), 1001.0)
    for symbol in SYMBOLS:
        made.on_trade(symbol, D(100), D(10_000_000), "buy", 1001.0)
        made.on_trade(symbol, D(100), D(10_000_000), "sell", 1001.0)
        made.on_snapshot(symbol, levels((90, 5), (80, 5)), levels((110, 5), (120, 5)), 1001.0)


def reload(made: Engine, chosen: dict[str, Any]) -> Engine:
    world = made._world
    again = Engine(SPECS.values(), **chosen, next_order_id=world.next_order_id, next_trade_id=world.next_trade_id)
    kinds = [(type(made.account_state(name)), made.account_state(name)) for name in ACCOUNTS]
    for kind, state in kinds:
        again.load_account(msgspec.json.decode(msgspec.json.encode(state), type=kind))
    for name in reversed(ACCOUNTS):
        for order in made.open_orders(name):
            again.load_order(msgspec.json.decode(msgspec.json.encode(order), type=type(order)))
    again.drain()
    again._world.next_priority = world.next_priority  # only its order matters; equal numbers make comparing easy
    return again


def assert_same(one: Engine, two: Engine) -> None:
    assert one.drain() == two.drain()
    for name in ACCOUNTS:
        assert one.account_state(name) == two.account_state(name)
        assert one.summary(name) == two.summary(name)
        assert one.open_orders(name) == two.open_orders(name)
    for symbol in SYMBOLS:
        assert one.depth(symbol, 50) == two.depth(symbol, 50)


@examples(120)
@given(options, histories)
def test_nobody_stays_under_water(chosen: dict[str, Any], history: list[tuple[Any, ...]]) -> None:
    """The bands miss no liquidation: after every market event all equity is above maintenance."""
    made = build({**chosen, "default_leverage": 50})
    for symbol in SYMBOLS:
        made.on_mark(symbol, D(100), 0.0)
    for number, step in enumerate(history):
        play(made, step, float(number))
        if not made._world.suspects:
            assert all(made.summary(name).margin_ratio < 1 for name in ACCOUNTS)


@examples(60)
@given(options, histories)
def test_equal_calls_give_equal_results(chosen: dict[str, Any], history: list[tuple[Any, ...]]) -> None:
    one, two = build(chosen), build(chosen)
    for number, step in enumerate(history):
        play(one, step, float(number))
        play(two, step, float(number))
    assert one.drain() == two.drain()
    assert one.house() == two.house()


@examples(60)
@given(options, histories)
def test_a_refusal_changes_nothing(chosen: dict[str, Any], history: list[tuple[Any, ...]]) -> None:
    made = build({**chosen, "order_delay": 0.0, "cancel_delay": 0.0})
    for number, step in enumerate(history):
        made.drain()
        before = picture(made)
        refusal = play(made, step, float(number))
        if refusal is not None:
            assert picture(made) == before
            assert made.drain() == Changes([], [], set())
            assert refusal.code in CODES
            assert refusal.reason
            assert str(refusal)


CODES = {
    "INSUFFICIENT_FUNDS", "INVALID_ORDER", "NOT_SUPPORTED", "POST_ONLY_WOULD_CROSS", "REDUCE_ONLY_REJECTED",
    "VENUE_REJECTED",
}  # fmt: skip


def picture(made: Engine) -> bytes:
    parts = [
        (made.account_state(name), made.summary(name), sorted(made.open_orders(name), key=lambda o: o.order_id))
        for name in ACCOUNTS
    ]
    return msgspec.json.encode((parts, [made.depth(symbol, 50) for symbol in SYMBOLS], made._world.next_order_id))
