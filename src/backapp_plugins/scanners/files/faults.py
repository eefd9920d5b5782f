"""Words for what the system refuses."""

import errno
import os

from backapp_core.plugin_api import (
    EntryReplaced,
    EntryUnreadable,
    EntryVanished,
    SourceError,
    to_text,
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


def source_error(error: OSError, path: bytes) -> SourceError:
    """Return the error of ours for what the system said about ``path``."""
    said = reason(error)
    return _CLASSES.get(said, EntryUnreadable)(f"'{to_text(path)}': {said}")


def replaced(path: bytes) -> EntryReplaced:
    """Return the error for something that has taken the place of ``path``."""
    return EntryReplaced(f"'{to_text(path)}': {REPLACED}")
