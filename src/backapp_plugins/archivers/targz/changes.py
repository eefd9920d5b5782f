"""Notices whether anything differs from the parent snapshot, in the roots and below them."""

from collections.abc import Sequence
from typing import final

from backapp_core.plugin_api import is_below
from backapp_plugins.archivers.targz.comparing import is_as_before, is_head_as_before
from backapp_plugins.archivers.targz.manifest import DirLine, EntryLine
from backapp_plugins.archivers.targz.parent import OldDirectory, ParentWalk


@final
class Changes:
    """Is told of every directory and entry in scan order; used by one thread."""

    def __init__(self, roots: Sequence[bytes]) -> None:
        """Prepare for a scan of ``roots``."""
        self._roots = roots
        self.has_any = False
        """Whether something was added, changed or removed, as far as the scan has come."""

    def is_above(self, path: bytes) -> bool:
        """Say whether a directory is there only for the roots that it leads to."""
        return any(is_below(root, path) for root in self._roots)

    def see_directory(self, path: bytes, old: OldDirectory | None, head: DirLine) -> None:
        """Compare a directory itself."""
        is_same = old is not None and (self.is_above(path) or is_head_as_before(old.head, head))
        self.has_any = self.has_any or not is_same

    def see(self, old: EntryLine | None, line: EntryLine | None) -> None:
        """Compare an entry; None for what is not there, or could not be read."""
        if not self.has_any and old is not line:
            self.has_any = old is None or line is None or not is_as_before(old, line)

    def leave(self, old: OldDirectory | ParentWalk | None) -> None:
        """Compare what there was and what was seen, when the last of it was."""
        self.has_any = self.has_any or (old is not None and old.has_missed())
