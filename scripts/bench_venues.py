"""What scripts/bench.py measures of OKX, Binance and Gate: our functions beside the bare SDKs and ccxt, on loopback.

First every client talks to the local server of the venue (tests/venues), which checks signatures and rules. What it
answered is then told by a server that does nothing else (bench_wire.py), to all of them alike: what is left is the
client.
"""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, ClassVar

from bench_kit import Peers, Plan, Result, Unavailable, environment, home
from bench_wire import Canned

from Execution import execute_signal, registry
from Execution.canceler import cancel_everything
from Execution.common import transport

MICRO = 1e6
PRICE, SIZE = 50000, 0.01
Call = Callable[[], object]
_names = itertools.count(1)


class Subject:
    """One venue: how it is reached, and what is measured of it."""

    name: str
    symbol: str
    theirs: str
    keys: ClassVar[dict[str, str]]
    addresses: tuple[str, ...]
    most_of_sdk: float

    def settings(self, url: str) -> dict[str, str]:
        """Answer the settings that lead to a server."""
        return {**self.keys, **dict.fromkeys(self.addresses, url)}

    def sdk(self, url: str) -> Call:
        """Answer the SDK's own call of one limit order, as it is shipped."""
        raise NotImplementedError


class Okx(Subject):
    """python-okx's TradeAPI.place_order."""

    name, symbol, theirs = "okx", "BTC-USDT-SWAP", "BTC/USDT:USDT"
    keys: ClassVar = {"OKX_API_KEY": "key-1", "OKX_API_SECRET": "secret-of-key-1", "OKX_PASSPHRASE": "phrase-of-key-1"}
    addresses = ("OKX_BASE_URL",)
    most_of_sdk = 0.53

    def sdk(self, url: str) -> Call:
        from okx.Trade import TradeAPI

        client = TradeAPI(*self.keys.values(), flag="0", domain=url)
        order = {"instId": self.symbol, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": "50000"}
        return lambda: client.place_order(**order, clOrdId=f"b{next(_names)}")


class Binance(Subject):
    """python-binance's Client.futures_create_order."""

    name, symbol, theirs = "binance", "BTC-USDT-SWAP", "BTC/USDT:USDT"
    keys: ClassVar = {"BINANCE_API_KEY": "key", "BINANCE_API_SECRET": "secret"}
    addresses = ("BINANCE_SPOT_BASE_URL", "BINANCE_FUTURES_BASE_URL")
    most_of_sdk = 0.36

    def sdk(self, url: str) -> Call:
        from binance.client import Client

        client = Client(*self.keys.values(), ping=False)
        client.FUTURES_URL = f"{url}/fapi"
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
        return lambda: client.futures_create_order(**order, price="50000", newClientOrderId=f"b{next(_names)}")


class Gate(Subject):
    """gate-api's SpotApi.create_order, with its models."""

    name, symbol, theirs = "gate", "BTC-USDT", "BTC/USDT"
    keys: ClassVar = {"GATE_API_KEY": "gate-key-of-test", "GATE_API_SECRET": "gate-secret-of-test"}
    addresses = ("GATE_BASE_URL",)
    most_of_sdk = 0.6

    def sdk(self, url: str) -> Call:
        import gate_api

        key, secret = self.keys.values()
        client = gate_api.SpotApi(
            gate_api.ApiClient(gate_api.Configuration(host=f"{url}/api/v4", key=key, secret=secret))
        )
        fields = {"currency_pair": "BTC_USDT", "side": "buy", "amount": "0.01", "price": "50000", "type": "limit"}
        return lambda: client.create_order(gate_api.Order(**fields, text=f"t-b{next(_names)}"))


def ours(subject: Subject) -> Call:
    """Answer our call of the same order."""

    def place() -> None:
        answer = registry.call(
            subject.name, "place_limit_order", subject.symbol, "buy", SIZE, PRICE, client_order_id=f"b-{next(_names)}"
        )
        if not answer["success"]:
            raise RuntimeError(answer["message"])

    return place


def signal(subject: Subject) -> Call:
    """Answer the whole signal: risk, journal, order, journal."""

    def execute() -> None:
        answer = execute_signal(subject.name, subject.symbol, {"action": "buy", "amount": SIZE, "price": PRICE})
        if not answer["success"]:
            raise RuntimeError(answer["message"])

    return execute


def ccxt_call(client: Any, subject: Subject) -> Call:
    """Answer ccxt's call of the same order."""
    amount = SIZE / (client.market(subject.theirs)["contractSize"] or 1)
    return lambda: client.create_order(subject.theirs, "limit", "buy", amount, PRICE)


@contextmanager
def canned(subject: Subject) -> Iterator[tuple[Canned, Any]]:
    """Let everybody place one order at the local server, then answer a server that repeats its answers, and ccxt."""
    try:
        clients = importlib.import_module("tests.venues.ccxt_clients")
    except ImportError as error:
        raise Unavailable(f"{error.name} is missing: scripts/setup_venv --tests") from None
    local = importlib.import_module(f"tests.venues.{subject.name}").serve()
    os.environ.update(subject.settings(local.url))
    registry.reset()
    try:
        client = clients.client(subject.name)
        client.load_markets()
        client.options["defaultType"] = client.markets[subject.theirs]["type"]
        for call in (ccxt_call(client, subject), subject.sdk(local.url), ours(subject), signal(subject)):
            call()
        registry.call(subject.name, "get_open_orders")
        answers = {name: (reply.status, reply.body) for name, reply in local.server.answered.items()}
    finally:
        transport.shared.close()
        local.stop()
    with Canned(answers) as server:
        os.environ.update(subject.settings(server.url))
        registry.reset()
        again = clients.client(subject.name)
        again.set_markets(list(client.markets.values()))
        again.options["defaultType"] = client.options["defaultType"]
        try:
            yield server, again
        finally:
            transport.shared.close()


def wire(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """One limit order on a venue: our place_limit_order, execute_signal, the bare SDK as shipped, ccxt's create_order.

    In: everything between the call and its answer, over a warm connection on loopback without TLS. Ours goes through
    the guard; execute_signal adds validation, risk (ticker once a second, account every five) and two commits, NORMAL.
    The calls take turns within a round; a figure is the median of the medians of the rounds.
    """
    found = Result("wire", "One order on OKX, Binance and Gate")
    count = plan.size(300, 60)
    for subject in (Okx(), Binance(), Gate()):
        with home(), canned(subject) as (server, client):
            calls = {
                "ours": ours(subject),
                "execute_signal": signal(subject),
                "SDK": subject.sdk(server.url),
                "ccxt": ccxt_call(client, subject),
            }
            seconds = _rounds(calls, plan.rounds, count)
        for name, values in seconds.items():
            found.add(f"{subject.name}: {name}", "µs", [value * MICRO for value in values])
        found.ratio(f"{subject.name}: ours / SDK", seconds["ours"], seconds["SDK"], most=subject.most_of_sdk)
        found.ratio(f"{subject.name}: ours / ccxt", seconds["ours"], seconds["ccxt"], most=0.4)
        found.ratio(f"{subject.name}: execute_signal / ccxt", seconds["execute_signal"], seconds["ccxt"], most=1.0)
    return found


def _rounds(calls: dict[str, Call], rounds: int, count: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        for _ in range(20):
            call()
        assert name
    for _ in range(rounds):
        for name, call in calls.items():
            times = []
            for _ in range(count):
                started = time.perf_counter()
                call()
                times.append(time.perf_counter() - started)
            found[name].append(median(times))
    return found


def threads(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """Sixteen threads place limit orders on a venue at once: ours, and the bare SDK's one client, orders per second."""
    found = Result("threads", "Sixteen threads on OKX, Binance and Gate")
    each = plan.size(150, 30)
    for subject in (Okx(), Binance(), Gate()):
        with home(), canned(subject) as (server, _):
            calls = {"ours": ours(subject), "SDK": subject.sdk(server.url)}
            rates: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(plan.rounds):
                for name, call in calls.items():
                    rates[name].append(_rate(call, 16, each))
        for name, values in rates.items():
            found.add(f"{subject.name}: {name}", "/s", values)
        ratios = [a / b for a, b in zip(rates["ours"], rates["SDK"], strict=True)]
        found.add(f"{subject.name}: ours / SDK", "x", ratios, at_least=5.0)
    return found


def _rate(call: Call, count: int, each: int) -> float:
    def work() -> None:
        for _ in range(each):
            call()

    workers = [threading.Thread(target=work) for _ in range(count)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count * each / (time.perf_counter() - started)


def emergency(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """Cancel 1,000 open orders on each of three venues at once, and read back that nothing is left.

    In: cancel_everything over the local servers, which check, match and answer in this process: they are most of it.
    """
    found = Result("emergency", "Three thousand orders on three venues")
    count = plan.size(1000, 100)
    with home():
        servers = {}
        for subject in (Okx(), Binance(), Gate()):
            local = servers[subject.name] = importlib.import_module(f"tests.venues.{subject.name}").serve()
            os.environ.update(subject.settings(local.url))
        registry.reset()
        try:
            for name in servers:
                for number in range(count):
                    answer = registry.call(name, "place_limit_order", "BTC-USDT-SWAP", "buy", 0.001, 20000 + number)
                    if not answer["success"]:
                        raise RuntimeError(answer["message"])
            before = {name: len(local.server.requests) for name, local in servers.items()}
            started = time.perf_counter()
            answer = cancel_everything(list(servers))
            seconds = time.perf_counter() - started
            if not answer["success"]:
                raise RuntimeError(answer["message"])
        finally:
            transport.shared.close()
            for local in servers.values():
                local.stop()
    found.add(f"{3 * count:,} orders cancelled and read back", "s", [seconds])
    for name, local in servers.items():
        found.add(f"{name}: requests for {count:,} orders", "", [len(local.server.requests) - before[name]])
    return found


def cold(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """A cron script: a new process that imports Execution and reads the open orders of one venue, start to end."""
    found = Result("cold", "The first call of a process")
    code = (
        "import sys\nfrom Execution import registry\n"
        "answer = registry.call({name!r}, 'get_open_orders')\nassert answer['success'], answer\n"
        "print(sorted({{'okx', 'binance', 'gate_api', 'ccxt'}} & set(sys.modules)))"
    )
    for subject in (Okx(), Binance(), Gate()):
        with home(), canned(subject):
            command = [sys.executable, "-c", code.format(name=subject.name)]
            seconds, loaded = [], ""
            for _ in range(1 + plan.rounds):
                started = time.perf_counter()
                done = subprocess.run(command, check=True, env=environment(), capture_output=True, text=True)
                seconds.append(time.perf_counter() - started)
                loaded = done.stdout
            seconds = seconds[1:]  # the first one compiled what it imported
        found.add(f"{subject.name}: import and first call", "s", seconds, most=0.6)
        found.remarks.append(f"SDKs loaded for {subject.name}: {loaded.strip()}")
    return found


CASES: dict[str, Callable[[Plan, Peers], Result]] = {
    "wire": wire,
    "threads": threads,
    "emergency": emergency,
    "cold": cold,
}
