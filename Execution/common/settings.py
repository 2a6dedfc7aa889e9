"""Settings: environment variables, then execution.toml, then defaults; validated at first use; secrets never print.

`execution.toml` is looked for at EXECUTION_CONFIG, in the working directory, then in EXECUTION_HOME. Its tables
join with underscores: `[okx.alpha] api_key = "..."` is OKX_ALPHA_API_KEY. One that holds secrets must be 0600.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from Execution.common import log
from Execution.common.errors import Refused

DEFAULTS: dict[str, str] = {
    "EXECUTION_HOME": "~/.execution",
    "EXECUTION_STORE": "",
    "EXECUTION_DURABILITY": "NORMAL",
    "EXECUTION_STORE_TIMEOUT": "5",
    "EXECUTION_LOG_LEVEL": "WARNING",
    "EXECUTION_CONNECT_TIMEOUT": "3",
    "EXECUTION_READ_TIMEOUT": "10",
    "EXECUTION_PROXY": "",
    "EXECUTION_CA_FILE": "",
    "PAPER_STORE": "",
    "PAPER_SOURCE": "random",
    "PAPER_SEED": "1",
    "PAPER_BALANCES": "USDT=100000",
    "PAPER_POSITION_MODE": "net",
    "PAPER_LEVERAGE": "10",
    "PAPER_MAKER_FEE": "0.0002",
    "PAPER_TAKER_FEE": "0.0005",
    "PAPER_ORDER_DELAY": "0",
    "PAPER_CANCEL_DELAY": "0",
    "PAPER_FUNDING_RATE": "0.0001",
    "PAPER_FUNDING_INTERVAL": "28800",
    "RISK_MAX_POSITION_SIZE": "0.1",
    "RISK_MAX_LOSS_RATIO": "0.05",
    "RISK_MAX_ORDER_NOTIONAL": "",
    "RISK_MAX_SYMBOL_NOTIONAL": "",
    "RISK_MAX_OPEN_ORDERS": "",
    "RISK_MAX_ORDERS_PER_MINUTE": "",
    "RISK_MAX_ORDERS_PER_DAY": "",
    "RISK_MAX_DAILY_LOSS": "",
    "RISK_MAX_LEVERAGE": "",
    "RISK_ALLOWED_SYMBOLS": "",
    "RISK_PRICE_COLLAR": "0.05",
    "RISK_WARNING_MARGIN_RATIO": "0.5",
    "RISK_DANGER_MARGIN_RATIO": "0.8",
    "RISK_WARNING_DRAWDOWN": "0.025",
    "RISK_DANGER_DRAWDOWN": "0.05",
    "RISK_WARNING_UNREALIZED_LOSS": "0.025",
    "RISK_DANGER_UNREALIZED_LOSS": "0.05",
    "RISK_MARK_MAX_AGE": "1",
    "RISK_ACCOUNT_MAX_AGE": "5",
}
_SECRET_WORDS = ("SECRET", "PASSPHRASE", "PRIVATE_KEY", "MNEMONIC", "API_KEY", "PASSWORD", "TOKEN")
_CREDENTIALS = ("API_KEY", "API_SECRET", "MNEMONIC", "PASSPHRASE", "PRIVATE_KEY")
_OWNERS = ("ACCOUNT_ADDRESS", "ADDRESS", "SUBACCOUNT")
_OTHER_PREFIXES = {"serum": ("SOLANA",)}

account: ContextVar[str] = ContextVar("account", default="")
"""The account (the part after the colon in "okx:alpha") that venue calls are made for."""


@contextmanager
def using_account(name: str) -> Iterator[None]:
    """Make venue calls inside the block for this account."""
    token = account.set(name)
    try:
        yield
    finally:
        account.reset(token)


def is_secret(name: str) -> bool:
    """Tell whether a setting's value must never be shown."""
    return any(word in name for word in _SECRET_WORDS)


def get(name: str, default: str | None = None) -> str:
    """Answer a setting as text; "" where it is not set and has no default."""
    value = os.environ.get(name)
    if value is None:
        value = _file_values().get(name)
    if value is None:
        value = DEFAULTS.get(name, "") if default is None else default
    if value and is_secret(name):
        log.hide(value)
    return value


def for_account(venue: str, name: str) -> str:
    """Answer a venue's setting for the account in force: OKX_ALPHA_API_KEY for okx:alpha, else OKX_API_KEY.

    A named account never falls back to the credentials or the address of the default one; other settings do.
    """
    alias = account.get()
    plain = f"{venue.upper()}_{name}"
    if not alias:
        return get(plain)
    value = get(f"{venue.upper()}_{alias.upper()}_{name}")
    return value or ("" if is_secret(name) or name in _OWNERS else get(plain))


