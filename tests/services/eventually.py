"""Waits for what another thread or process brings about."""

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_PAUSE_SECONDS = 0.02


def eventually(claim: Callable[[], _T], *, within_seconds: float = 60) -> _T:
    """Wait until ``claim()`` is true, and return what it returned."""
    ticking = threading.Event()
    for _ in range(int(within_seconds / _PAUSE_SECONDS)):
        if found := claim():
            return found
        ticking.wait(_PAUSE_SECONDS)
    raise AssertionError(f"this never became true: {claim}")
