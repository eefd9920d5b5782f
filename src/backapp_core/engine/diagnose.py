"""Looks for whatever would stand in the way of a backup or a restore."""

from enum import StrEnum
from pathlib import Path

from attrs import frozen

from backapp_core.manager import PluginManager
from backapp_core.model.requests import BackupRequest
from backapp_core.ports.surroundings import Keys, Surroundings


class Verdict(StrEnum):
    """What came of one look."""

    FINE = "fine"
    NOTE = "note"
    """Works, but not everything will be kept or used."""
    PROBLEM = "problem"


@frozen
class Diagnosis:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    message: str
    """One sentence without a full stop."""

    @property
    def is_fine(self) -> bool:
        """Whether nothing needs doing."""
        return self.verdict is not Verdict.PROBLEM


def diagnose(
    plugins: PluginManager,
    surroundings: Surroundings,
    address: str,
    request: BackupRequest,
    *,
    target: Path | None,
    keys: Keys,
    probes_writing: bool,
) -> list[Diagnosis]:
    """Look at folders, sources and repository, in this order; what cannot be done is a finding and not raised."""
    del plugins, surroundings, address, request, target, keys, probes_writing
    return []