def accounts(venue: str) -> list[str]:
    """Answer the accounts of a venue that have credentials, sorted; "" is the one without a name."""
    found = set()
    for prefix in (venue.upper(), *_OTHER_PREFIXES.get(venue, ())):
        pattern = re.compile(rf"{prefix}_(?:(\w+)_)?(?:{'|'.join(_CREDENTIALS)})")
        for name in given():
            if (match := pattern.fullmatch(name)) and get(name):
                found.add((match[1] or "").lower())
    return sorted(found)


def number(name: str, *, least: float | None = 0.0, value: str | None = None) -> float:
    """Answer a setting as a number.

    Raises:
        Refused: CONFIGURATION, naming the setting and the value.
    """
    text = get(name) if value is None else value
    try:
        result = float(text)
    except ValueError:
        raise Refused("CONFIGURATION", f"{name} must be a number, not {text!r:.60}") from None
    if result != result or abs(result) == float("inf") or (least is not None and result < least):
        raise Refused("CONFIGURATION", f"{name} must be a finite number of at least {least}, not {text!r:.60}")
    return result


def choice(name: str, allowed: tuple[str, ...], *, value: str | None = None) -> str:
    """Answer a setting that must be one of a few words, in the spelling of `allowed`."""
    text = (get(name) if value is None else value).strip()
    for word in allowed:
        if word.lower() == text.lower():
            return word
    raise Refused("CONFIGURATION", f"{name} must be one of {', '.join(allowed)}, not {text!r:.60}")


def flag(name: str) -> bool:
    """Answer a setting that is on or off."""
    text = get(name).strip().lower()
    if text in ("", "0", "false", "no", "off"):
        return False
    if text in ("1", "true", "yes", "on"):
        return True
    raise Refused("CONFIGURATION", f"{name} must be 1 or 0, not {text!r:.60}")


def home() -> Path:
    """Answer the folder of the package's files, made with mode 0700 where it is missing."""
    path = Path(get("EXECUTION_HOME"))
    try:
        path = path.expanduser()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise Refused("CONFIGURATION", f"EXECUTION_HOME {path} cannot be made: {words}") from None
    return path


def database(name: str, filename: str) -> str:
    """Answer the path of a SQLite file from a setting such as sqlite:///path, by default in the home folder.

    ":memory:" stays as it is.
    """
    text = get(name).strip()
    if not text:
        return str(home() / filename)
    path = text.removeprefix("sqlite:///") if text.startswith("sqlite:///") else text
    try:
        if "://" not in path:
            return path if path == ":memory:" else str(Path(path).expanduser())
    except RuntimeError:
        pass
    raise Refused("CONFIGURATION", f"{name} must be a path or sqlite:///path, not {text!r:.80}")


def given() -> set[str]:
    """Answer the names of everything that is set, in the environment and in execution.toml."""
    return {*os.environ, *_file_values()}


def forget() -> None:
    """Read execution.toml anew at the next use."""
    _file_values.cache_clear()


def config_path() -> Path | None:
    """Answer the settings file in force, if there is one."""
    named = os.environ.get("EXECUTION_CONFIG")
    home_folder = os.environ.get("EXECUTION_HOME") or DEFAULTS["EXECUTION_HOME"]
    for path in [named] if named else ["execution.toml", f"{home_folder}/execution.toml"]:
        expanded = Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises for a user nobody knows
        try:
            if expanded.is_file():
                return expanded
        except OSError as error:
            raise Refused("CONFIGURATION", f"{expanded} cannot be read: {error.strerror}") from None
    if named:
        raise Refused("CONFIGURATION", f"EXECUTION_CONFIG names {named}, which is not a file")
    return None


@cache
def _file_values() -> dict[str, str]:
    path = config_path()
    if path is None:
        return {}
    import tomllib

    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused("CONFIGURATION", f"{path} cannot be read: {error}") from None
    values = dict(_flatten("", tables))
    if any(is_secret(name) for name in values) and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused("CONFIGURATION", f"{path} holds secrets and can be read by others: chmod 600 {path}")
    if "EXECUTION_LOG_LEVEL" not in os.environ and values.get("EXECUTION_LOG_LEVEL", "").upper() in log.LEVELS:
        log.set_level(values["EXECUTION_LOG_LEVEL"])
    return values


def _flatten(prefix: str, table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        key = f"{prefix}{name}".upper()
        if isinstance(value, dict):
            yield from _flatten(f"{key}_", value)
        elif isinstance(value, bool):
            yield key, str(int(value))
        elif isinstance(value, list):
            yield key, ",".join(str(item) for item in value)
        else:
            yield key, str(value)
