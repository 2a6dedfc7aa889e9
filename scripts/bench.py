#!/usr/bin/env python3
"""Measure what an order costs, beside other systems in the same run, and compare with our targets.

    bench.py                          everything, some minutes
    bench.py --quick                  everything, smaller, under a minute; for a look, not for a claim
    bench.py --only signal --only logic
    bench.py --write                  and keep the tables in scripts/bench_results.md

Cases: signal batch logic resting memory timeouts replay import wire threads emergency cold. No network but loopback,
a home of its own for each case; one CPU for us and for the peers alike. The peers run in .venv-bench, an environment
of their own:

    python3 -m venv .venv-bench && .venv-bench/bin/pip install -r scripts/requirements-bench.txt

Without it our figures stand alone. Exit code: 0 measured (met or missed), 1 a case failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import bench_cases  # noqa: E402
import bench_venues  # noqa: E402
from bench_kit import ROOT, Figure, Peers, Plan, Result, Unavailable, pin  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

RESULTS = HERE / "bench_results.md"
LONGEST_CASE = 300.0
ROUNDS, QUICK_ROUNDS = 5, 2
WITH_PEERS = ("signal", "batch", "resting")
CASES = {**bench_cases.CASES, **bench_venues.CASES}


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="smaller and fewer rounds")
    parser.add_argument("--only", action="append", choices=CASES, metavar="CASE", help="this case; repeat")
    parser.add_argument(
        "--rounds", type=int, help=f"how often each is measured, {ROUNDS}, or {QUICK_ROUNDS} with --quick"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--write", action="store_true", help=f"write scripts/{RESULTS.name}")
    parser.add_argument("--peers-python", type=Path, metavar="PATH", help="the peers' Python, instead of .venv-bench's")
    asked = parser.parse_args(words)
    if asked.rounds is not None and not 1 <= asked.rounds <= 100:
        parser.error("--rounds must be from 1 to 100")
    return asked


# -- measuring


def measure(name: str, plan: Plan) -> tuple[Result, dict[str, str]]:
    """Carry out a case in this process; answer what it found, and the versions of the peers."""
    case = CASES[name]
    started = time.monotonic()
    with Peers(plan.peers_python if name in WITH_PEERS else None) as peers:
        try:
            found = case(plan, peers)
            if name in WITH_PEERS and peers.why:
                found.remarks.append(peers.why)
        except Unavailable as reason:
            found = Result(name, name, remarks=[f"not measured: {reason}"])
        found.seconds, found.load = time.monotonic() - started, os.getloadavg()[0]
        found.method = (case.__doc__ or "").strip()
        return found, peers.versions


def measure_apart(name: str, asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Carry out a case in a process of its own; answer its part of the JSON."""
    command = [sys.executable, __file__, "--only", name, "--json", "--rounds", str(rounds_of(asked))]
    command += ["--quick"] * asked.quick
    command += ["--peers-python", str(asked.peers_python)] * bool(asked.peers_python)
    with console.status(f"{name} ..."):
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LONGEST_CASE, check=False)
            answer: dict[str, Any] = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            return failure(name, f"took longer than {LONGEST_CASE:g} s")
        except ValueError:
            return failure(name, "ended without an answer, see its words above")
    return answer


def failure(name: str, words: str) -> dict[str, Any]:
    """Answer the JSON of a case that could not be finished."""
    return {"peers": {}, "cases": [asdict(Result(name, name, remarks=[f"FAILED: {words}"], failed=True))]}


def rounds_of(asked: argparse.Namespace) -> int:
    """Answer how many rounds are wanted."""
    return asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)


def result_of(data: dict[str, Any]) -> Result:
    """Answer a result from its JSON."""
    figures = [Figure(**figure) for figure in data["figures"]]
    return Result(**{**data, "figures": figures})


# -- the machine


def machine(words: list[str], cpu: str) -> dict[str, str]:
    """Describe where and how this was measured."""
    load = os.getloadavg()[0]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, {_memory()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "CPU": f"everything on CPU {cpu}" if cpu else "not pinned",
        "load": f"{load:.2f} before the start"
        + (" (others may have been at work: absolutes are then too slow)" if load > 0.5 else ""),
        "commit": _commit(),
        "command": f"scripts/bench.py {_words_without_paths(words)}".strip(),
    }


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", _text("/proc/cpuinfo"))
    return found[1] if found else platform.processor() or platform.machine()


