"""Price-time priority and the queue model, compared fill by fill with a matcher that is slow and plain."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Execution.matching.engine import Engine
from Execution.matching.model import Request
from tests.test_matching_kit import SPOT, D, brief, check_sums, limit, market

Row = tuple[int, str, str, bool]
OTHER = {"buy": "sell", "sell": "buy"}


@dataclass
class Waiting:
    number: int
    account: str
    side: str
    price: Decimal
    left: Decimal
    ahead: Decimal


@dataclass
class Slow:
    """The rules written down once more with lists, sorting everything every time."""

    shown: dict[str, dict[Decimal, Decimal]] = field(default_factory=lambda: {"buy": {}, "sell": {}})
    waiting: list[Waiting] = field(default_factory=list)
    fills: list[tuple[int, Decimal, Decimal, bool]] = field(default_factory=list)

    def queue(self, side: str, price: Decimal) -> list[Waiting]:
        return [each for each in self.waiting if each.side == side and each.price == price]

    def prices(self, side: str, *, ours: bool = False) -> list[Decimal]:
        found = {each.price for each in self.waiting if each.side == side}
        if not ours:
            found |= {price for price, size in self.shown[side].items() if size}
        return sorted(found, reverse=side == "buy")

    def eat(self, side: str, price: Decimal, amount: Decimal) -> None:
        self.shown[side][price] -= amount
        for each in self.queue(side, price):
            each.ahead = max(D(0), each.ahead - amount)

    def fill(self, each: Waiting, amount: Decimal) -> None:
        self.fills.append((each.number, amount, each.price, True))
        each.left -= amount
        self.waiting = [one for one in self.waiting if one.left]

    def place(self, number: int, account: str, request: Request) -> None:
        other, amount, price = OTHER[request.side], request.amount, request.price
        while amount and (prices := self.prices(other)):
            best = prices[0]
            if price is not None and (best > price if request.side == "buy" else best < price):
                break
            queue, shown = self.queue(other, best), self.shown[other].get(best, D(0))
            ahead = min(queue[0].ahead, shown) if queue else shown
            if ahead:
                part = min(amount, ahead)
                self.eat(other, best, part)
                self.fills.append((number, part, best, False))
            elif queue[0].account == account:
                self.waiting.remove(queue[0])
                continue
            else:
                part = min(amount, queue[0].left)
                self.fills.append((number, part, best, False))
                self.fill(queue[0], part)
            amount -= part
        if amount and price is not None and request.time_in_force == "GTC":
            ahead = self.shown[request.side].get(price, D(0))
            self.waiting.append(Waiting(number, account, request.side, price, amount, ahead))

    def quote(self, bid: Decimal, bid_size: Decimal, ask: Decimal, ask_size: Decimal) -> None:
        self.shown["buy"] = {price: size for price, size in self.shown["buy"].items() if price < bid} | {bid: bid_size}
        self.shown["sell"] = {price: size for price, size in self.shown["sell"].items() if price > ask} | {
            ask: ask_size
        }
        for each in self.waiting:
            top = bid if each.side == "buy" else ask
            if each.price >= top if each.side == "buy" else each.price <= top:
                each.ahead = min(each.ahead, self.shown[each.side].get(each.price, D(0)))
        self.cross()

    def depth(self, side: str, price: Decimal, size: Decimal) -> None:
        self.shown[side][price] = size
        other = self.shown[OTHER[side]]
        if size:
            for level in other:
                if level <= price if side == "buy" else level >= price:
                    other[level] = D(0)
        for each in self.waiting:
            if (each.price, each.side) == (price, side) or not self.shown[each.side].get(each.price, D(0)):
                each.ahead = min(each.ahead, self.shown[each.side].get(each.price, D(0)))
        self.cross()

    def cross(self) -> None:
        for side in ("buy", "sell"):
            other = OTHER[side]
            while prices := self.prices(side, ours=True):
                levels = sorted((p for p, s in self.shown[other].items() if s), reverse=other == "buy")
                if not levels or (levels[0] > prices[0] if side == "buy" else levels[0] < prices[0]):
                    break
                first = self.queue(side, prices[0])[0]
                part = min(first.left, self.shown[other][levels[0]])
                self.shown[other][levels[0]] -= part
                self.fill(first, part)

    def trade(self, price: Decimal, amount: Decimal, aggressor: str) -> None:
        side = OTHER[aggressor]
        for level in self.prices(side, ours=True):
            through = level > price if side == "buy" else level < price
            for each in self.queue(side, level):
                if through:
                    each.ahead = D(0)
                elif level != price:
                    return
                part = min(amount, each.ahead)
                amount -= part
                for one in self.queue(side, level):
                    one.ahead = max(D(0), one.ahead - part)
                if part := min(amount, each.left):
                    amount -= part
                    self.fill(each, part)


prices = st.integers(95, 105).map(D)
amounts = st.integers(1, 9).map(D)
sides = st.sampled_from(("buy", "sell"))
steps = st.one_of(
    st.tuples(st.just("limit"), st.sampled_from("abc"), sides, amounts, prices, st.sampled_from(("GTC", "GTC", "IOC"))),
    st.tuples(st.just("limit"), st.sampled_from("abc"), sides, amounts, prices, st.just("GTC")),
    st.tuples(st.just("market"), st.sampled_from("abc"), sides, amounts),
    st.tuples(st.just("cancel"), st.integers(0, 99)),
    st.tuples(st.just("quote"), prices, amounts, amounts, st.integers(1, 3)),
    st.tuples(st.just("depth"), sides, prices, st.integers(0, 9).map(D)),
    st.tuples(st.just("trade"), prices, st.integers(1, 25).map(D), sides),
)


@settings(deadline=None, max_examples=600, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=10, max_size=80))
def test_fills_equal_those_of_the_slow_matcher(history: list[tuple[Any, ...]]) -> None:
    made, slow = Engine([SPOT]), Slow()
    for name in "abc":
        made.open_account(name, {"USDT": D(10**9), "BTC": D(10**6)})
    made.on_quote(SPOT.symbol, D(99), D(5), D(101), D(5), 0.0)
    slow.quote(D(99), D(5), D(101), D(5))
    for number, (what, *rest) in enumerate(history):
        play(made, slow, what, rest, float(number))
        assert brief(made.drain().fills) == told(slow)
        assert alive(made) == {each.number: (each.left, each.ahead) for each in slow.waiting}
        check_sums(made)


def play(made: Engine, slow: Slow, what: str, rest: list[Any], now: float) -> None:
    symbol = SPOT.symbol
    if what in ("limit", "market"):
        account, side, amount, *more = rest
        request = limit(side, amount, more[0], time_in_force=more[1]) if more else market(side, amount)
        slow.place(made.place(account, request, now).order_id, account, request)
    elif what == "cancel":
        if slow.waiting:
            gone = slow.waiting.pop(rest[0] % len(slow.waiting))
            made.cancel(gone.account, gone.number, now)
    elif what == "quote":
        bid, bid_size, ask_size, spread = rest
        made.on_quote(symbol, bid, bid_size, bid + spread, ask_size, now)
        slow.quote(bid, bid_size, bid + spread, ask_size)
    elif what == "depth":
        side, price, size = rest
        made.on_depth(symbol, *([(price, size)] if side == each else [] for each in ("buy", "sell")), now=now)
        slow.depth(side, price, size)
    else:
        made.on_trade(symbol, *rest, now=now)
        slow.trade(*rest)


def told(slow: Slow) -> list[Row]:
    rows = [(number, f"{amount:f}", f"{price:f}", maker) for number, amount, price, maker in slow.fills]
    slow.fills.clear()
    return rows


def alive(made: Engine) -> dict[int, tuple[Decimal, Decimal]]:
    return {
        order.order_id: (order.request.amount - order.filled, order.queue_ahead)
        for name in "abc"
        for order in made.open_orders(name)
    }
