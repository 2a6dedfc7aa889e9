"""The paper accounts of this process, one for each name after the colon in "paper:alpha"."""

from __future__ import annotations

import threading

from Execution.common import settings, store
from Execution.simulation.paper_account import PaperAccount

_accounts: dict[str, PaperAccount] = {}
_making = threading.Lock()


def current() -> PaperAccount:
    """Answer the paper account that calls are made for (`settings.account`), made at its first use."""
    alias = settings.account.get()
    return _accounts.get(alias) or _make(alias)


def remark_of_current() -> str:
    """Answer what is to be said about the prices, "" where no account could be made yet."""
    account = _accounts.get(settings.account.get())
    return account.source.remark if account else ""


def _make(alias: str) -> PaperAccount:
    with _making:
        if alias not in _accounts:
            _accounts[alias] = PaperAccount(alias)
        return _accounts[alias]


def forget() -> None:
    """Close every account; the next call reads the settings anew."""
    with _making:
        for account in _accounts.values():
            account.close()
        _accounts.clear()


def _forked() -> None:
    global _making
    _making = threading.Lock()
    for account in _accounts.values():
        account.forget()


store.on_fork(_forked)
