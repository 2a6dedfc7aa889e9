"""Paper: the venue inside this package. Real rules, fees, margin and matching; no network, no money.

Every function of the contract works. The account is a file (PAPER_STORE, PAPER_<ALIAS>_STORE): it outlives the process,
and any number of processes may trade on it at once. Prices come from PAPER_SOURCE (simulation/sources.py); by default
they are simulated, and every answer says so.

Quirks:
    - A refusal of the engine changes nothing; its `exchange_code` is the engine's own short word ("min_notional").
    - The rest of a market, IOC or FOK order is cancelled with a `reason`; the order itself was accepted.
    - Conditional orders look at the last price; at the mid where the source has no trades.
    - With PAPER_POSITION_MODE=hedge a buy opens the long side, or with reduce_only closes the short one.

Source: Execution/matching, Execution/simulation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from Execution.common import clock, symbols
from Execution.common.asked import whole_of
from Execution.common.envelope import ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import Rules, exactly, number_of, positive, round_down
from Execution.common.types import CancelAll, Envelope, OrderArgs, Position
from Execution.matching import model
from Execution.simulation import desk, forms, sources
from Execution.simulation.account import current
from Execution.simulation.answers import answers, refusal
from Execution.simulation.config import parse_balances
from Execution.simulation.forms import (
    build_cancel,
    build_limit_order,
    build_market_order,
    build_stop_order,
    build_take_profit_order,
    parse_account,
    parse_fill,
    parse_holding,
    parse_instrument,
    parse_kline,
    parse_order,
    parse_position,
    parse_ticker,
)
from Execution.simulation.paper_account import PaperAccount

NAME = "paper"
UNSUPPORTED: dict[str, str] = {}
LOCAL = True
ABSENCE_GRACE = 0.0

INTERVALS = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14400,
    "6h": 21600, "12h": 43200, "1d": 86400, "1w": 604800,
}  # fmt: skip
MOST_KLINES = 1500
_BUILD: dict[str, Callable[..., model.Request]] = {
    "limit": build_limit_order,
    "market": build_market_order,
    "stop": build_stop_order,
    "take_profit": build_take_profit_order,
}


def _market(symbol: object) -> tuple[PaperAccount, Rules]:
    account = current()
    return account, account.rules(symbols.normalize(symbol, account.default_market))


def _scope(symbol: object) -> tuple[PaperAccount, str | None]:
    if symbol is None:
        return current(), None
    account, rules = _market(symbol)
    return account, rules.symbol


# Orders


@answers
def place_limit_order(
    symbol: str,
    side: str,
    amount: Any,
    price: Any,
    *,
    client_order_id: str | None = None,
    time_in_force: str = "GTC",
    post_only: bool = False,
    reduce_only: bool = False,
) -> Envelope:
    """Place a limit order; the answer carries the fills it had at once."""
    account, rules = _market(symbol)
    request = build_limit_order(
        rules,
        side,
        amount,
        price,
        client_order_id=client_order_id,
        time_in_force=time_in_force,
        post_only=post_only,
        reduce_only=reduce_only,
    )
    return _placed(account, request)


@answers
def place_market_order(
    symbol: str,
    side: str,
    amount: Any,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    max_slippage: Any = None,
) -> Envelope:
    """Place a market order. Without max_slippage it takes all the book has; what is left over is cancelled."""
    account, rules = _market(symbol)
    request = build_market_order(
        rules, side, amount, client_order_id=client_order_id, reduce_only=reduce_only, max_slippage=max_slippage
    )
    return _placed(account, request)


@answers
def place_stop_order(
    symbol: str,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
) -> Envelope:
    """Place an order that wakes when the last price moves against the position."""
    account, rules = _market(symbol)
    request = build_stop_order(
        rules, side, amount, stop_price, price, client_order_id=client_order_id, reduce_only=reduce_only
    )
    return _placed(account, request)


@answers
def place_take_profit_order(
    symbol: str,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
) -> Envelope:
    """As place_stop_order, waking in the other direction."""
    account, rules = _market(symbol)
    request = build_take_profit_order(
        rules, side, amount, stop_price, price, client_order_id=client_order_id, reduce_only=reduce_only
    )
    return _placed(account, request)


def _placed(account: PaperAccount, request: model.Request) -> Envelope:
    order, fills = desk.place(account, request)
    return ok(parse_order(order, fills), account.source.remark)


@exactly
def place_orders(orders: list[OrderArgs]) -> list[Envelope]:
    """Place several orders in one transaction: an answer for each, in their order; a refused one stops no other."""
    built = [_build(order) for order in orders]
    requests = [each for each in built if isinstance(each, model.Request)]
    if not requests:
        return cast(list[Envelope], built)
    try:
        account = current()
        results, fills = desk.place_many(account, requests)
    except ExecutionError as error:
        return [refusal(error) if isinstance(each, model.Request) else each for each in built]
    remark = account.source.remark
    told = iter(
        [
            ok(parse_order(each, fills.get(each.order_id, ())), remark)
            if isinstance(each, model.Order)
            else refusal(each)
            for each in results
        ]
    )
    return [next(told) if isinstance(each, model.Request) else each for each in built]


def _build(order: OrderArgs) -> model.Request | Envelope:
    try:
        given = {name: value for name, value in order.items() if value is not None}
        rules = _market(given.pop("symbol"))[1]
        return _BUILD[str(given.pop("type"))](rules, **given)
    except ExecutionError as error:
        return refusal(error)
    except (KeyError, TypeError, AttributeError) as error:
        return refusal(Refused("INVALID_ORDER", f"not the arguments of an order ({error!s:.120}): {order!r:.200}"))


@answers
def cancel_order(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Cancel one order by either id. With PAPER_CANCEL_DELAY it is still live in the answer."""
    account, rules = _market(symbol)
    order = desk.cancel(account, rules.symbol, *build_cancel(order_id, client_order_id))
    return ok(parse_order(order), account.source.remark)


