"""The border every venue file satisfies: the shapes of answers and the Protocol of functions.

Public dicts carry floats and str; times are float seconds UTC; amounts are base units; prices are quote per base;
rates, ratios and fees are fractions. Keys may be added to these shapes, never renamed or taken away.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, Protocol, TypedDict, get_args

Side = Literal["buy", "sell"]
PositionSide = Literal["long", "short"]
OrderType = Literal["limit", "market", "stop", "take_profit"]
TimeInForce = Literal["GTC", "IOC", "FOK"]
OrderStatus = Literal["pending", "open", "partially_filled", "filled", "cancelled", "rejected", "expired", "unknown"]

SIDES: tuple[str, ...] = get_args(Side)
ORDER_TYPES: tuple[str, ...] = get_args(OrderType)
TIMES_IN_FORCE: tuple[str, ...] = get_args(TimeInForce)
STATUSES: tuple[str, ...] = get_args(OrderStatus)
OPEN_STATUSES: frozenset[str] = frozenset(("pending", "open", "partially_filled", "unknown"))
FINAL_STATUSES: frozenset[str] = frozenset(("filled", "cancelled", "rejected", "expired"))


class Envelope(TypedDict):
    """Every answer: exactly these three keys."""

    success: bool
    data: Any
    message: str


class Failure(TypedDict):
    """`data` of an answer that failed. More keys may follow (`attempts`, `decisions`, `rule`, `numbers`)."""

    error: str
    outcome: Literal["not_sent", "rejected", "unknown"]
    exchange_code: str
    retry_after: float | None


class Fill(TypedDict):
    """One execution. `fee` > 0 was paid, < 0 is a rebate."""

    trade_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    amount: float
    price: float
    fee: float
    fee_currency: str
    maker: bool
    timestamp: float
    realized_pnl: NotRequired[float]
    liquidation: NotRequired[bool]


class Order(TypedDict):
    """An order as the venue reports it. `fills` is there when the venue's answer itself carried them."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    amount: float
    price: float | None
    stop_price: float | None
    status: OrderStatus
    filled: float
    remaining: float
    average_price: float | None
    fee: float
    fee_currency: str
    time_in_force: TimeInForce
    post_only: bool
    reduce_only: bool
    timestamp: float
    updated: float
    fills: NotRequired[list[Fill]]
    reason: NotRequired[str]


class Position(TypedDict):
    """A position; `size` >= 0 in base units. A spot holding is a long position of leverage 1."""

    symbol: str
    side: Literal["long", "short", "none"]
    size: float
    entry_price: float | None
    mark_price: float | None
    liquidation_price: float | None
    notional: float
    unrealized_pnl: float
    realized_pnl: float
    leverage: float
    margin: float
    margin_mode: str


class Balance(TypedDict):
    """One asset. total = free + locked."""

    free: float
    locked: float
    total: float


class AccountInfo(TypedDict):
    """The account in its settlement currency. `margin_ratio` = maintenance margin / equity; 1 means liquidation."""

    total_equity: float
    available: float
    used_margin: float
    maintenance_margin: float
    margin_ratio: float
    unrealized_pnl: float
    currency: str
    position_mode: Literal["net", "hedge"]
    balances: dict[str, Balance]
    timestamp: float
    simulated: NotRequired[bool]
    price_source: NotRequired[str]


class Ticker(TypedDict):
    """Best prices. `mark` of a spot market is the mid price."""

    symbol: str
    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    last: float | None
    mark: float | None
    timestamp: float
    simulated: NotRequired[bool]
    price_source: NotRequired[str]


class Instrument(TypedDict):
    """Trading rules. Amounts in base units even where the venue counts contracts."""

    symbol: str
    base: str
    quote: str
    market: Literal["spot", "swap"]
    tick_size: float
    lot_size: float
    min_amount: float
    max_amount: float | None
    min_notional: float
    contract_size: float
    max_leverage: int
    maker_fee: float
    taker_fee: float
    active: bool
    price_significant_figures: NotRequired[int]


