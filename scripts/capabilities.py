#!/usr/bin/env python3
"""Write the README's table of what each venue can do from the venues' own tables: capabilities.py [--check]

With --check nothing is written; exit code 1 says that the table is not true any more.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from Execution import registry  # noqa: E402

README = ROOT / "README.md"
BEGIN, END = "<!-- capabilities: written by scripts/capabilities.py -->", "<!-- end of capabilities -->"


def table() -> str:
    """Answer the table: a row for each function, a column for each venue, and why something is missing."""
    found = registry.capabilities()
    notes: dict[str, str] = {}
    lines = [f"| | {' | '.join(found)} |", f"|---|{':-:|' * len(found)}"]
    for function in next(iter(found.values())):
        marks = []
        for name in found:
            reason = found[name][function]
            if not reason:
                marks.append("yes")
            elif registry.is_placeholder(name):
                marks.append("planned")
            else:
                marks.append(f"no ({notes.setdefault(reason, str(len(notes) + 1))})")
        lines.append(f"| `{function}` | {' | '.join(marks)} |")
    return "\n".join([*lines, *(f"\n({number}) {reason}" for reason, number in notes.items())])


def updated(text: str) -> str:
    """Answer the README with the table of now."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md has no place for the table: {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


def main(words: list[str]) -> int:
    """Write the table, or tell whether it is true."""
    if words not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    text = README.read_text(encoding="utf-8")
    new = updated(text)
    if not words:
        README.write_text(new, encoding="utf-8")
    elif new != text:
        print(
            "the table of capabilities in README.md is not true any more: run scripts/capabilities.py", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
