"""Files of the cache: written whole or not at all; what a killed writer left goes after a day."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_STALE_SECONDS = 86_400
"""A draft so much older than another was left behind by a process that was killed."""


def write_kept(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Put ``pieces`` and a SHA-256 of them in the place of whatever stood there.

    Another process sees the old file or the new one; whoever mapped the old one keeps it.

    Raises:
        OSError: If it cannot be written; what stood there is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            hasher = sha256()
            for piece in pieces:
                hasher.update(piece)
                file.write(piece)
            file.write(hasher.digest())
        _remove_stale_drafts(path.parent, draft.stat().st_mtime)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _remove_stale_drafts(folder: Path, now: float) -> None:
    for draft in folder.glob(".new-*"):
        with suppress(FileNotFoundError):  # it was not stale: its writer was faster
            if draft.stat().st_mtime < now - _STALE_SECONDS:
                draft.unlink()
