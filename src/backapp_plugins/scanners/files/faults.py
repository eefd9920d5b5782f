"""Words for what the system refuses."""

import errno
import os

from backapp_core.plugin_api import (
    EntryReplaced,
    EntryUnreadable,
    EntryVanished,
    SourceError,
)

VANISHED = "vanished while it was read"
REPLACED = "was replaced by something of another type while it was read"

_REASONS = {
    errno.ENOENT: VANISHED,
    errno.ESTALE: VANISHED,
    errno.ENOTDIR: REPLACED,
    errno.ELOOP: REPLACED,
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the medium failed (input/output error)",
}
_CLASSES: dict[str, type[SourceError]] = {VANISHED: EntryVanished, REPLACED: EntryReplaced}


def reason(error: OSError) -> str:
    """Return a short sentence for what the system said."""
    known = _REASONS.get(error.errno or 0)
    if known is None:
        text = os.strerror(error.errno) if error.errno else str(error)
        known = text[:1].lower() + text[1:]
    return known


def source_error(error: OSError) -> SourceError:
    """Return the error of ours for what the system said about an entry."""
    said = reason(error)
    return _CLASSES.get(said, EntryUnreadable)(said)


def replaced() -> EntryReplaced:
    """Return the error for something that has taken the place of an entry."""
    return EntryReplaced(REPLACED)
