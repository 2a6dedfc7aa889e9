"""The benchmark runs; what it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "bench.py"


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_one_case_prints_a_table() -> None:
    done = bench("--quick", "--only", "import", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "import Execution, over bare Python" in done.stdout
    assert "SDKs loaded: none" in done.stdout


def test_one_case_as_json(tmp_path: Path) -> None:
    done = bench("--quick", "--only", "logic", "--rounds", "1", "--json", "--peers-python", str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {"date", "machine", "python", "commit", "command"} <= set(answer["machine"])
    assert str(tmp_path) not in answer["machine"]["command"]
    (case,) = answer["cases"]
    assert not case["failed"]
    assert {figure["name"]: figure["target"] for figure in case["figures"]}["own logic: no journal, no venue"] == 15
    assert all(value > 0 for figure in case["figures"] for value in figure["values"])


def test_without_peers_it_says_so(tmp_path: Path) -> None:
    done = bench("--quick", "--only", "signal", "--rounds", "1", "--peers-python", str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert "no peers were measured" in done.stdout
    assert "ours / " not in done.stdout


@pytest.mark.parametrize("words", [["--only", "everything"], ["--rounds", "0"], ["--fast"]])
def test_wrong_arguments(words: list[str]) -> None:
    done = bench(*words)
    assert done.returncode == 2
    assert "usage" in done.stderr
