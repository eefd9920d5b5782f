"""Gathers what a check finds, of each sort no more than anybody reads."""

from collections import Counter
from collections.abc import Sequence
from typing import final

from backapp_core.plugin_api import Finding, Severity

_MOST_ALIKE = 1000


@final
class Findings:
    """What was found so far; used by one thread at a time."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._alike: Counter[tuple[Severity, str]] = Counter()

    def error(
        self,
        name: str,
        message: str,
        *,
        sort: str = "objects are damaged",
        snapshot_ids: Sequence[str] = (),
        paths: Sequence[bytes] = (),
    ) -> None:
        """Add damage.

        Args:
            name: The object that is concerned, empty for the repository as a whole.
            message: What is wrong with it.
            sort: Completes "and N more …" where there are too many.
            snapshot_ids: Snapshots that do not come back as they were.
            paths: What of them does not.
        """
        if self._is_listed(Severity.ERROR, sort):
            self._found.append(
                Finding(Severity.ERROR, name, message, tuple(snapshot_ids), tuple(paths))
            )

    def note(self, name: str, message: str, *, sort: str) -> None:
        """Add what is worth knowing."""
        if self._is_listed(Severity.NOTE, sort):
            self._found.append(Finding(Severity.NOTE, name, message))

    def all(self) -> tuple[Finding, ...]:
        """Return everything, and how much more there is of the sorts that were cut short."""
        more = (
            Finding(severity, "", f"{count - _MOST_ALIKE:,} more {sort}")
            for (severity, sort), count in self._alike.items()
            if count > _MOST_ALIKE
        )
        return (*self._found, *more)

    def _is_listed(self, severity: Severity, sort: str) -> bool:
        self._alike[severity, sort] += 1
        return self._alike[severity, sort] <= _MOST_ALIKE
