"""The README says what is true now: its code runs, its tables are those of the program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from Execution.command_line import output
from Execution.command_line.app import app
from Execution.common import settings
from Execution.common.types import STATUSES
from Execution.signals import parse as signals

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The table whose first heading this is: first cell -> the others."""
    table = README.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    found: dict[str, list[str]] = {}
    for line in table:
        first, *others = [cell.strip() for cell in line.strip("|").split("|")]
        for name in first.split(","):
            found[name.strip().strip("`")] = others
    return found


def run(*command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "EXECUTION_HOME": str(tmp_path / "home")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, cwd=tmp_path)


def test_the_python_block_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 1
    done = run(sys.executable, "-W", "error", "-c", blocks[0], tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("filled 0.0")
    assert lines[-1] == "0 cancelled; nothing is left"
    assert done.stderr == ""


@pytest.mark.parametrize("line", re.findall(r"^    python -m Execution (.*)$", README, re.M))
def test_the_command_lines_parse(line: str) -> None:
    stays = line.startswith(("run", "replay"))
    result = CliRunner().invoke(app, line.split() + ["--help"] * stays)
    assert "Usage: " not in result.stderr, result.stderr
    assert result.exit_code in (0, 1, 4), result.output


def test_the_table_of_capabilities_is_true() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "capabilities.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_table_of_capabilities_that_is_not_true_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import capabilities

    (tmp_path / "README.md").write_text(re.sub(r"(\| `get_fills` \|.*?)planned", r"\1yes", README, count=1))
    monkeypatch.setattr(capabilities, "README", tmp_path / "README.md")
    assert capabilities.main(["--check"]) == 1
    assert capabilities.main([]) == 0
    assert (tmp_path / "README.md").read_text() == README
    assert capabilities.main(["--chekc"]) == 2


def test_the_table_of_settings_has_every_setting_with_its_default() -> None:
    told = {name: cells[0].strip("`") for name, cells in rows("setting").items()}
    assert told == settings.DEFAULTS


def test_the_table_of_signal_keys_has_every_key() -> None:
    assert sorted(rows("key")) == sorted(signals.KEYS)


def test_the_table_of_statuses_has_every_status() -> None:
    assert sorted(rows("status")) == sorted(STATUSES)


def test_the_table_of_exit_codes_has_every_code_and_its_meaning() -> None:
    told = {int(code): cells[0].replace("`", "") for code, cells in rows("exit code").items()}
    assert told == {code: meaning.replace("`", "") for code, meaning in output.EXIT_CODES.items()}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#h][^)]*)\)", README):
        assert (ROOT / target).exists(), target


def test_the_readme_speaks_of_the_product_alone() -> None:
    for path in ("README.md", "CHANGELOG.md"):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not re.search(r"/(work|root|home|tmp)/|\bissue\b|#\d", text), path
