"""One module for each venue: its SDK joined to our transport, clock and settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sdk_import() -> Iterator[None]:
    """Import an SDK without its authors' warnings: Python warns of their old spellings, on the user's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
