"""What is read of Binance in more than one line: instruments, live orders, trades page by page, modes, prices."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

from Execution.common.answers import before_sending
from Execution.common.clients.binance import Account
from Execution.common.codecs.binance import PERPETUAL, parse_instrument, venue_symbol
from Execution.common.errors import ExecutionError, Refused
from Execution.common.types import Instrument

TRADES_AT_ONCE = 1000
_WEEK_MS = 7 * 86_400_000


def instrument(account: Account, name: str) -> Instrument:
    """Answer the trading rules, read once an hour: spot symbol by symbol, futures all at once (they have no filter)."""
    with before_sending():
        found = _listed(account, venue_symbol(name))
    if found is None or found["symbol"] != name:
        raise Refused("INVALID_SYMBOL", f"Binance lists no {name}")
    return found


def _listed(account: Account, listed: str) -> Instrument | None:
    """Answer the trading rules of Binance's own name of a symbol; None where there is no such, or a dated contract."""
    read = _spot_listed if account.market == "spot" else _futures_listed
    try:
        return account.facts.get(("instrument", listed), lambda: read(account, listed))
    except ExecutionError as error:
        if error.code == "INVALID_SYMBOL" or error.exchange_code == "-1100":
            return None
        raise


def _spot_listed(account: Account, listed: str) -> Instrument:
    # get_exchange_info takes no symbol and answers megabytes.
    return parse_instrument(account.public._get("exchangeInfo", data={"symbol": listed})["symbols"][0])


def _futures_listed(account: Account, listed: str) -> Instrument:
    return parse_instrument(listing(account, listed))


def listing(account: Account, listed: str) -> Mapping[str, Any]:
    """Answer what exchangeInfo tells of a perpetual."""
    told = account.facts.get("listed", lambda: account.public.futures_exchange_info()["symbols"])
    for each in told:
        if each["symbol"] == listed and each["contractType"] in PERPETUAL:
            found: Mapping[str, Any] = each
            return found
    raise Refused("INVALID_SYMBOL", f"Binance lists no perpetual {listed}")


def unified(account: Account, listed: str) -> str | None:
    """Answer our name of Binance's; None of what is not traded here."""
    found = _listed(account, listed)
    return None if found is None else found["symbol"]


def _read_at_once(account: Account, listed: frozenset[str]) -> None:
    """Read the trading rules of several spot symbols in one request: a cancel-all has no time for one each."""

    def ask() -> bool:
        wanted = quote(json.dumps(sorted(listed), separators=(",", ":")), safe="")
        for raw in account.public._get("exchangeInfo", data={"symbols": wanted})["symbols"]:
            account.facts.get(("instrument", raw["symbol"]), partial(parse_instrument, raw))
        return True

    try:
        if len(listed) > 1:
            account.facts.get(listed, ask)
    except ExecutionError as error:
        if error.code != "INVALID_SYMBOL":  # of one that is listed no more; then each is read alone
            raise


