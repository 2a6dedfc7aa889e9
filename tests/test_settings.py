"""Where a setting comes from, what it may be, and that secrets stay secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Execution.common import log, settings
from Execution.common.errors import Refused


@pytest.fixture
def toml(home: Path) -> Any:
    def write(text: str | bytes, mode: int = 0o600, path: Path | None = None) -> Path:
        path = path or home / "execution.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        settings.forget()
        return path

    return write


def refused(words: str) -> Any:
    return pytest.raises(Refused, match=words)


# -- where from


def test_environment_then_file_then_default(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.get("PAPER_SEED") == "1"
    toml("[paper]\nseed = 2\n")
    assert settings.get("PAPER_SEED") == "2"
    monkeypatch.setenv("PAPER_SEED", "3")
    assert settings.get("PAPER_SEED") == "3"
    monkeypatch.setenv("PAPER_SEED", "")
    assert settings.get("PAPER_SEED") == ""


def test_a_default_of_the_caller_beats_ours_and_nothing_is_empty() -> None:
    assert settings.get("PAPER_SEED", "9") == "9"
    assert settings.get("OKX_BASE_URL") == ""
    assert settings.get("OKX_BASE_URL", "x") == "x"


def test_tables_join_with_underscores(toml: Any) -> None:
    toml(
        "[okx.alpha]\ntestnet = true\nratio = 0.5\n[okx]\ntestnet = false\n[risk]\n"
        "allowed_symbols = ['BTC-USDT', 'ETH-USDT']\nmax_open_orders = 5\n"
    )
    assert settings.get("OKX_ALPHA_TESTNET") == "1"
    assert settings.get("OKX_TESTNET") == "0"
    assert settings.get("OKX_ALPHA_RATIO") == "0.5"
    assert settings.get("RISK_ALLOWED_SYMBOLS") == "BTC-USDT,ETH-USDT"
    assert settings.number("RISK_MAX_OPEN_ORDERS") == 5


def test_the_file_is_looked_for_in_order(
    toml: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.config_path() is None
    toml("[paper]\nseed = 10\n")
    assert settings.get("PAPER_SEED") == "10"
    toml("[paper]\nseed = 11\n", path=tmp_path / "execution.toml")
    assert settings.get("PAPER_SEED") == "11"
    monkeypatch.setenv("EXECUTION_CONFIG", str(toml("[paper]\nseed = 12\n", path=tmp_path / "mine.toml")))
    assert settings.get("PAPER_SEED") == "12"
    monkeypatch.setenv("EXECUTION_CONFIG", str(tmp_path / "none.toml"))
    settings.forget()
    with refused("EXECUTION_CONFIG names .*none.toml, which is not a file"):
        settings.get("PAPER_SEED")


def test_the_file_is_read_once_until_forgotten(toml: Any, home: Path) -> None:
    path = toml("[paper]\nseed = 2\n")
    assert settings.get("PAPER_SEED") == "2"
    path.write_text("[paper]\nseed = 3\n")
    assert settings.get("PAPER_SEED") == "2"
    settings.forget()
    assert settings.get("PAPER_SEED") == "3"


@pytest.mark.parametrize("text", ["[paper\nseed = 2", "seed == 2", b"\xff\xfe", "a = 1\na = 2"])
def test_a_bad_file_is_refused_and_named(toml: Any, text: Any) -> None:
    path = toml(text)
    with refused("cannot be read") as caught:
        settings.get("PAPER_SEED")
    assert caught.value.code == "CONFIGURATION"
    assert str(path) in caught.value.message


# -- secrets


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_file_with_secrets_that_others_may_read_is_refused(toml: Any, mode: int) -> None:
    path = toml("[okx.alpha]\napi_secret = 'very-secret-7'\n", mode)
    with refused(f"holds secrets and can be read by others: chmod 600 {path}") as caught:
        settings.get("PAPER_SEED")
    assert "very-secret-7" not in caught.value.message
    path.chmod(0o600)
    assert settings.get("OKX_ALPHA_API_SECRET") == "very-secret-7"


def test_a_file_without_secrets_may_be_read_by_all(toml: Any) -> None:
    toml("[paper]\nseed = 2\n", 0o644)
    assert settings.get("PAPER_SEED") == "2"


@pytest.mark.parametrize(
    "name",
    ["OKX_API_KEY", "OKX_ALPHA_API_SECRET", "OKX_PASSPHRASE", "HYPERLIQUID_PRIVATE_KEY", "DYDX_MNEMONIC", "X_TOKEN"],
)
def test_a_secret_is_hidden_once_it_was_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"planted-{name}")
    assert settings.is_secret(name)
    settings.get(name)
    assert log.redact(f"<planted-{name}>") == "<***>"


def test_what_is_no_secret_stays_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKX_BASE_URL", "http://plain-address")
    settings.get("OKX_BASE_URL")
    assert log.redact("http://plain-address") == "http://plain-address"


# -- accounts


def test_a_named_account_has_credentials_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "API_SECRET", "PASSPHRASE"):
        monkeypatch.setenv(f"OKX_{name}", "default-one")
    monkeypatch.setenv("OKX_ALPHA_API_KEY", "alpha-key")
    monkeypatch.setenv("OKX_BASE_URL", "http://shared")
    assert settings.for_account("okx", "API_KEY") == "default-one"
    with settings.using_account("alpha"):
        assert settings.for_account("okx", "API_KEY") == "alpha-key"
        assert settings.for_account("okx", "API_SECRET") == ""
        assert settings.for_account("okx", "PASSPHRASE") == ""
        assert settings.for_account("okx", "BASE_URL") == "http://shared"
        with settings.using_account("beta"):
            assert settings.for_account("okx", "API_KEY") == ""
    assert settings.account.get() == ""


@pytest.mark.parametrize(
    ("venue", "name"),
    [
        ("hyperliquid", "PRIVATE_KEY"),
        ("hyperliquid", "ACCOUNT_ADDRESS"),
        ("dYdX", "MNEMONIC"),
        ("dYdX", "PRIVATE_KEY"),
        ("dYdX", "ADDRESS"),
        ("dYdX", "SUBACCOUNT"),
    ],
)
def test_nothing_that_says_whose_money_it_is_comes_from_the_default(
    venue: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{venue.upper()}_{name}", "the-default-ones")
    assert settings.for_account(venue, name) == "the-default-ones"
    with settings.using_account("alpha"):
        assert settings.for_account(venue, name) == ""


def test_the_account_is_reset_when_the_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), settings.using_account("alpha"):
        _ = 1 / 0
    assert settings.account.get() == ""


def test_accounts_are_those_with_credentials(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.accounts("okx") == []
    monkeypatch.setenv("OKX_API_KEY", "k")
    monkeypatch.setenv("OKX_ALPHA_API_SECRET", "s")
    monkeypatch.setenv("OKX_EMPTY_API_KEY", "")
    monkeypatch.setenv("OKX_ALPHA_BASE_URL", "u")
    monkeypatch.setenv("DYDX_MM_1_MNEMONIC", "m")
    toml("[okx.beta]\npassphrase = 'p'\n[solana]\nprivate_key = 'x'\n")
    assert settings.accounts("okx") == ["", "alpha", "beta"]
    assert settings.accounts("dYdX") == ["mm_1"]
    assert settings.accounts("serum") == [""]


# -- what it may be


def test_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_LOSS_RATIO", " 5e-2 ")
    assert settings.number("RISK_MAX_LOSS_RATIO") == 0.05
    assert settings.number("X", value="-3", least=None) == -3
    assert settings.number("X", value="0") == 0


@pytest.mark.parametrize("text", ["", "much", "nan", "inf", "-inf", "-1", "1,5", "5%"])
def test_a_bad_number_is_refused_with_its_name_and_value(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_STORE_TIMEOUT", text)
    with refused(f"EXECUTION_STORE_TIMEOUT must be a .*number.*, not '{text}'") as caught:
        settings.number("EXECUTION_STORE_TIMEOUT")
    assert caught.value.code == "CONFIGURATION"


def test_a_choice_is_read_in_any_case_and_answered_in_ours() -> None:
    assert settings.choice("X", ("NORMAL", "FULL"), value=" full ") == "FULL"
    with refused("EXECUTION_DURABILITY must be one of NORMAL, FULL, not 'fast'"):
        settings.choice("EXECUTION_DURABILITY", ("NORMAL", "FULL"), value="fast")
    assert settings.choice("EXECUTION_DURABILITY", ("NORMAL", "FULL")) == "NORMAL"


@pytest.mark.parametrize(
    ("text", "on"), [("", 0), ("0", 0), ("No", 0), ("off", 0), ("1", 1), ("TRUE", 1), (" yes ", 1), ("on", 1)]
)
def test_flags(text: str, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKX_TESTNET", text)
    assert settings.flag("OKX_TESTNET") is bool(on)


def test_a_flag_that_is_neither_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKX_TESTNET", "2")
    with refused("OKX_TESTNET must be 1 or 0, not '2'"):
        settings.flag("OKX_TESTNET")


# -- folders and files


def test_home_is_made_private(home: Path) -> None:
    assert settings.home() == home
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("where", ["/proc/nowhere/at/all", "~nobody-of-that-name/x"])
def test_a_home_that_cannot_be_made_is_refused(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_HOME", where)
    with refused(f"EXECUTION_HOME {where} cannot be made"):
        settings.home()


def test_a_home_that_is_a_file_is_refused(home: Path) -> None:
    home.write_text("")
    with refused("cannot be made: File exists"):
        settings.home()


@pytest.mark.parametrize(
    ("text", "path"),
    [("sqlite:////var/a.db", "/var/a.db"), ("sqlite:///a.db", "a.db"), ("b.db", "b.db"), (":memory:", ":memory:"),
     ("sqlite:///:memory:", ":memory:"), (" c.db ", "c.db")],
)  # fmt: skip
def test_a_database_is_a_path_or_a_url(text: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_STORE", text)
    assert settings.database("EXECUTION_STORE", "x.db") == path


def test_a_database_is_at_home_by_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.database("EXECUTION_STORE", "x.db") == str(home / "x.db")
    monkeypatch.setenv("EXECUTION_STORE", "~/y.db")
    assert settings.database("EXECUTION_STORE", "x.db") == str(Path.home() / "y.db")


@pytest.mark.parametrize("text", ["postgres://host/db", "mysql://x", "~nobody-of-that-name/x.db"])
def test_another_kind_of_database_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_STORE", text)
    with refused("EXECUTION_STORE must be a path or sqlite:///path"):
        settings.database("EXECUTION_STORE", "x.db")
