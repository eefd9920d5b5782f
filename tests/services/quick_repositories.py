"""Repositories in restic's format that cost a test no time beyond what it is about."""

import re

import pytest

from backapp_plugins.archivers.restic.access import holding, key_files

_ABOUT_LOCKS = re.compile(r"(?<![bc])lock")  # and not about blocks or clocks


@pytest.fixture
def cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys that are as safe as the password of a test has to be, in no time."""
    monkeypatch.setattr(key_files, "_COST", 16)


@pytest.fixture
def locks_are_seen_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no run wait for others to see its lock, where neither locks nor others are the matter."""
    is_about_locks = _ABOUT_LOCKS.search(request.node.nodeid)
    if not is_about_locks and not request.node.get_closest_marker("interop"):
        monkeypatch.setattr(holding, "_SETTLE_SECONDS", 0.0)
