"""The nouns of the matching engine: instruments, orders, fills, positions. Plain data, exact Decimals.

Amounts are base units, prices quote per base unit, times float seconds UTC given by the caller.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
Kind = Literal["limit", "market", "stop", "take_profit"]
Status = Literal["pending", "open", "partially_filled", "filled", "cancelled", "rejected", "expired"]

ZERO = Decimal(0)
LIVE = frozenset(("pending", "open", "partially_filled"))


class Spec(msgspec.Struct, frozen=True, gc=False):
    """The trading rules of one instrument. Fees and rates are fractions of notional."""

    symbol: str
    base: str
    quote: str
    kind: Literal["spot", "swap"]
    tick: Decimal
    lot: Decimal
    min_amount: Decimal
    max_amount: Decimal
    min_notional: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    contract_size: Decimal = Decimal(1)
    max_leverage: int = 1
    maintenance_rate: Decimal = ZERO


class Request(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a trader asks for. position_side matters in hedge mode only and may be left to inference."""

    symbol: str
    side: Side
    kind: Kind
    amount: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    client_order_id: str = ""
    time_in_force: Literal["GTC", "IOC", "FOK"] = "GTC"
    post_only: bool = False
    reduce_only: bool = False
    position_side: Literal["", "long", "short"] = ""
    max_slippage: Decimal | None = None


class Order(msgspec.Struct, gc=False, omit_defaults=True):
    """A request the engine accepted, and what became of it. `cost` is the sum of amount x price over its fills.

    `lock_price` is the price at which its remainder holds funds; `position_side` and `reducing` are what the
    request meant for the position (a close in hedge mode reduces, said or not). `priority` counts up as orders
    join a queue: among equal prices the lower one is served first.
    """

    order_id: int
    account: str
    request: Request
    status: Status
    created: float
    updated: float
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    fee_currency: str = ""
    triggered: bool = False
    queue_ahead: Decimal = ZERO
    locked: Decimal = ZERO
    reason: str = ""
    lock_price: Decimal = ZERO
    position_side: Literal["net", "long", "short"] = "net"
    reducing: bool = False
    priority: int = 0


class Fill(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One execution. `fee` > 0 is paid, < 0 is a rebate; `realized_pnl` is before fees."""

    trade_id: int
    order_id: int
    account: str
    symbol: str
    side: Side
    amount: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    maker: bool
    time: float
    realized_pnl: Decimal = ZERO
    client_order_id: str = ""
    liquidation: bool = False


class Position(msgspec.Struct, gc=False):
    """A perpetual position. `size` is signed (long > 0); `cost` is signed entry notional, so entry = cost / size."""

    symbol: str
    side: Literal["net", "long", "short"]
    size: Decimal = ZERO
    cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    funding: Decimal = ZERO


class AccountState(msgspec.Struct):
    """Everything an account owns, in a form that can be stored and loaded again."""

    name: str
    balances: dict[str, Decimal]
    positions: list[Position]
    leverage: dict[str, int]
    position_mode: Literal["net", "hedge"] = "net"
    next_funding: dict[str, float] = {}


class Changes(msgspec.Struct):
    """What happened since the last drain: orders in their present form, new fills, accounts touched."""

    orders: list[Order]
    fills: list[Fill]
    accounts: set[str]


class Rejected(Exception):
    """The engine refuses; nothing changed. `code` is one of the error codes every venue uses.

    `reason` is a short stable word of the engine's own, the way a venue has a numeric code.
    """

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
