"""Looks whether everything that is to be backed up can be read."""

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import define, evolve, field

from backapp_core.engine.backup import absolute_roots, open_scanner
from backapp_core.errors import BackappError, RunCancelled, SourceError
from backapp_core.events import Event, Problem
from backapp_core.manager import PluginManager
from backapp_core.model.diagnoses import Diagnosis, Verdict
from backapp_core.model.entries import EntryKind, child_path
from backapp_core.model.names import to_text
from backapp_core.model.requests import BackupRequest
from backapp_core.ports.scanners import FoundDirectory
from backapp_core.ports.surroundings import Surroundings

_OPENED_AT_MOST = 20_000
_SHOWN = 3


@define
class _Tally:
    """What a walk saw; also the sink that hears of what could not be listed."""

    entries: int = 0
    opened: int = 0
    unreadable: list[tuple[bytes, str]] = field(factory=list[tuple[bytes, str]])

    def __call__(self, event: Event) -> None:
        if isinstance(event, Problem):
            self.unreadable.append((event.path, event.reason))

    def look_at(self, found: FoundDirectory) -> None:
        """Count a directory's entries and open its files, as long as not too many were."""
        self.entries += 1 + len(found.entries)
        for entry in found.entries:
            if entry.kind is not EntryKind.FILE or self.opened >= _OPENED_AT_MOST:
                continue
            self.opened += 1
            try:
                found.open(entry).close()
            except SourceError as error:
                path = child_path(found.path, entry.name)
                self.unreadable.append((path, error.message))


def diagnose_sources(
    plugins: PluginManager,
    surroundings: Surroundings,
    request: BackupRequest,
    *,
    folder: Path | None,
) -> Iterator[Diagnosis]:
    """Walk every root by itself, list all of it and open the first 20,000 of its files.

    Raises:
        RunCancelled: If the run is asked to stop.
    """
    for root in request.roots:
        tally = _Tally()
        try:
            one = evolve(request, roots=absolute_roots((root,)))
            quiet = evolve(surroundings, events=tally)
            for found in open_scanner(plugins, quiet, one, folder=folder).scan():
                with found:
                    tally.look_at(found)
        except RunCancelled:
            raise
        except BackappError as error:
            yield Diagnosis(to_text(root), Verdict.PROBLEM, error.message)
            continue
        yield _verdict(to_text(root), tally)
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        yield Diagnosis(
            "rights",
            Verdict.NOTE,
            "this is not run by root, so files that only others may read are left out",
        )


def _verdict(root: str, tally: _Tally) -> Diagnosis:
    if not tally.unreadable:
        message = f"{tally.entries:,} entries can be listed, {tally.opened:,} files were opened"
        return Diagnosis(root, Verdict.FINE, message)
    shown = ", ".join(f"{to_text(path)} ({why})" for path, why in tally.unreadable[:_SHOWN])
    more = len(tally.unreadable) - _SHOWN
    message = (
        f"{len(tally.unreadable):,} of {tally.entries:,} entries cannot be read: {shown}"
        f"{f' and {more:,} more' if more > 0 else ''}"
    )
    return Diagnosis(root, Verdict.PROBLEM, message)
