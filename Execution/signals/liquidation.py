"""Carrying out a liquidation signal: cancel every order, then close every position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from Execution import canceler, registry
from Execution.common.envelope import fail, failure, ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.types import Envelope

Close = Callable[[str, str], Envelope]


def liquidate(risk_signal: Mapping[str, Any], close: Close) -> Envelope:
    """Cancel every order and close every position of a symbol or of an account; see `Executor.handle_risk_signal`.

    Args:
        close: closes the position in (exchange, symbol).
    """
    try:
        name, symbol = _scope(risk_signal)
    except ExecutionError as error:
        return failure(error)
    cancelled = canceler.cancel_all_orders(name, symbol)
    closed = _close_all(name, symbol, close)
    data = {
        "exchange": name,
        "symbol": symbol,
        "cancelled": cancelled["cancelled_count"],
        "orders_left": cancelled["data"].get("left", []),
        "closed": closed,
        "positions_left": _left_of(closed),
    }
    bad = [answer for answer in closed if not answer["success"]]
    if data["positions_left"]:
        rest = "; ".join(f"{left['remaining']} {left['symbol']} was not filled" for left in data["positions_left"])
        bad.append(fail("VENUE_REJECTED", rest, "rejected"))
    if cancelled["success"] and not bad:
        return ok(data, f"{data['cancelled']} orders cancelled, {len(closed)} positions closed")
    words = [*([] if cancelled["success"] else [cancelled["message"]]), *(answer["message"] for answer in bad)]
    facts = bad[0]["data"] if bad else cancelled["data"]
    return fail(facts.get("error", "VENUE_REJECTED"), "; ".join(words), facts.get("outcome", "unknown"), **data)


def _left_of(closed: list[Envelope]) -> list[dict[str, Any]]:
    """Answer the closing orders that ended without filling all: the market had no more, or none within the collar."""
    orders = [order for answer in closed if answer["success"] for order in answer["data"].get("orders", ())]
    return [order for order in orders if order["status"] != "filled"]


def _scope(risk_signal: Mapping[str, Any]) -> tuple[str, str | None]:
    if not isinstance(risk_signal, Mapping) or risk_signal.get("signal") != "liquidate":
        raise Refused("INVALID_ORDER", f"a risk signal must say signal 'liquidate', not {risk_signal!r:.80}")
    name = registry.canonical(risk_signal.get("exchange"))
    symbol = risk_signal.get("symbol")
    return name, None if symbol is None else registry.symbol_of(name, symbol)


def _close_all(name: str, symbol: str | None, close: Close) -> list[Envelope]:
    answer = registry.call(name, "get_positions", symbol)
    if not answer["success"]:
        return [answer]
    wanted = {p["symbol"] for p in answer["data"] if p["size"] > 0 and symbol in (None, p["symbol"])}
    return [close(name, one) for one in sorted(wanted)]