def with_names(account: Account, told: Iterable[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Answer each with our name of its symbol; without those of symbols that are not traded here."""
    told = list(told)
    if account.market == "spot":
        _read_at_once(account, frozenset(each["symbol"] for each in told))
    named = [(unified(account, each["symbol"]), each) for each in told]
    return [(name, each) for name, each in named if name is not None]


def of_symbol(name: str | None) -> dict[str, str]:
    """Answer the field that narrows a question to one symbol, or none."""
    return {} if name is None else {"symbol": venue_symbol(name)}


def live_orders(account: Account, name: str | None) -> list[tuple[str, Mapping[str, Any]]]:
    """Answer the live plain orders of a symbol or of all; on spot conditional ones are among them."""
    read = account.client.get_open_orders if account.market == "spot" else account.client.futures_get_open_orders
    return with_names(account, read(**of_symbol(name)))


def live_algos(account: Account, name: str | None) -> list[tuple[str, Mapping[str, Any]]]:
    """Answer the waiting conditional orders of futures."""
    return with_names(account, account.client.futures_get_open_algo_orders(**of_symbol(name)))


def plain_order(account: Account, wanted: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Answer one plain order, or None."""
    read = account.client.get_order if account.market == "spot" else account.client.futures_get_order
    return known(read, wanted)


def algo_order(client: Any, wanted: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Answer one conditional order of futures, or None."""
    return known(client.futures_get_algo_order, wanted)


def known(call: Any, wanted: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Answer what a call about one order answers; None where Binance knows no such order, or it has ended."""
    try:
        raw: Mapping[str, Any] = call(**wanted)
        return raw
    except ExecutionError as error:
        if error.code == "ORDER_NOT_FOUND":
            return None
        raise


def order_trades(account: Account, name: str, order_id: str) -> list[Any]:
    """Answer all trades of one order."""
    found = page = _read_trades(account, name, orderId=order_id)
    while len(page) == TRADES_AT_ONCE:
        page = _read_trades(account, name, orderId=order_id, fromId=str(int(page[-1]["id"]) + 1))
        found = found + page
    return found


def trades(account: Account, name: str, after: int | None) -> list[Any]:
    """Answer the trades of a symbol from a time on (milliseconds), or the latest ones."""
    return (_spot_trades if account.market == "spot" else _futures_trades)(account, name, after)


def _spot_trades(account: Account, name: str, after: int | None) -> list[Any]:
    """The last thousand; or from a time on, then page by page by id."""
    if after is None:
        return _read_trades(account, name)
    found = page = _read_trades(account, name, startTime=str(after))
    while len(page) == TRADES_AT_ONCE:
        page = _read_trades(account, name, fromId=str(int(page[-1]["id"]) + 1))
        found = found + page
    return found


def _futures_trades(account: Account, name: str, after: int | None) -> list[Any]:
    """Futures tell at most seven days and a thousand trades at a time, by time or by id but not by both."""
    now = account.clock.now_ms()
    start = now - _WEEK_MS + 60_000 if after is None else after
    found: dict[str, Any] = {}
    while start <= now:
        end = start + _WEEK_MS - 1
        page = _read_trades(account, name, startTime=str(start), endTime=str(end))
        found.update((str(each["id"]), each) for each in page)
        if len(page) < TRADES_AT_ONCE:
            start = end + 1
            continue
        while len(page) == TRADES_AT_ONCE and int(page[-1]["time"]) == start:  # a millisecond of more than a page
            page = _read_trades(account, name, fromId=str(int(page[-1]["id"]) + 1))
            found.update((str(each["id"]), each) for each in page)
        if len(page) < TRADES_AT_ONCE:
            break
        start = int(page[-1]["time"])
    return list(found.values())


def _read_trades(account: Account, name: str, **wanted: Any) -> list[Any]:
    client = account.client
    read = client.get_my_trades if account.market == "spot" else client.futures_account_trades
    found: list[Any] = read(symbol=venue_symbol(name), limit=str(TRADES_AT_ONCE), **wanted)
    return found


def hedged(account: Account) -> bool:
    """Tell whether the account holds long and short apart."""
    return account.brief.get("hedged", lambda: bool(account.client.futures_get_position_mode()["dualSidePosition"]))


def configs(account: Account, listed: str | None = None) -> dict[str, Any]:
    """Answer leverage and margin mode by symbol."""
    told = account.client.futures_symbol_config(**({"symbol": listed} if listed else {}))
    return {each["symbol"]: each for each in told}


def book_ticker(account: Account, name: str) -> Mapping[str, Any]:
    """Answer the best prices and their sizes."""
    ask = account.public.get_orderbook_ticker if account.market == "spot" else account.public.futures_orderbook_ticker
    found: Mapping[str, Any] = ask(symbol=venue_symbol(name))
    return found


def touch(account: Account, name: str, side: str) -> Decimal | None:
    """Answer the best price on the other side."""
    book = book_ticker(account, name)
    return Decimal(book["askPrice" if side == "buy" else "bidPrice"]) or None


def last_prices(account: Account) -> dict[str, Decimal]:
    """Answer the last price of every asset that has a market in USDT."""
    told = account.public.get_all_tickers()
    return {
        e["symbol"][:-4]: Decimal(e["price"]) for e in told if e["symbol"].endswith("USDT") and len(e["symbol"]) > 4
    }
