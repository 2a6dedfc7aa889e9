"""OKX's client: python-okx builds and signs, common/transport sends; the clock, the facts and the answers around it.

What the SDK silently does otherwise: demo trading is its default, it ignores the HTTP status, stamps with the local
clock, and makes an HTTP client and a TLS context for each of its classes. None of that is left here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from Execution.common import settings, symbols, transport
from Execution.common.accounts import Facts
from Execution.common.answers import before_sending
from Execution.common.clients import sdk_import
from Execution.common.codecs.okx import ONE, Row, Terms, parse_error, parse_instrument
from Execution.common.errors import ExecutionError, Refused
from Execution.common.offset import ClockOffset
from Execution.common.precision import Rules, rules_of
from Execution.common.types import Instrument

NAME = "okx"
PAGE = 100
_URL = "https://www.okx.com"
_ORDER_PATH = "/api/v5/trade/order"
_VALID_MS = 5000
_SWITCH = ("1", "true", "yes", "on", "0", "false", "no", "off")


class _Answer:
    """What the SDK takes for its HTTP library's response: its JSON is our whole reply, status and all."""

    def __init__(self, reply: transport.Reply) -> None:
        self._reply = reply

    def json(self) -> transport.Reply:
        return self._reply


class Client:
    """One account: the SDK with and without its keys, the clock offset, and facts that are good for a while."""

    def __init__(self) -> None:
        self.url = (settings.for_account(NAME, "BASE_URL") or _URL).rstrip("/")
        demo = settings.choice("OKX_TESTNET", _SWITCH, value=settings.for_account(NAME, "TESTNET") or "0")
        self.margin_mode = settings.choice(
            "OKX_MARGIN_MODE", ("cross", "isolated"), value=settings.for_account(NAME, "MARGIN_MODE") or "cross"
        )
        self.clock = ClockOffset(self._venue_time)
        demo = "1" if demo in _SWITCH[:4] else "0"
        self.public = _sdk(self.url, demo, ("-1", "-1", "-1"), None)
        self._demo = demo
        self._signed: Any = None
        self.instruments = Facts(3600.0)
        self.terms_read = Facts(300.0)

    def _venue_time(self) -> float:
        return int(data_of(self.public.get_system_time())[0]["ts"]) / 1000

    @property
    def signed(self) -> Any:
        """The SDK with keys, made when they are first needed: market data are read without."""
        if self._signed is None:
            keys = {name: settings.for_account(NAME, name) for name in ("API_KEY", "API_SECRET", "PASSPHRASE")}
            alias = settings.account.get()
            lacking = [f"OKX_{alias.upper() + '_' if alias else ''}{name}" for name in keys if not keys[name]]
            if lacking:
                raise Refused("CONFIGURATION", f"{', '.join(lacking)} not set")
            self._signed = _sdk(self.url, self._demo, tuple(keys.values()), self.clock)
        return self._signed

    def check_keys(self) -> None:
        """Raise Refused CONFIGURATION where the account has no keys."""
        _ = self.signed

    def ask(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Call a method of the SDK with keys and answer the venue's data."""
        try:
            return data_of(getattr(self.signed, method)(*args, **kwargs))
        except ExecutionError as error:
            if error.code == "CLOCK_SKEW":
                self.clock.doubt()
            elif error.exchange_code == "51000":
                self.terms_read.forget()  # "posSide error": the position mode was changed
            raise

    def one(self, method: str, **kwargs: Any) -> Row | None:
        """Answer the one row asked for; None where the venue says that there is none."""
        try:
            found = self.ask(method, **kwargs)
        except ExecutionError as error:
            if error.code == "ORDER_NOT_FOUND":
                return None
            raise
        row: Row | None = found[0] if found else None
        return row

    def batch(self, method: str, orders: list[dict[str, str]]) -> list[Row]:
        """Call a method for several orders and answer what the venue says to each, failed ones too."""
        reply = getattr(self.signed, method)(orders)
        payload = _payload(reply)
        items: list[Row] = payload.get("data") or []
        if reply.status >= 400 or not all(isinstance(item, dict) and "sCode" in item for item in items) or not items:
            raise parse_error(payload, reply.status, reply.retry_after)
        return items

    def pages(self, key: str, ask: Callable[[str], list[Row]]) -> list[Row]:
        """Answer all rows of a list that comes in pages, newest first; `ask` takes the key that a page is behind."""
        rows = ask("")
        page = rows
        while len(page) == PAGE:
            last = rows[-1][key]
            page = ask(last)
            if page and page[-1][key] == last:
                raise ExecutionError("BAD_RESPONSE", "a list of the venue has no end")
            rows = [*rows, *page]
        return rows

    def terms(self) -> Terms:
        """Answer what orders are placed under."""
        return self.terms_read.get("terms", self._read_terms)

    def _read_terms(self) -> Terms:
        row = self.ask("get_account_config")[0]
        mode = {"net_mode": "net", "long_short_mode": "hedge"}[row["posMode"]]
        spot = {"1": "cash", "2": "cash", "3": "cross", "4": "cross"}[row["acctLv"]]
        return Terms("hedge" if mode == "hedge" else "net", self.margin_mode, spot)

    def instrument(self, symbol: str) -> Instrument:
        """Answer the trading rules of a unified symbol."""
        return self.instruments.get(symbol, lambda: self._read_instrument(symbol))

    def _read_instrument(self, symbol: str) -> Instrument:
        try:
            rows = data_of(self.public.get_instruments(kind_of(symbol), instId=symbol))
        except ExecutionError as error:
            if error.code not in ("INVALID_SYMBOL", "INVALID_ORDER"):
                raise
            rows = []
        if not rows:
            raise Refused("INVALID_SYMBOL", f"OKX has no {symbol}")
        return parse_instrument(rows[0])

    def rules(self, symbol: str) -> Rules:
        return rules_of(self.instrument(symbol))

    def contract_size(self, symbol: str) -> Decimal:
        return self.rules(symbol).contract_size if symbols.is_swap(symbol) else ONE


def _sdk(url: str, demo: str, keys: tuple[str, ...], clock: ClockOffset | None) -> Any:
    """Make the SDK's client; its own constructor, which makes an HTTP client and a TLS context, is not called."""
    with sdk_import():
        from okx.Account import AccountAPI
        from okx.MarketData import MarketAPI
        from okx.PublicData import PublicAPI
        from okx.Trade import TradeAPI

    class Sdk(TradeAPI, PublicAPI, MarketAPI, AccountAPI):  # type: ignore[misc]
        def __init__(self) -> None:
            self.API_KEY, self.API_SECRET_KEY, self.PASSPHRASE = keys
            self.flag, self.domain, self.debug = demo, url, False
            self.use_server_time = clock is not None  # has _get_timestamp asked instead of our own clock

        def _get_timestamp(self) -> str:
            return datetime.fromtimestamp(_now_ms(clock) / 1000, UTC).isoformat(timespec="milliseconds")[:23] + "Z"

        def get(self, path: str, headers: dict[str, Any]) -> _Answer:
            return _Answer(transport.send("GET", url + path, _text(headers)))

        def post(self, path: str, data: str, headers: dict[str, Any]) -> _Answer:
            if path == _ORDER_PATH:
                headers["expTime"] = str(_now_ms(clock) + _VALID_MS)
            return _Answer(transport.send("POST", url + path, _text(headers), data.encode()))

    return Sdk()


def _now_ms(clock: ClockOffset | None) -> int:
    assert clock is not None
    with before_sending():
        return clock.now_ms()


def _text(headers: dict[str, Any]) -> dict[str, str]:
    return {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in headers.items()}


def data_of(reply: transport.Reply) -> list[Any]:
    """Answer the data of a reply; an item that failed (sCode) fails it, whatever its own code says."""
    payload = _payload(reply)
    data: list[Any] = payload.get("data", [])
    failed = any(isinstance(item, dict) and item.get("sCode", "0") != "0" for item in data)
    if reply.status >= 400 or payload["code"] != "0" or failed:
        raise parse_error(payload, reply.status, reply.retry_after)
    return data


def _payload(reply: transport.Reply) -> dict[str, Any]:
    if reply.status == 429 and b'"code"' not in reply.body:
        return {}
    payload: dict[str, Any] = reply.json()
    if not isinstance(payload, dict) or ("code" not in payload and reply.status < 400):
        raise reply.unreadable()
    return payload


def kind_of(symbol: str) -> str:
    """Answer the venue's word for the market of a unified symbol."""
    return "SWAP" if symbols.is_swap(symbol) else "SPOT"
