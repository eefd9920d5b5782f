"""Packs of trees kept on this machine, so that a distant repository is asked for each only once.

A pack is kept as it is stored: sealed, and named by its hash. Whatever is wrong with the cache,
nothing is served from it and nothing else happens: it may be deleted, altered or full at any time.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import final

from backapp_core.plugin_api import ObjectMissing, TransferCut
from backapp_plugins.archivers.restic.format.layout import named_id, pack_name
from backapp_plugins.archivers.restic.index.table import Table
from backapp_plugins.archivers.restic.place import Place

_MOST_BYTES = 64 << 20
"""A larger pack is not kept; other programs make some of gigabytes."""
_FETCHED_AT_ONCE = 4
_READ_BYTES = 1 << 20
_ABANDONED_SECONDS = 86_400
"""No download takes so long."""


@final
class PackCache:
    """The folder ``packs`` of a repository's cache; used by one thread at a time."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._folder = place.cache_folder / "packs"
        self._verified: set[bytes] = set()
        self._refused: set[bytes] = set()

    def holds(self, pack_id: bytes) -> bool:
        """Whether `read` can serve a pack; its hash is computed when this is first asked."""
        if pack_id in self._verified:
            return True
        if pack_id not in self._refused and self._is_intact(pack_id):
            self._verified.add(pack_id)
            return True
        return False

    def read(self, pack_id: bytes, offset: int, length: int) -> bytes:
        """Return a part of a pack that is held; fewer bytes, or none, if it is gone since."""
        try:
            with self._path(pack_id).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), length, offset)
        except OSError:
            self._verified.discard(pack_id)
            return b""

    def fetch(self, pack_ids: Iterable[bytes]) -> None:
        """Bring packs here, a few at a time; those that cannot be kept are not asked for again.

        Raises:
            TransportError: If the destination fails.
            RunCancelled: If the run is asked to stop.
        """
        missing = [one for one in pack_ids if one not in self._refused and not self.holds(one)]
        if not missing:
            return
        with ThreadPoolExecutor(_FETCHED_AT_ONCE, "fetch") as pool:
            try:
                for pack_id, is_kept in zip(missing, pool.map(self._keep, missing), strict=True):
                    (self._verified if is_kept else self._refused).add(pack_id)
            finally:
                pool.shutdown(cancel_futures=True)

    def drop(self, pack_id: bytes) -> None:
        """Serve a pack no more, for what was read of it was wrong after all."""
        self._verified.discard(pack_id)
        self._refused.add(pack_id)
        _remove(self._path(pack_id))

    def keep_only(self, table: Table) -> None:
        """Remove the packs that the index does not know any more, and what a dead process left."""
        try:
            paths = list(self._folder.iterdir())
            now_seconds = self._place.surroundings.clock.now().timestamp()
            for path in paths:
                pack_id = named_id(path.name)
                if pack_id is not None:
                    is_useless = table.packs_of([pack_id])[0] < 0
                else:
                    is_useless = now_seconds - path.stat().st_mtime > _ABANDONED_SECONDS
                if is_useless:
                    _remove(path)
        except OSError:
            return

    def _keep(self, pack_id: bytes) -> bool:
        """Store a pack here under its name if it is what its name says; say whether it is."""
        self._place.surroundings.cancel.check()
        draft = self._folder / f".{pack_id.hex()}-{self._place.surroundings.random_bytes(8).hex()}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._download(pack_id, draft):
                _remove(draft)
                return False
            draft.replace(self._path(pack_id))
        except OSError:
            _remove(draft)
            return False
        except BaseException:
            _remove(draft)
            raise
        return True

    def _download(self, pack_id: bytes, draft: Path) -> bool:
        hasher, size_bytes = sha256(), 0
        try:
            with draft.open("xb") as file:
                for part in self._place.transport.get(pack_name(pack_id)):
                    hasher.update(part)
                    size_bytes += file.write(part)
                    if size_bytes > _MOST_BYTES:
                        return False
        except (ObjectMissing, TransferCut):
            return False  # whoever reads a blob of it finds out, too, and says what is lost
        return hasher.digest() == pack_id

    def _is_intact(self, pack_id: bytes) -> bool:
        hasher = sha256()
        try:
            with self._path(pack_id).open("rb") as file:
                while part := file.read(_READ_BYTES):
                    hasher.update(part)
        except OSError:
            return False
        return hasher.digest() == pack_id

    def _path(self, pack_id: bytes) -> Path:
        return self._folder / pack_id.hex()


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
