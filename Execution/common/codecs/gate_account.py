"""Gate's answers on accounts and markets: pure functions. A contract counts `contract_size` base units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from Execution.common.codecs.gate_values import Raw, balance, either, number, price_of, unified_symbol
from Execution.common.precision import ZERO, exact, exactly
from Execution.common.types import AccountInfo, Balance, Instrument, Kline, Position, Ticker


@exactly
def parse_position(raw: Raw, contract_size: Decimal = Decimal(1)) -> Position:
    """Answer a position of a perpetual as a public dict."""
    size = number(raw["size"]) * contract_size
    isolated = number(raw.get("leverage"))
    mode = raw.get("pos_margin_mode") or ("isolated" if isolated else "cross")
    return {
        "symbol": unified_symbol(raw["contract"], swap=True),
        "side": "long" if size > 0 else "short" if size < 0 else "none",
        "size": float(abs(size)),
        "entry_price": price_of(raw["entry_price"]),
        "mark_price": price_of(raw["mark_price"]),
        "liquidation_price": price_of(raw.get("liq_price")),
        "notional": float(abs(number(raw["value"]))),
        "unrealized_pnl": float(raw["unrealised_pnl"]),
        "realized_pnl": float(raw["realised_pnl"]),
        "leverage": float(isolated or either(raw, "lever", "cross_leverage_limit")),
        "margin": float(raw["initial_margin"] if "initial_margin" in raw else raw["margin"]),
        "margin_mode": str(mode),
    }


def parse_holding(symbol: str, amount: float, price: float | None) -> Position:
    """Answer a spot holding as a long position; what it was bought for Gate does not keep."""
    value = amount * price if price is not None else 0.0
    return {
        "symbol": symbol,
        "side": "long",
        "size": amount,
        "entry_price": None,
        "mark_price": price,
        "liquidation_price": None,
        "notional": value,
        "unrealized_pnl": 0.0,
        "realized_pnl": 0.0,
        "leverage": 1.0,
        "margin": value,
        "margin_mode": "spot",
    }


def parse_balances(rows: Sequence[Raw]) -> dict[str, Balance]:
    """Answer the balances of the spot account."""
    return {row["currency"]: balance(number(row["available"]), number(row["locked"])) for row in rows}


@exactly
def parse_account(spot: Mapping[str, Balance], futures: Raw, worth: Mapping[str, float], now: float) -> AccountInfo:
    """Answer the classic account: the spot account and that of USDT perpetuals, which Gate keeps apart.

    Args:
        worth: what one of a spot asset is worth in the settlement currency; assets that are not in it do not count.
    """
    currency = futures["currency"].upper()
    equity = number(futures["total"]) + number(futures["unrealised_pnl"])
    total = equity + sum((Decimal(str(spot[asset]["total"] * price)) for asset, price in worth.items()), ZERO)
    if "cross_initial_margin" in futures:
        used = number(futures["cross_initial_margin"]) + number(futures.get("isolated_position_margin"))
    else:
        used = either(futures, "position_initial_margin", "position_margin")
    used += either(futures, "order_margin", "cross_order_margin")
    maintenance = either(futures, "cross_maintenance_margin", "maintenance_margin")
    free = either(futures, "cross_available", "available")
    balances = dict(spot)
    wallet = number(futures["total"])
    held = balances.get(currency, balance(ZERO, ZERO))
    outside = min(max(free, ZERO), wallet)
    balances[currency] = balance(Decimal(str(held["free"])) + outside, Decimal(str(held["locked"])) + wallet - outside)
    return {
        "total_equity": float(total),
        "available": float(free),
        "used_margin": float(used),
        "maintenance_margin": float(maintenance),
        "margin_ratio": float(maintenance / equity) if equity > 0 else float(maintenance > 0),
        "unrealized_pnl": float(futures["unrealised_pnl"]),
        "currency": currency,
        "position_mode": "hedge" if parse_hedge_mode(futures) else "net",
        "balances": balances,
        "timestamp": now,
    }


@exactly
def parse_unified_account(raw: Raw, hedge: bool, now: float) -> AccountInfo:
    """Answer a unified account, which Gate reckons in USD."""
    balances = {
        asset: balance(number(row["available"]), number(row["freeze"])) for asset, row in raw["balances"].items()
    }
    equity = number(raw.get("unified_account_total_equity") or raw["unified_account_total"])
    maintenance, margin = number(raw["total_maintenance_margin"]), number(raw["total_margin_balance"])
    return {
        "total_equity": float(equity),
        "available": float(raw["total_available_margin"]),
        "used_margin": float(raw["total_initial_margin"]),
        "maintenance_margin": float(maintenance),
        "margin_ratio": float(maintenance / margin) if margin > 0 else float(maintenance > 0),
        "unrealized_pnl": 0.0,
        "currency": "USD",
        "position_mode": "hedge" if hedge else "net",
        "balances": balances,
        "timestamp": now,
    }


def parse_hedge_mode(futures: Raw) -> bool:
    """Tell whether an account of perpetuals holds long and short apart."""
    mode = futures.get("position_mode")
    return {"single": False, "dual": True, "dual_plus": True}[mode] if mode else bool(futures["in_dual_mode"])


def parse_instrument(raw: Raw) -> Instrument:
    """Answer trading rules as a public dict; a contract's in base units."""
    return _parse_contract(raw) if "quanto_multiplier" in raw else _parse_pair(raw)


