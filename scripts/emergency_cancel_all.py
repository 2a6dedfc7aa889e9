#!/usr/bin/env python3
"""Cancel every order, plain and conditional, and prove that none is left. Needs no store.

    emergency_cancel_all.py                      every venue and account that the settings have credentials for
    emergency_cancel_all.py okx okx:alpha gate   these
    emergency_cancel_all.py okx --symbol BTC-USDT-SWAP --deadline 20 --json

Exit code: 0 proven empty by reading back, 1 something is left or may be, 2 unusable configuration or arguments.
For cron, name the venues: where none is named, a venue without credentials is skipped (and said to be).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

EMPTY, LEFT, UNUSABLE = 0, 1, 2
_UNUSABLE_CODES = ("CONFIGURATION", "INVALID_SYMBOL", "NOT_SUPPORTED", "UNKNOWN_VENUE")


def seconds(text: str) -> float:
    """Read the deadline: more than zero, at most an hour."""
    value = float(text)
    if not (math.isfinite(value) and 0 < value <= 3600):
        raise ValueError(text)
    return value


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("venues", nargs="*", help="okx, okx:alpha ...; none = all that are set up")
    parser.add_argument("--symbol", help="only this symbol; none = every symbol")
    parser.add_argument("--deadline", type=seconds, default=30.0, help="seconds, 30 unless said")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    return parser.parse_args(words)


def exit_code(report: dict[str, Any]) -> int:
    """Answer 0, 1 or 2; what is left weighs more than what could not be asked."""
    failed = [report["data"]["venues"][name]["data"] for name in report["data"]["failed"]]
    if not failed:
        return EMPTY if report["data"]["venues"] else UNUSABLE
    return UNUSABLE if all(data.get("error") in _UNUSABLE_CODES and not data["left"] for data in failed) else LEFT


def lines(report: dict[str, Any]) -> list[str]:
    """Answer what a person wants to read: a line for each venue, one for each order that is left."""
    data = report["data"]
    text = [f"{name}: {answer['message']}" for name, answer in data["venues"].items()]
    text += [f"{name}: skipped, not set up" for name in data["skipped"]]
    for order in data["left"]:
        price = order["price"] if order["price"] is not None else order["stop_price"]
        text.append(
            f"  LEFT {order['exchange']} {order['symbol']} {order['side']} {order['type']} {order['remaining']:g}"
            f" at {price} id {order['order_id']}"
        )
    return [*text, "nothing is left" if report["success"] else "NOT PROVEN EMPTY"]


def main(words: list[str] | None = None) -> int:
    """Cancel, print, answer the exit code."""
    asked = arguments(words)
    try:
        from Execution.canceler import cancel_everything
    except ImportError as error:
        print(f"unusable: {error}; run it with the package's Python", file=sys.stderr)
        return UNUSABLE
    report = cancel_everything(asked.venues or None, symbol=asked.symbol, deadline=asked.deadline)
    print(json.dumps(report, indent=2, default=str) if asked.json else "\n".join(lines(report)), flush=True)
    return exit_code(report)


if __name__ == "__main__":
    sys.exit(main())
