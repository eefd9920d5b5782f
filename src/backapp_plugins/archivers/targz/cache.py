"""Manifests that this machine wrote, kept for the next increment.

Disposable: a file that is lost, cut or altered is noticed by its hash and only costs a new full
backup, or a download where the repository is not encrypted. One file per snapshot line (host and
roots); the newest wins.
"""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, final

from backapp_core.plugin_api import Level, LogLine, Surroundings
from backapp_plugins.archivers.targz.layout import Record

_STALE_SECONDS = 86_400
"""A draft so much older than another was left behind by a process that was killed."""


@final
class ManifestCache:
    """The compressed, unsealed manifests of one repository."""

    def __init__(self, surroundings: Surroundings, repository_id: str) -> None:
        self._folder = surroundings.cache_folder / "targz" / repository_id
        self._events = surroundings.events

    def path_for(self, record: Record) -> Path:
        """Return where the manifest of ``record``'s line is kept."""
        line = "\0".join((record.hostname, *record.roots)).encode()
        return self._folder / f"{sha256(line).hexdigest()[:32]}.jsonl.gz"

    def find(self, record: Record, digest: str) -> IO[bytes] | None:
        """Open the kept manifest if it is exactly the one with this SHA-256."""
        try:
            file = self.path_for(record).open("rb")  # handed to the caller
        except OSError:
            return None
        hasher = sha256()
        try:
            # The very file that was hashed is handed over: another run may replace it meanwhile.
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
            file.seek(0)
        except OSError:
            file.close()
            return None
        if hasher.hexdigest() == digest:
            return file
        file.close()
        return None

    def keep(self, record: Record, chunks: Iterable[bytes]) -> None:
        """Keep a manifest; a cache that cannot be written is reported once and costs speed only."""
        path = self.path_for(record)
        temporary = ""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.writelines(chunks)
            self._remove_stale_drafts(Path(temporary).stat().st_mtime)
            os.replace(temporary, path)  # noqa: PTH105  # both are names that mkstemp and we made
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            self._events(
                LogLine(
                    Level.WARNING,
                    f"the local cache cannot be written, so the next backup takes longer: {error}",
                )
            )

    def _remove_stale_drafts(self, now: float) -> None:
        for draft in self._folder.glob(".new-*"):
            with suppress(FileNotFoundError):  # it was not stale: its writer was faster
                if draft.stat().st_mtime < now - _STALE_SECONDS:
                    draft.unlink()
