"""Start a local venue by hand: python -m tests.venues binance [--port 8001]. It runs until it is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import threading


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.venues", description=__doc__)
    parser.add_argument("venue", help="the name of a module of tests.venues that has serve(port)")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    server = importlib.import_module(f"tests.venues.{given.venue}").serve(given.port)
    print(f"{given.venue} at {server.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    server.stop()


if __name__ == "__main__":
    main()