def _parse_pair(raw: Raw) -> Instrument:
    lot = Decimal(1).scaleb(-int(raw["amount_precision"]))
    fee = float(number(raw["fee"]) / 100)
    most = raw.get("max_base_amount")
    return {
        "symbol": f"{raw['base']}-{raw['quote']}",
        "base": raw["base"],
        "quote": raw["quote"],
        "market": "spot",
        "tick_size": float(Decimal(1).scaleb(-int(raw["precision"]))),
        "lot_size": float(lot),
        "min_amount": float(max(number(raw.get("min_base_amount")), lot)),
        "max_amount": float(most) if most else None,
        "min_notional": float(number(raw.get("min_quote_amount"))),
        "contract_size": 1.0,
        "max_leverage": 1,
        "maker_fee": fee,
        "taker_fee": fee,
        "active": raw["trade_status"] == "tradable",
    }


@exactly
def _parse_contract(raw: Raw) -> Instrument:
    size = number(raw["quanto_multiplier"])
    base, _, quote = raw["name"].rpartition("_")
    return {
        "symbol": f"{base}-{quote}-SWAP",
        "base": base,
        "quote": quote,
        "market": "swap",
        "tick_size": float(raw["order_price_round"]),
        "lot_size": float(size),
        "min_amount": float(max(number(raw["order_size_min"]), Decimal(1)) * size),
        "max_amount": float(number(raw["order_size_max"]) * size),
        "min_notional": 0.0,
        "contract_size": float(size),
        "max_leverage": int(number(raw["leverage_max"])),
        "maker_fee": float(raw["maker_fee_rate"]),
        "taker_fee": float(raw["taker_fee_rate"]),
        "active": not raw["in_delisting"] and raw.get("status", "trading") == "trading",
    }


@exactly
def parse_ticker(raw: Raw, contract_size: Decimal = Decimal(1), now: float = 0.0) -> Ticker:
    """Answer best prices as a public dict; Gate's carry no time, so `now` is when they were read."""
    swap = "contract" in raw
    unit = contract_size if swap else Decimal(1)
    bid, ask = price_of(raw["highest_bid"]), price_of(raw["lowest_ask"])
    middle = None if bid is None or ask is None else float((exact(bid) + exact(ask)) / 2)
    return {
        "symbol": unified_symbol(raw["contract" if swap else "currency_pair"], swap),
        "bid": bid,
        "ask": ask,
        "bid_size": price_of(number(raw.get("highest_size")) * unit),
        "ask_size": price_of(number(raw.get("lowest_size")) * unit),
        "last": price_of(raw["last"]),
        "mark": price_of(raw["mark_price"]) if swap else middle,
        "timestamp": now,
    }


def parse_kline(raw: Any, seconds: float, now: float, contract_size: Decimal = Decimal(1)) -> Kline:
    """Answer a candle: a list on spot, a dict (whose volume counts contracts) on perpetuals."""
    if isinstance(raw, Mapping):
        start, volume = float(raw["t"]), number(raw["v"]) * contract_size
        first, high, low, last, closed = raw["o"], raw["h"], raw["l"], raw["c"], start + seconds <= now
    else:
        start, _, last, high, low, first, volume, *flag = raw
        start, volume = float(start), number(volume)
        closed = str(flag[0]).lower() == "true" if flag else start + seconds <= now
    return {
        "timestamp": start,
        "open": float(first),
        "high": float(high),
        "low": float(low),
        "close": float(last),
        "volume": float(volume),
        "closed": closed,
    }
