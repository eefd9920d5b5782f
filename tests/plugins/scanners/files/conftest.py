"""What the tests of the `files` scanner share."""

import os
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from backapp_core.events import Recording
from backapp_core.model.entries import Entry
from backapp_core.ports.scanners import Scanner
from backapp_core.ports.surroundings import Surroundings
from backapp_plugins.scanners.files import FilesSettings, open_files


@frozen
class Source:
    """A folder to scan, and ways to look at what the scanner says of it."""

    top: bytes
    surroundings: Surroundings
    events: Recording = field(factory=Recording)

    def scanner(self, **settings: Any) -> Scanner:
        return open_files(FilesSettings(**{"roots": (self.top,), **settings}), self.surroundings)

    def paths(self, **settings: Any) -> set[bytes]:
        """Scan, and return every path below the top, relative to it; directories end in a slash."""
        return set(self.entries(**settings))

    def entries(self, **settings: Any) -> dict[bytes, Entry]:
        self.events.events.clear()
        seen: dict[bytes, Entry] = {}
        for found in self.scanner(**settings).scan():
            with found:
                if not (found.path + b"/").startswith(self.top + b"/"):
                    continue
                folder = (found.path + b"/").removeprefix(self.top + b"/")
                assert folder not in seen
                seen[folder] = found.entry
                for entry in found.entries:
                    assert folder + entry.name not in seen
                    seen[folder + entry.name] = entry
        del seen[b""]
        return seen


@pytest.fixture
def source(tmp_path: Path) -> Source:
    events = Recording()
    top = os.fsencode(tmp_path) + b"/top"
    os.mkdir(top)
    surroundings = Surroundings(tmp_path / "cache", tmp_path / "state", events=events)
    return Source(top, surroundings, events)