class Kline(TypedDict):
    """One candle; `timestamp` is its start. `closed` False: still forming."""

    timestamp: float
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool


class CancelFailure(TypedDict):
    """An order that a cancel-all could not cancel."""

    order_id: str
    symbol: str
    error: str
    message: str


class CancelAll(TypedDict):
    """What a cancel-all did: ids cancelled, and each order that it could not cancel."""

    cancelled: list[str]
    failed: list[CancelFailure]


class OrderArgs(TypedDict):
    """One order of a batch: the arguments of the place_* function of its type, and the type."""

    type: OrderType
    symbol: str
    side: Side
    amount: Any
    price: NotRequired[Any]
    stop_price: NotRequired[Any]
    client_order_id: NotRequired[str | None]
    time_in_force: NotRequired[TimeInForce]
    post_only: NotRequired[bool]
    reduce_only: NotRequired[bool]
    max_slippage: NotRequired[Any]


class Exchange(Protocol):
    """What every venue module offers: plain functions, same names, same parameters, same order.

    Common to all:
        symbol: "BTC-USDT" is spot, "BTC-USDT-SWAP" the linear perpetual; ccxt's spellings are accepted.
        amount, price, stop_price: int, float, str or Decimal; a float means its shortest decimal form.
        Answers: {"success", "data", "message"}. On failure data is `Failure`: its `outcome` says whether the order
        can exist ("unknown"), was refused by the venue ("rejected") or never left ("not_sent").
        Nothing raises. A function the venue cannot offer answers NOT_SUPPORTED / not_sent and stands in `UNSUPPORTED`.
        Errors any call may answer: AUTHENTICATION, BAD_RESPONSE, CLOCK_SKEW, CONFIGURATION, INVALID_SYMBOL,
        RATE_LIMITED, TIMEOUT, VENUE_DOWN.

    A module may also define `place_orders(orders: list[OrderArgs]) -> list[Envelope]`: a batch in one request, one
    answer for each order, in their order.
    """

    NAME: str
    UNSUPPORTED: dict[str, str]

    def place_limit_order(
        self,
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
        """Place a limit order and return it as the venue first saw it.

        Args:
            side: "buy" or "sell".
            amount: Base units, > 0; rounded down to lot_size.
            price: Quote per base unit; rounded to tick_size, never past what was asked.
            client_order_id: Ours; generated when None; the same one on every retry.
            time_in_force: "GTC", "IOC" or "FOK".
            post_only: Refused by the venue rather than executed at once.
            reduce_only: Never opens or flips a position.

        Returns:
            Envelope around Order; `filled` may already be > 0.

        Errors:
            INSUFFICIENT_FUNDS, INVALID_ORDER, DUPLICATE_ORDER, POST_ONLY_WOULD_CROSS, REDUCE_ONLY_REJECTED,
            VENUE_REJECTED (rejected); TIMEOUT, VENUE_DOWN, BAD_RESPONSE (outcome may be unknown).
        """
        ...

    def place_market_order(
        self,
        symbol: str,
        side: str,
        amount: Any,
        *,
        client_order_id: str | None = None,
        reduce_only: bool = False,
        max_slippage: Any = None,
    ) -> Envelope:
        """Place a market order; `amount` is base units for spot buys too.

        Args:
            max_slippage: Fraction of the best price that the worst fill may be away from it; None = the venue's own.

        Returns:
            Envelope around Order. What could not be filled inside the bound is cancelled by the venue.

        Errors:
            As place_limit_order.
        """
        ...

    def place_stop_order(
        self,
        symbol: str,
        side: str,
        amount: Any,
        stop_price: Any,
        price: Any = None,
        *,
        client_order_id: str | None = None,
        reduce_only: bool = False,
    ) -> Envelope:
        """Place an order that wakes when the last price moves against the position: buy at or above stop_price, sell
        at or below. With `price` a limit order is placed then, without one a market order.

        Errors:
            As place_limit_order; INVALID_ORDER when it would trigger at once.
        """
        ...

    def place_take_profit_order(
        self,
        symbol: str,
        side: str,
        amount: Any,
        stop_price: Any,
        price: Any = None,
        *,
        client_order_id: str | None = None,
        reduce_only: bool = False,
    ) -> Envelope:
        """As place_stop_order, waking in the other direction: sell at or above stop_price, buy at or below."""
        ...

    def cancel_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
        """Cancel one order, plain or conditional, by the venue's id or by ours.

        Returns:
            Envelope around Order as it ended: `filled` tells what was executed before the cancel.

        Errors:
            ORDER_NOT_FOUND (rejected): unknown, or already finished.
        """
        ...

    def cancel_all_orders(self, symbol: str | None = None) -> Envelope:
        """Cancel every order, plain and conditional alike, of a symbol or (None) of the account.

        Returns:
            Envelope around CancelAll. success is False when an order was left.
        """
        ...

    def get_order_status(
        self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> Envelope:
        """Read one order, live or finished, by the venue's id or by ours.

        Errors:
            ORDER_NOT_FOUND (rejected): the venue knows no such order.
        """
        ...

    def get_open_orders(self, symbol: str | None = None) -> Envelope:
        """Read every live order, plain and conditional alike, all pages. Envelope around list[Order]."""
        ...

    def get_fills(
        self, symbol: str | None = None, *, order_id: str | None = None, since: float | None = None
    ) -> Envelope:
        """Read executions, oldest first. Envelope around list[Fill].

        Args:
            since: Seconds UTC; only fills at or after it.
        """
        ...

    def get_account_info(self) -> Envelope:
        """Read equity, margin and balances. Envelope around AccountInfo."""
        ...

    def get_positions(self, symbol: str | None = None) -> Envelope:
        """Read positions that are not flat. Envelope around list[Position]; spot holdings are long positions."""
        ...

    def adjust_position(self, symbol: str, side: str, amount: Any, price: Any = None) -> Envelope:
        """Add to a position or reduce it.

        Args:
            side: Which position: "long" or "short".
            amount: Base units; > 0 adds, < 0 reduces and never flips.
            price: Limit price; None = market.

        Returns:
            Envelope around Order.

        Errors:
            REDUCE_ONLY_REJECTED when there is nothing to reduce; else as place_limit_order.
        """
        ...

    def set_leverage(self, symbol: str, leverage: int) -> Envelope:
        """Set the leverage of a perpetual. Envelope around {"symbol", "leverage"}."""
        ...

    def get_ticker(self, symbol: str) -> Envelope:
        """Read best bid and ask, last and mark price. Envelope around Ticker."""
        ...

    def get_instrument(self, symbol: str) -> Envelope:
        """Read the trading rules. Envelope around Instrument."""
        ...

    def get_klines(self, symbol: str, interval: str, *, start: float | None = None, limit: int = 500) -> Envelope:
        """Read candles, oldest first. Envelope around list[Kline].

        Args:
            interval: "1m", "5m", "15m", "1h", "4h", "1d" and what else the venue has.
            start: Seconds UTC of the first candle; None = the latest `limit` candles.
        """
        ...

    def get_server_time(self) -> Envelope:
        """Read the venue's clock. Envelope around {"timestamp": seconds UTC}."""
        ...

    def cancel_all_after(self, seconds: float) -> Envelope:
        """Arm the venue's dead-man's switch: all orders are cancelled unless called again within `seconds`; 0 disarms.

        Returns:
            Envelope around {"seconds": float, "trigger_time": float | None}.
        """
        ...


VENUE_FUNCTIONS: tuple[str, ...] = tuple(
    name for name in vars(Exchange) if not name.startswith("_") and callable(vars(Exchange)[name])
)
