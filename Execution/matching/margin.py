"""Cross margin: what an account is worth, what it may still spend, and when it is liquidated.

Per settle asset: margin equity = balance + unrealised profit. Positions use |size| x mark / leverage, open orders what
`Exposure.requirement` says, spot orders what they hold. Perpetuals may use unrealised profit as margin, spot may not.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from .account import Account, Exposure
from .book import Book
from .exact import DOWN, SHOWN, UP, ZERO
from .model import Order, Rejected
from .triggers import waits

FIRST_MARK = Decimal("Infinity")


class Worth(NamedTuple):
    """Sums over the positions that settle in one asset."""

    profit: Decimal
    margin: Decimal
    maintenance: Decimal


def worth(account: Account, asset: str) -> Worth:
    profit = margin = maintenance = ZERO
    for exposure in account.held.values():
        spec = exposure.book.spec
        if spec.quote != asset:
            continue
        mark = exposure.book.mark()
        for position in exposure.positions.values():
            size = position.size
            if not size:
                continue
            value = position.cost if mark is None else size * mark
            profit += value - position.cost
            value = abs(value)
            margin += value * exposure.margin_rate
            maintenance += value * spec.maintenance_rate
    return Worth(profit, margin, maintenance)


def available(account: Account, asset: str) -> Decimal:
    """What new perpetual orders may use."""
    free = account.balances.get(asset, ZERO) - account.locked.get(asset, ZERO) - account.reserved.get(asset, ZERO)
    if account.held:
        sums = worth(account, asset)
        free += sums.profit - sums.margin
    return free


def spendable(account: Account, asset: str) -> Decimal:
    """What spot orders may use: the same without unrealised profit."""
    free = account.balances.get(asset, ZERO) - account.locked.get(asset, ZERO) - account.reserved.get(asset, ZERO)
    if account.held:
        sums = worth(account, asset)
        free += min(sums.profit, ZERO) - sums.margin
    return free


def check_funds(account: Account, exposure: Exposure | None, book: Book, order: Order, notional: Decimal) -> None:
    """Refuse an order whose remainder the account cannot pay for. `notional` is the most it may cost."""
    request = order.request
    amount = request.amount - order.filled
    if exposure is None:
        asset, need = (book.spec.quote, notional) if request.side == "buy" else (book.spec.base, amount)
        free = spendable(account, asset)
    elif order.reducing or waits(order):
        return
    else:
        asset = book.spec.quote
        need = exposure.requirement(request.side, amount, notional) - exposure.reserved
        if need <= 0:
            return
        free = available(account, asset)
    if need > free:
        raise Rejected(
            "INSUFFICIENT_FUNDS", "insufficient_funds", f"needs {plain(need)} {asset}, available {plain(free)} {asset}"
        )


def plain(number: Decimal) -> str:
    """A number for a message: no exponent, no trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def watch_unknown(account: Account, asset: str) -> bool:
    """Whether a position's mark is still unknown, as after a restart; then nobody is judged before the first one."""
    unknown = [e for e in account.held.values() if e.book.spec.quote == asset and e.book.mark() is None]
    for exposure in unknown:
        exposure.low = exposure.book.low = FIRST_MARK
    return bool(unknown)


def set_bands(account: Account, asset: str, equity: Decimal, maintenance: Decimal) -> None:
    """Note for each position between which marks this account needs no look.

    The cushion is divided evenly among the positions; while no mark leaves its band, no sum of losses can use it up.
    """
    exposures = [e for e in account.held.values() if e.book.spec.quote == asset]
    cushion = DOWN.divide(equity - maintenance, Decimal(len(exposures)))
    for exposure in exposures:
        book, mark = exposure.book, exposure.book.mark()
        slope = _slope(exposure)
        exposure.low = exposure.high = None
        assert mark is not None
        if slope > 0:
            exposure.low = UP.subtract(mark, DOWN.divide(cushion, slope))
            if book.low is None or exposure.low > book.low:
                book.low = exposure.low
        elif slope < 0:
            exposure.high = DOWN.add(mark, DOWN.divide(cushion, -slope))
            if book.high is None or exposure.high < book.high:
                book.high = exposure.high


def _slope(exposure: Exposure) -> Decimal:
    """How fast equity less maintenance grows with the mark."""
    net = gross = ZERO
    for position in exposure.positions.values():
        net += position.size
        gross += abs(position.size)
    return net - gross * exposure.book.spec.maintenance_rate


def liquidation_price(account: Account, exposure: Exposure) -> Decimal | None:
    """The mark at which the account would be liquidated if every other mark stood still; fees are left out."""
    mark, slope = exposure.book.mark(), _slope(exposure)
    if mark is None or not slope:
        return None
    asset = exposure.book.spec.quote
    sums = worth(account, asset)
    cushion = account.balances.get(asset, ZERO) + sums.profit - sums.maintenance
    price = SHOWN.subtract(mark, SHOWN.divide(cushion, slope))
    return price if price > 0 else None
