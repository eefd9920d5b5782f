"""Remembers which archives this machine found damaged, so that no backup builds on them."""

import os
import tempfile
from collections.abc import Set
from pathlib import Path
from typing import final

import msgspec

from backapp_core.plugin_api import Level, LogLine, Surroundings


@final
class DamageNotes:
    """Names of damaged archives of one repository, in the state folder.

    A lost note costs nothing but the warning: an increment may then refer to a damaged archive, as
    it would have without notes.
    """

    def __init__(self, surroundings: Surroundings, repository_id: str) -> None:
        self._path = surroundings.state_folder / "targz" / f"damaged-{repository_id}.json"
        self._events = surroundings.events

    def known(self) -> frozenset[str]:
        """Return the names of the archives that were found damaged."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=frozenset[str])
        except FileNotFoundError:
            return frozenset()
        except (OSError, msgspec.MsgspecError, UnicodeError) as error:
            self._warn(f"what is remembered of damage in {self._path} cannot be read: {error}")
            return frozenset()

    def update(self, *, damaged: Set[str], whole: Set[str] = frozenset()) -> None:
        """Add what was found ``damaged`` and strike out what turned out to be ``whole``."""
        before = self.known()
        after = (before - whole) | damaged
        if after == before:
            return
        temporary = ""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(sorted(after)))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            self._warn(f"damage cannot be remembered in {self._path.parent}: {error.strerror}")

    def _warn(self, text: str) -> None:
        self._events(LogLine(Level.WARNING, text))
