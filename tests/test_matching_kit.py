"""Instruments, engines and checks that the tests of the matching engine share."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext

from Execution.matching.engine import Engine
from Execution.matching.model import Fill, Order, Request, Spec

D = Decimal
SPOT = Spec(
    "BTC-USDT", "BTC", "USDT", "spot", D("0.1"), D("0.001"), D("0.001"), D(1000), D(5), D("-0.0001"), D("0.001")
)
SWAP = Spec(
    "BTC-USDT-SWAP", "BTC", "USDT", "swap", D("0.1"), D("0.001"), D("0.001"), D(1000), D(5), D("0.0002"), D("0.0005"),
    max_leverage=100, maintenance_rate=D("0.005"),
)  # fmt: skip
ETH = Spec(
    "ETH-USDT-SWAP", "ETH", "USDT", "swap", D("0.01"), D("0.01"), D("0.01"), D(10000), D(5), D("0.0002"), D("0.0005"),
    max_leverage=50, maintenance_rate=D("0.01"),
)  # fmt: skip


def levels(*pairs: tuple[object, object]) -> list[tuple[Decimal, Decimal]]:
    return [(D(str(price)), D(str(size))) for price, size in pairs]


def engine(*specs: Spec, quote: bool = True, **options: object) -> Engine:
    """Accounts a and b with money and coins; books 100 x 5 / 101 x 5 unless told otherwise."""
    made = Engine(specs or (SPOT, SWAP), **options)
    for name in "ab":
        made.open_account(name, {"USDT": D(10_000), "BTC": D(50)})
    if quote:
        for spec in specs or (SPOT, SWAP):
            made.on_snapshot(
                spec.symbol, levels((100, 5), (99, 5), (98, 5)), levels((101, 5), (102, 5), (103, 5)), now=1.0
            )
    made.drain()
    return made


def limit(side: str, amount: object, price: object, symbol: str = "BTC-USDT", **more: object) -> Request:
    return Request(symbol, side, "limit", D(str(amount)), price=D(str(price)), **more)


def market(side: str, amount: object, symbol: str = "BTC-USDT", **more: object) -> Request:
    return Request(symbol, side, "market", D(str(amount)), **more)


def stop(side: str, amount: object, at: object, symbol: str = "BTC-USDT", **more: object) -> Request:
    more.setdefault("kind", "stop")
    return Request(symbol=symbol, side=side, amount=D(str(amount)), stop_price=D(str(at)), **more)


def place(made: Engine, request: Request, account: str = "a", now: float = 2.0) -> Order:
    return made.place(account, request, now)


def free(made: Engine, asset: str, account: str = "a") -> Decimal:
    return made.summary(account).balances[asset].free


def lever(made: Engine, leverage: int, account: str = "a", symbol: str = SWAP.symbol) -> None:
    made.set_leverage(account, symbol, leverage)


def size(made: Engine, account: str = "a") -> Decimal:
    return sum((position.size for position in made.positions(account)), D(0))


def quote(made: Engine, bid: object, ask: object, symbol: str = "BTC-USDT", size: object = 5, **more: object) -> None:
    made.on_quote(symbol, D(str(bid)), D(str(size)), D(str(ask)), D(str(size)), 2.0, **more)


def brief(fills: list[Fill]) -> list[tuple[int, str, str, bool]]:
    return [(fill.order_id, _text(fill.amount), _text(fill.price), fill.maker) for fill in fills]


def _text(number: Decimal) -> str:
    return f"{number.normalize():f}"


def totals(made: Engine) -> dict[str, Decimal]:
    """Every asset over accounts and house, added without rounding."""
    with localcontext(Context(prec=200)):
        total = made.house()
        for name in made._world.accounts:
            for asset, amount in made.account_state(name).balances.items():
                total[asset] = total.get(asset, D(0)) + amount
        return total


def left(order: Order) -> Decimal:
    return order.request.amount - order.filled


def check_sums(made: Engine) -> None:
    """Recompute from nothing what the engine keeps incrementally, and check what must hold at any time."""
    world = made._world
    with localcontext(Context(prec=200)):
        for account in world.accounts.values():
            _check_locks(world, account)
            for exposure in account.exposures.values():
                _check_exposure(account, exposure)
        for book in world.books.values():
            _check_book(world, book)


def _check_locks(world, account) -> None:
    locked: dict[str, Decimal] = {}
    for order in account.orders.values():
        spec = world.books[order.request.symbol].spec
        assert order.status in ("pending", "open", "partially_filled")
        assert 0 <= order.filled < order.request.amount
        if spec.kind == "spot":
            buy = order.request.side == "buy"
            asset, held = (spec.quote, left(order) * order.lock_price) if buy else (spec.base, left(order))
            assert order.locked == held
            locked[asset] = locked.get(asset, D(0)) + held
    for asset, balance in account.balances.items():
        assert account.locked.get(asset, D(0)) == locked.get(asset, D(0))
        assert balance >= account.locked.get(asset, D(0)) >= 0
    reserved = sum((exposure.reserved for exposure in account.exposures.values()), D(0))
    assert sum(account.reserved.values(), D(0)) == reserved


def _check_exposure(account, exposure) -> None:
    symbol = exposure.book.spec.symbol
    orders = [order for order in account.orders.values() if order.request.symbol == symbol]
    for side, kept in (("buy", exposure.buys), ("sell", exposure.sells)):
        plain = [o for o in orders if o.request.side == side and not o.reducing and not _waits(o)]
        assert kept.amount == sum((left(o) for o in plain), D(0))
        assert kept.notional == sum((left(o) * o.lock_price for o in plain), D(0))
        for order in plain:
            assert order.locked == left(order) * order.lock_price * exposure.lock_rate()
    assert exposure.reserved == exposure.requirement("buy", D(0), D(0)) >= 0
    assert set(exposure.reducers) == {order.order_id for order in orders if order.reducing}
    for order in exposure.reducers.values():
        room = exposure.closable(order.request.side, order.position_side)
        assert room > 0
        assert _waits(order) or left(order) <= room
    assert (symbol in account.held) == exposure.held()
    assert (account.name in exposure.book.exposed) == exposure.held()


def _waits(order: Order) -> bool:
    return order.request.kind in ("stop", "take_profit") and not order.triggered


def _check_book(world, book) -> None:
    for side, own, other in (("buy", book.buys, book.asks), ("sell", book.sells, book.bids)):
        resting = [order for level in own.at.values() for order in level.values()]
        live = [
            order
            for account in world.accounts.values()
            for order in account.orders.values()
            if order.request.symbol == book.spec.symbol and order.request.side == side
            if order.status != "pending" and not _waits(order)
        ]
        assert {o.order_id for o in resting} == {o.order_id for o in live}
        best = (max if side == "buy" else min)((o.request.price for o in resting), default=None)
        assert own.top == best
        assert best is None or not other.reaches(best), "a resting order is crossed by the recorded book"
        for level in own.at.values():
            queue = [order.queue_ahead for order in level.values()]
            assert queue == sorted(queue)
            assert [o.priority for o in level.values()] == sorted(o.priority for o in level.values())
    bid, ask = book.buys.top, book.sells.top
    assert bid is None or ask is None or bid < ask, "two accounts' orders cross"