@answers
def cancel_all_orders(symbol: str | None = None) -> Envelope:
    """Cancel every order, plain and conditional, in one transaction."""
    account, name = _scope(symbol)
    data: CancelAll = {"cancelled": desk.cancel_all(account, name), "failed": []}
    return ok(data, account.source.remark)


@answers
def get_order_status(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Read one order, live or finished, by either id."""
    account, rules = _market(symbol)
    order = desk.find(account, rules.symbol, *build_cancel(order_id, client_order_id))
    return ok(parse_order(order), account.source.remark)


@answers
def get_open_orders(symbol: str | None = None) -> Envelope:
    """Read every live order, plain and conditional alike."""
    account, name = _scope(symbol)
    return ok([parse_order(order) for order in desk.open_orders(account, name)], account.source.remark)


@answers
def get_fills(symbol: str | None = None, *, order_id: str | None = None, since: float | None = None) -> Envelope:
    """Read executions, oldest first."""
    account, name = _scope(symbol)
    number = None if order_id is None else build_cancel(order_id, None)[0]
    after = None if since is None else float(number_of(since, "since"))
    return ok([parse_fill(fill) for fill in desk.fills(account, name, number, after)], account.source.remark)


# Account


@answers
def get_account_info() -> Envelope:
    """Read equity, margin and balances. total_equity counts spot holdings at their present price."""
    account = current()
    summary, mode = desk.summary(account)
    worth = {asset: desk.value_of(account, asset, each.total) for asset, each in summary.balances.items()}
    unpriced = ", ".join(asset for asset, value in worth.items() if value is None)
    equity = sum((value for value in worth.values() if value is not None), summary.unrealized_pnl)
    data = parse_account(summary, equity, mode, clock.now(), account.source.label)
    remarks = (account.source.remark, f"not counted, without a price: {unpriced}" if unpriced else "")
    return ok(data, "; ".join(filter(None, remarks)))


@answers
def get_positions(symbol: str | None = None) -> Envelope:
    """Read perpetual positions, and spot holdings as long positions of leverage 1."""
    account, name = _scope(symbol)
    found: list[Position] = []
    if name is None or symbols.is_swap(name):
        found += [parse_position(view) for view in desk.positions(account, name)]
    if name is None or not symbols.is_swap(name):
        found += [parse_holding(*holding) for holding in desk.holdings(account, name)]
    return ok(found, account.source.remark)


@answers
def adjust_position(symbol: str, side: str, amount: Any, price: Any = None) -> Envelope:
    """Add to a position or reduce it. On spot there is only a long one, reduced by selling what is free."""
    account, rules = _market(symbol)
    swap = symbols.is_swap(rules.symbol)
    if side != "long" and not (side == "short" and swap):
        allowed = "long or short" if swap else "long, since it is spot"
        raise Refused("INVALID_ORDER", f"side of {rules.symbol} must be {allowed}, not {side!r:.60}")
    change = number_of(amount, "amount")
    size = positive(abs(change), "amount")
    reduces = change < 0
    if reduces:
        size = min(size, round_down(desk.reducible(account, rules.symbol, side), rules.lot_size))
        if not size:
            raise model.Rejected("REDUCE_ONLY_REJECTED", "no_position", f"no {side} {rules.symbol} to reduce")
    order_side = "buy" if (side == "long") is not reduces else "sell"
    if price is None:
        request = build_market_order(rules, order_side, size, reduce_only=reduces and swap)
    else:
        request = build_limit_order(rules, order_side, size, price, reduce_only=reduces and swap)
    return _placed(account, request)


@answers
def set_leverage(symbol: str, leverage: int) -> Envelope:
    """Set the leverage of a perpetual, a whole number up to its maximum."""
    account, rules = _market(symbol)
    if not symbols.is_swap(rules.symbol):
        raise Refused("NOT_SUPPORTED", f"{rules.symbol} is spot and has no leverage")
    value = whole_of(leverage, "leverage", rules.max_leverage)
    desk.set_leverage(account, rules.symbol, value)
    return ok({"symbol": rules.symbol, "leverage": value}, account.source.remark)


@answers
def cancel_all_after(seconds: float) -> Envelope:
    """Arm the dead-man's switch. It is kept in the account's file and falls at its time, whoever calls next."""
    account = current()
    wait = float(number_of(seconds, "seconds"))
    if wait < 0:
        raise Refused("INVALID_ORDER", f"seconds must not be negative, not {seconds!r:.60}")
    return ok({"seconds": wait, "trigger_time": desk.arm(account, wait)}, account.source.remark)


# Market


@answers
def get_ticker(symbol: str) -> Envelope:
    """Read the best prices as PAPER_SOURCE has them."""
    account, rules = _market(symbol)
    source = account.source
    return ok(parse_ticker(rules.symbol, account.prices(rules.symbol), source.label), source.remark)


@answers
def get_instrument(symbol: str) -> Envelope:
    """Read the trading rules."""
    account, rules = _market(symbol)
    return ok(parse_instrument(account.spec(rules.symbol)), account.source.remark)


@answers
def get_klines(symbol: str, interval: str, *, start: float | None = None, limit: int = 500) -> Envelope:
    """Read candles of the price source, at most 1500."""
    account, rules = _market(symbol)
    seconds = INTERVALS.get(interval) if isinstance(interval, str) else None
    if seconds is None:
        raise Refused("INVALID_ORDER", f"interval must be one of {', '.join(INTERVALS)}, not {interval!r:.60}")
    count = whole_of(limit, "limit", MOST_KLINES)
    begin = None if start is None else float(number_of(start, "start"))
    found = desk.klines(account, rules.symbol, seconds, begin, count)
    return ok([parse_kline(kline) for kline in found], account.source.remark)


@answers
def get_server_time() -> Envelope:
    """Read the package's clock; during a replay it shows the recorded time."""
    return ok({"timestamp": clock.now()}, current().source.remark)


# The stage: what no real venue has


def use_tickers(ask: Callable[[str, str], Envelope]) -> None:
    """Be told by the registry how to ask another venue for its ticker (PAPER_SOURCE=venue:<name>)."""
    sources.ticker_of = ask


@answers
def set_price(symbol: str, bid: Any, ask: Any = None, *, size: Any = None, last: Any = None) -> Envelope:
    """Set the prices of a symbol (PAPER_SOURCE=fixed); resting and conditional orders react at once.

    Args:
        ask: One tick above the bid when None.
        size: Base units on each side; as good as endless when None.
        last: The last trade; the middle when None.
    """
    account, rules = _market(symbol)
    row = forms.build_prices(rules, bid, ask, size, last)
    desk.set_price(account, rules.symbol, row)
    return get_ticker(symbol)


@answers
def add_instrument(
    symbol: str, tick_size: Any, lot_size: Any, *, min_amount: Any = None, min_notional: Any = None
) -> Envelope:
    """List an instrument of your own; it is kept in the account's file."""
    account = current()
    name = symbols.normalize(symbol, account.default_market)
    spec = desk.add_instrument(account, name, tick_size, lot_size, min_amount, min_notional)
    return ok(parse_instrument(spec), account.source.remark)


@answers
def reset(balances: str | None = None) -> Envelope:
    """Begin the account anew, with PAPER_BALANCES or with others such as "USDT=5000,BTC=1"."""
    account = current()
    account.reset(None if balances is None else parse_balances(balances))
    return get_account_info()