def _memory() -> str:
    found = re.search(r"MemTotal:\s*(\d+) kB", _text("/proc/meminfo"))
    return f"{int(found[1]) / 1024**2:.0f} GB of memory" if found else "memory unknown"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "Execution", "scripts")
        return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")
    except OSError:
        return "unknown"


def _words_without_paths(words: list[str]) -> str:
    return " ".join(
        "PATH" if before == "--peers-python" else word for before, word in zip(["", *words], words, strict=False)
    )


# -- showing


def number(value: float) -> str:
    """Answer a number with the digits that mean something."""
    if value == int(value) and abs(value) < 1000:
        return f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def row(figure: Figure) -> tuple[str, str, str, str, str]:
    """Answer name, median, spread, target and verdict."""
    spread = f"{number(min(figure.values))} to {number(max(figure.values))}" if len(figure.values) > 1 else ""
    target = "" if figure.target is None else f"{'≥' if figure.more_is_better else '≤'} {number(figure.target)}"
    return figure.name, f"{number(figure.value)} {figure.unit}".strip(), spread, target, figure.verdict


def about(found: Result) -> str:
    """Say how long a case took, and how busy the machine was after it: well above 1, others were at work."""
    return f"{found.seconds:.0f} s, load average {found.load:.1f} after it"


def show(console: Console, found: Result) -> None:
    """Print the table of a case."""
    table = Table(title=f"{found.title} ({about(found)})", title_justify="left")
    for name, side in (("", "left"), ("median", "right"), ("rounds", "right"), ("target", "right"), ("", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    colours = {"met": "green", "missed": "red", "": ""}
    for figure in found.figures:
        *cells, verdict = row(figure)
        table.add_row(*cells, f"[{colours[verdict]}]{verdict}[/]" if verdict else "")
    if found.figures:
        console.print(table)
    for remark in found.remarks:
        console.print(f"{found.name}: {remark}", markup=False, highlight=False)


def markdown(facts: dict[str, str], results: list[Result]) -> str:
    """Answer the page that is committed."""
    lines = ["# What scripts/bench.py measured", ""]
    lines += [f"- {name}: {words}" for name, words in facts.items()]
    lines += [
        "",
        "Median over the rounds, then the smallest and the largest of them. A ratio is taken round by round.",
        "",
    ]
    for found in results:
        lines += [f"## {found.title}", ""]
        lines += [line.strip() for line in found.method.splitlines()]
        if found.figures:
            lines += ["", "| | median | rounds | target | |", "|---|---:|---:|---:|---|"]
            lines += [f"| {' | '.join(row(figure))} |" for figure in found.figures]
        lines += ["", *[f"- {remark}" for remark in (about(found), *found.remarks)], ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


# -- the command


def main(words: list[str] | None = None) -> int:
    """Measure, print, answer the exit code."""
    words = sys.argv[1:] if words is None else words
    asked = arguments(words)
    console = Console(stderr=asked.json, width=None if sys.stdout.isatty() else 120)
    names = list(dict.fromkeys(asked.only or CASES))
    facts = machine(words, pin())
    results, peers = run(names, asked, console)
    facts["peers"] = ", ".join(f"{name} {version}" for name, version in peers.items()) or "none"
    if asked.json:
        print(json.dumps({"machine": facts, "peers": peers, "cases": [asdict(found) for found in results]}))
    else:
        console.print(*[f"{name}: {text}" for name, text in facts.items()], sep="\n", markup=False, highlight=False)
    if asked.write:
        RESULTS.write_text(markdown(facts, results), encoding="utf-8")
    return int(any(found.failed for found in results))


def run(names: list[str], asked: argparse.Namespace, console: Console) -> tuple[list[Result], dict[str, str]]:
    """Carry out the cases: one alone here, several each in a process of its own."""
    default = ROOT / ".venv-bench" / "bin" / "python"
    plan = Plan(asked.quick, rounds_of(asked), asked.peers_python or default)
    results: list[Result] = []
    versions: dict[str, str] = {}
    for name in names:
        if len(names) == 1:
            found, peers = measure(name, plan)
        else:
            answer = measure_apart(name, asked, console)
            found, peers = result_of(answer["cases"][0]), answer["peers"]
        results.append(found)
        versions |= peers
        if not asked.json:
            show(console, found)
    return results, versions


if __name__ == "__main__":
    sys.exit(main())
