"""python-binance with our socket, our clock and no constructor: it names the endpoints, builds and signs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from Execution.common import settings, transport
from Execution.common.accounts import Facts
from Execution.common.answers import before_sending
from Execution.common.clients import sdk_import
from Execution.common.codecs.binance import parse_error
from Execution.common.errors import Refused
from Execution.common.offset import ClockOffset

ADDRESSES = {
    ("spot", False): "https://api.binance.com",
    ("spot", True): "https://testnet.binance.vision",
    ("futures", False): "https://fapi.binance.com",
    ("futures", True): "https://testnet.binancefuture.com",
}
_VALID_MS = 5000
_INSTRUMENTS_GOOD_FOR = 3600.0
_ACCOUNT_GOOD_FOR = 300.0


class Session:
    """What python-binance takes for its requests.Session: one request through common.transport, refusals raised."""

    def __init__(self, headers: Mapping[str, str], clock: ClockOffset) -> None:
        self._headers = dict(headers)
        self._clock = clock
        self.get, self.post, self.put, self.delete = (
            partial(self._send, method) for method in ("GET", "POST", "PUT", "DELETE")
        )

    def close(self) -> None:
        """Called when the client goes. The connections belong to all."""

    def _send(self, method: str, url: str, *, headers: Mapping[str, str], **request: Any) -> Success:
        query, body = request.get("params"), _encoded(request.get("data"))
        reply = transport.send(method, f"{url}?{query}" if query else url, {**self._headers, **headers}, body)
        if 200 <= reply.status < 300:
            told = reply.json()
            if isinstance(told, dict) and str(told.get("code", "")).startswith("-"):
                raise parse_error(400, told)
            return Success(reply.status, told)
        if not reply.body.lstrip().startswith(b"{"):
            if reply.status in (418, 429):
                raise parse_error(reply.status, b"{}", reply.retry_after)
            raise reply.unreadable()
        error = parse_error(reply.status, reply.body, reply.retry_after)
        if error.code == "CLOCK_SKEW":
            self._clock.doubt()
        raise error


class Success:
    """A reply under the names that requests gives, read once."""

    text = "read"

    def __init__(self, status: int, told: Any) -> None:
        self.status_code = status
        self._told = told

    def json(self) -> Any:
        """Answer what was read."""
        return self._told


def _encoded(fields: Any) -> bytes:
    """Write a body byte for byte as it was signed: `symbol` percent-encoded, and no other value needs it."""
    if not fields or isinstance(fields, str):
        return (fields or "").encode("ascii")
    return "&".join(f"{k}={quote(str(v), safe='') if k == 'symbol' else v}" for k, v in fields).encode("ascii")


class Account:
    """One account on one of the two markets: the SDK's client, and what is known for a while."""

    def __init__(self, market: str) -> None:
        self.market = market
        self.facts = Facts(_INSTRUMENTS_GOOD_FOR)
        self.brief = Facts(_ACCOUNT_GOOD_FOR)
        self.armed: set[str] = set()
        """Symbols whose countdown this process has armed."""
        key, secret = (settings.for_account("binance", each) for each in ("API_KEY", "API_SECRET"))
        alias = settings.account.get().upper()
        missing = [each for each, value in (("API_KEY", key), ("API_SECRET", secret)) if not value]
        self._missing = " and ".join(f"BINANCE_{alias + '_' if alias else ''}{each}" for each in missing)
        self.clock = ClockOffset(self.server_time)
        self.public = _client(_address(market), key, secret, self.clock)

    def server_time(self) -> float:
        """Ask for the venue's time."""
        asked = self.public.get_server_time() if self.market == "spot" else self.public.futures_time()
        return int(asked["serverTime"]) / 1000

    def need_keys(self) -> None:
        """Refuse where there are none."""
        if self._missing:
            raise Refused("CONFIGURATION", f"{self._missing} must be set to use the account on Binance")

    @property
    def client(self) -> Any:
        """The SDK's client for calls that need keys."""
        self.need_keys()
        return self.public


def setting(name: str) -> str:
    """Answer the name under which a setting is given: that of the account in force, where there is one."""
    alias = settings.account.get().upper()
    own = f"BINANCE_{alias}_{name}"
    return own if alias and settings.get(own) else f"BINANCE_{name}"


def _address(market: str) -> str:
    given = settings.for_account("binance", f"{market.upper()}_BASE_URL").rstrip("/")
    return given or ADDRESSES[market, settings.flag(setting("TESTNET"))]


def _client(address: str, key: str, secret: str, clock: ClockOffset) -> Any:
    kind = _signer()
    client: Any = kind.__new__(kind)
    # Its constructor makes an event loop and two web sockets that nobody uses here.
    client.API_KEY, client.API_SECRET, client.PRIVATE_KEY = key, secret, None
    client.TIME_UNIT = client.response = client._requests_params = None
    client._is_rsa = client.testnet = client.demo = client.verbose = False
    client.API_URL, client.FUTURES_URL = f"{address}/api", f"{address}/fapi"
    client.clock = clock
    client.session = Session(client._get_headers(), clock)
    return client


def _signer() -> Any:
    with sdk_import():
        from binance.client import Client

    class Signer(Client):  # type: ignore[misc]
        """Stamps with the venue's clock."""

        REQUEST_RECVWINDOW = _VALID_MS

        @property
        def timestamp_offset(self) -> float:
            """Milliseconds from our clock to theirs. Asked for while a request is signed: nothing has left yet."""
            with before_sending():
                return float(self.clock.now() - time.time()) * 1000

    return Signer
