"""Positions: read them, add to them, reduce them, close them exactly; never flip one by accident.

Orders leave through `order_sender.place_order`, which asks no risk rules: `execute_signal` does. A market order carries
the price collar as its `max_slippage` unless the caller names another.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from Execution import registry
from Execution.common import clock
from Execution.common.envelope import failure
from Execution.common.errors import ErrorCode, ExecutionError, Refused
from Execution.common.holding import Holding, as_dict, flat, holding_of, is_too_small, totals, with_mark
from Execution.common.precision import ZERO, exact, exactly, positive, round_down
from Execution.common.risk_limits import number_or_setting
from Execution.common.symbols import is_swap, split
from Execution.common.types import Envelope
from Execution.order_sender import place_order


class PositionManager:
    """Positions of any venue. Holds no state: what it answers was just read. Any number of threads."""

    @exactly
    def get_position(self, exchange_name: str, symbol: str, *, side: str | None = None) -> dict[str, Any]:
        """Read a position.

        Args:
            side: "long" or "short": that leg in hedge mode; None = the larger one, `legs` holds both.

        Returns:
            {"symbol", "side": "long"|"short"|"none", "size", "entry_price", "mark_price", "unrealized_pnl",
            "leverage", "notional", "liquidation_price", "margin", "exchange", "legs", "timestamp", "success",
            "message"}. Flat: side "none", size 0. Not readable: success False, and None for everything not known.
        """
        try:
            name, unified = _resolve(exchange_name, symbol)
            legs = _legs(name, unified)
        except ExecutionError as error:
            unknown = dict.fromkeys(flat(str(symbol))) | {"symbol": symbol, "exchange": exchange_name, "legs": []}
            return {**unknown, "timestamp": clock.now(), **failure(error)}
        wanted = [leg for leg in legs if side in (None, leg.side)]
        main = max(wanted, key=lambda leg: leg.size, default=None)
        remark = f"both legs are open: {' and '.join(_show(leg) for leg in legs)}" if len(legs) > 1 else ""
        return {
            **(as_dict(main) if main else flat(unified)),
            "exchange": name,
            "legs": [as_dict(leg) for leg in legs],
            "timestamp": clock.now(),
            "success": True,
            "message": remark,
        }

    @exactly
    def get_positions(self, exchange_name: str) -> dict[str, Any]:
        """Read every position of a venue.

        Returns:
            {"success", "message", "exchange", "positions": [as get_position, without legs], "totals", "timestamp"};
            totals by quote currency: {"USDT": {"count", "long_notional", "short_notional", "gross_notional",
            "net_notional", "unrealized_pnl", "margin"}}.
        """
        try:
            name = registry.canonical(exchange_name)
            holdings = _legs(name, None)
        except ExecutionError as error:
            facts = {"exchange": exchange_name, "positions": [], "totals": {}, "timestamp": clock.now()}
            return {**facts, **failure(error)}
        return {
            "success": True,
            "message": "",
            "exchange": name,
            "positions": [{**as_dict(holding), "exchange": name} for holding in holdings],
            "totals": totals(holdings),
            "timestamp": clock.now(),
        }

    @exactly
    def increase_position(
        self, exchange_name: str, symbol: str, side: str, amount: Any, price: Any = None, **options: Any
    ) -> dict[str, Any]:
        """Open a position or add to it.

        Args:
            side: "long" or "short". In net mode refused while the opposite is open: that would shrink or flip it.
            amount: base units, > 0.
            price: limit price; None = market.
            options: those of place_order.

        Returns:
            The answer of place_order.
        """
        order_side = "buy" if side == "long" else "sell" if side == "short" else ""
        try:
            name, unified = _resolve(exchange_name, symbol)
            if not order_side:
                raise Refused("INVALID_ORDER", f"side must be 'long' or 'short', not {side!r:.40}")
            if side == "short" and not is_swap(unified):
                raise Refused("INVALID_ORDER", f"{unified} is spot: it cannot be sold short")
            positive(amount, "amount")
            _refuse_opposite(name, unified, side)
        except ExecutionError as error:
            return _refused(symbol, order_side, amount, price, error)
        return _place(name, unified, order_side, amount, price, options)

    @exactly
    def decrease_position(
        self,
        exchange_name: str,
        symbol: str,
        amount: Any,
        price: Any = None,
        *,
        side: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Reduce a position; more than there is, is refused with the numbers.

        Args:
            amount: base units, > 0.
            side: which leg, where both are open in hedge mode.

        Returns:
            The answer of place_order.
        """
        order_side = ""
        try:
            name, unified = _resolve(exchange_name, symbol)
            wanted = positive(amount, "amount")
            leg = _one_leg(_legs(name, unified), unified, side)
            order_side = _closing_side(leg)
            if wanted > leg.size:
                raise Refused(
                    "REDUCE_ONLY_REJECTED",
                    f"cannot reduce the {leg.side} position of {leg.size} {unified} by {wanted}: that would flip it",
                )
        except ExecutionError as error:
            return _refused(symbol, order_side, amount, price, error)
        return _place(name, unified, order_side, wanted, price, _reducing(options, unified))

    @exactly
    def close_position(
        self, exchange_name: str, symbol: str, price: Any = None, *, side: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Close exactly what is open, both legs in hedge mode; success where there is nothing to close.

        A spot holding is sold rounded down to the lot; what stays is `data["dust"]` (base units).

        Args:
            side: only this leg.

        Returns:
            The answer of place_order. For two legs: of the first that failed, else of the first, and all of them in
            `data["legs"]`. Nothing to close: amount 0, status "none", data {"closed": True, "dust"}.
        """
        try:
            name, unified = _resolve(exchange_name, symbol)
            legs = [leg for leg in _legs(name, unified) if side in (None, leg.side)]
            if not is_swap(unified) and legs:
                return self._sell_holding(name, legs[0], price, options)
        except ExecutionError as error:
            return _refused(symbol, "", 0.0, price, error)
        if not legs:
            return _nothing(unified, f"{unified} is flat on {name}: nothing to close", ZERO)
        reducing = _reducing(options, unified)
        answers = [_place(name, unified, _closing_side(leg), leg.size, price, reducing) for leg in legs]
        first = next((answer for answer in answers if not answer["success"]), answers[0])
        return first if len(answers) == 1 else {**first, "data": {**first["data"], "legs": answers}}

    def _sell_holding(self, name: str, holding: Holding, price: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """Sell what is free of a spot holding, as far as the instrument's rules let it be sold."""
        symbol = holding.symbol
        rules = registry.rules(name, symbol)
        free = free_of(name, split(symbol)[0], holding.size)
        amount = round_down(min(free, holding.size), rules.lot_size)
        dust = holding.size - amount
        reference = holding.mark_price if price is None else positive(price, "price")
        if is_too_small(amount, rules, reference):
            dust = holding.size
            if free < holding.size:
                raise Refused("INSUFFICIENT_FUNDS", f"{holding.size - free} {symbol} is locked by open orders")
            return _nothing(
                symbol, f"{holding.size} {symbol} is below the smallest order: it stays as dust", holding.size
            )
        answer = _place(name, symbol, "sell", amount, price, dict(options))
        left = f"{dust} {symbol} stays: " + ("locked by open orders" if free < holding.size else "less than a lot")
        words = [answer["message"], left if dust else ""]
        return {**answer, "message": "; ".join(filter(None, words)), "data": {**answer["data"], "dust": float(dust)}}


def _resolve(exchange_name: str, symbol: str) -> tuple[str, str]:
    return registry.canonical(exchange_name), registry.symbol_of(exchange_name, symbol)


def _asked(name: str, function: str, *args: Any) -> Any:
    """Answer the data of a venue call.

    Raises:
        ExecutionError: what the venue answered, as nothing of an order has left.
    """
    answer = registry.call(name, function, *args)
    if answer["success"]:
        return answer["data"]
    data = answer["data"]
    code: ErrorCode = data["error"]
    words = answer["message"].removeprefix(f"{code}: ")
    raise Refused(code, words, exchange_code=data["exchange_code"], retry_after=data["retry_after"])


def _legs(name: str, symbol: str | None) -> list[Holding]:
    """Answer what is open, each with a mark price where the venue has one."""
    found = [holding_of(position) for position in _asked(name, "get_positions", symbol)]
    found = [holding for holding in found if holding.size and symbol in (None, holding.symbol)]
    return [holding if holding.mark_price else _marked(name, holding) for holding in found]


def _marked(name: str, holding: Holding) -> Holding:
    ticker = registry.call(name, "get_ticker", holding.symbol)
    mark = ticker["data"]["mark"] if ticker["success"] else None
    return with_mark(holding, exact(mark)) if mark else holding


def _refuse_opposite(name: str, symbol: str, side: str) -> None:
    opposite = [leg for leg in _legs(name, symbol) if leg.side != side]
    if opposite and _asked(name, "get_account_info")["position_mode"] != "hedge":
        words = (
            f"{symbol} has a {_show(opposite[0])}: adding {side} would shrink or flip it; close or decrease it first"
        )
        raise Refused("INVALID_ORDER", words)


def _one_leg(legs: list[Holding], symbol: str, side: str | None) -> Holding:
    wanted = [leg for leg in legs if side in (None, leg.side)]
    if not wanted:
        raise Refused("REDUCE_ONLY_REJECTED", f"{symbol} has no {f'{side} ' if side else ''}position to reduce")
    if len(wanted) > 1:
        words = f"{symbol} has both a {_show(wanted[0])} and a {_show(wanted[1])}: name the side"
        raise Refused("INVALID_ORDER", words)
    return wanted[0]


def _closing_side(leg: Holding) -> str:
    return "sell" if leg.side == "long" else "buy"


def _reducing(options: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    # Spot has no reduce-only; nothing that is not held can be sold there anyway.
    return {**options, "reduce_only": True} if is_swap(symbol) else dict(options)


def free_of(name: str, asset: str, size: Decimal) -> Decimal:
    """Answer how much of a spot holding open orders leave free; all of it where the venue does not say."""
    balance = _asked(name, "get_account_info")["balances"].get(asset)
    return size if balance is None else exact(balance["free"])


def _place(name: str, symbol: str, side: str, amount: Any, price: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    kind = "market" if price is None else "limit"
    chosen = dict(options)
    try:
        if price is None and "max_slippage" not in chosen:
            collar = number_or_setting("price_collar", None)
            chosen |= {} if collar is None or collar >= 1 else {"max_slippage": collar}
        return place_order(name, symbol, side, kind, amount, price, **chosen)
    except ExecutionError as error:
        return _refused(symbol, side, amount, price, error)


def _show(leg: Holding) -> str:
    return f"{leg.side} position of {leg.size}"


def _refused(symbol: Any, side: str, amount: Any, price: Any, error: ExecutionError) -> dict[str, Any]:
    """Answer what place_order would for an order that did not get as far."""
    error.outcome = "not_sent"
    return _flat(symbol, side, amount, price, "rejected", failure(error))


def _nothing(symbol: str, message: str, dust: Decimal) -> dict[str, Any]:
    answer: Envelope = {"success": True, "data": {"closed": True, "dust": float(dust)}, "message": message}
    return _flat(symbol, "", 0.0, None, "none", answer)


def _flat(symbol: Any, side: str, amount: Any, price: Any, status: str, answer: Envelope) -> dict[str, Any]:
    return {
        "success": answer["success"],
        "order_id": "",
        "client_order_id": "",
        "symbol": symbol,
        "side": side,
        "amount": amount,
        "price": price,
        "status": status,
        "message": answer["message"],
        "data": answer["data"],
    }
