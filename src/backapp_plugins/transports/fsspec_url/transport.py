"""Objects as files on any `Disk`: written under a temporary name, then renamed.

Temporary names begin with ``.backapp-``. Nobody can tell from afar whether their writer lives, so
`DiskTransport.tidy` takes them for abandoned when nothing was written to them for a day.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator

from typing_extensions import override

from backapp_core.plugin_api import (
    Body,
    InvalidName,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    Surroundings,
    TransferCut,
    Transport,
    TransportError,
    TransportUnavailable,
    check_object_name,
    check_object_prefix,
)
from backapp_plugins.transports.fsspec_url.disk import Disk, Draft, Found

_TEMPORARY_PREFIX = ".backapp-"
_GATHER_BYTES = 4 << 20
_ABANDONED_SECONDS = 86_400.0

_numbers = itertools.count()  # two writers of this process never choose the same name


class DiskTransport(Transport):
    """The files below the folder of one disk."""

    def __init__(self, disk: Disk, surroundings: Surroundings) -> None:
        """Take over ``disk``; `close` closes it."""
        self._disk = disk
        self._random_bytes = surroundings.random_bytes
        self._clock = surroundings.clock
        line = surroundings.line
        disk.chunk_bytes = min(disk.chunk_bytes, line.download.piece_bytes)
        self._gather_bytes = min(_GATHER_BYTES, line.upload.piece_bytes)

    @property
    @override
    def address(self) -> str:
        return self._disk.address

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        check_object_name(name)
        if not replace and self._exists(name):
            raise ObjectExists(f"object '{name}' exists already")
        folder, slash, _ = name.rpartition("/")
        tag = f"{os.getpid()}-{next(_numbers)}-{self._random_bytes(8).hex()}"
        temporary = f"{folder}{slash}{_TEMPORARY_PREFIX}{tag}"
        try:
            with self._draft(temporary) as draft:
                stored_bytes = _write(
                    name, draft, body, size_bytes, gather_bytes=self._gather_bytes
                )
                draft.finish()
            self._disk.publish(temporary, name, replace=replace)
        except BaseException:
            # What is under way tells more than that the connection is broken; `tidy` comes later.
            with contextlib.suppress(TransportError):
                self._disk.remove(temporary)
            raise
        return stored_bytes

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        chunks = self._disk.chunks(check_object_name(name), offset, length_bytes)
        next(chunks)  # opens; from here on closing or dropping the generator lets go
        return chunks

    @override
    def stat(self, name: str) -> ObjectInfo:
        found = self._disk.stat(check_object_name(name))
        if not found.is_file:
            raise ObjectMissing(f"object '{name}' does not exist; something else has its name")
        return ObjectInfo(name, found.size_bytes, found.modified_at)

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        top = check_object_prefix(prefix).removesuffix("/")
        return (
            ObjectInfo(found.path, found.size_bytes, found.modified_at)
            for found in self._walk(top)
            if found.is_file and _is_object_name(found.path)
        )

    @override
    def delete(self, name: str) -> None:
        check_object_name(name)
        with contextlib.suppress(ObjectMissing):
            if self._disk.stat(name).is_file:
                self._disk.remove(name)

    @override
    def prepare(self) -> None:
        self._disk.make_root()

    @override
    def close(self) -> None:
        self._disk.close()

    def tidy(self, *, older_than_seconds: float) -> int:
        """Remove temporary files that were not written to for a day at least; return how many."""
        limit = max(older_than_seconds, _ABANDONED_SECONDS)
        now = self._clock.now()
        removed = 0
        for found in self._walk(""):
            if not found.path.rpartition("/")[2].startswith(_TEMPORARY_PREFIX):
                continue
            modified_at = found.modified_at
            if modified_at is None or (now - modified_at).total_seconds() < limit:
                continue
            with contextlib.suppress(ObjectMissing):
                self._disk.remove(found.path)
                removed += 1
        return removed

    def _exists(self, name: str) -> bool:
        try:
            self._disk.stat(name)
        except ObjectMissing:
            return False
        return True

    def _draft(self, temporary: str) -> Draft:
        """Begin a file, making the folders above it only when they are found missing.

        Raises:
            TransportUnavailable: If the folder that holds everything is gone.
        """
        try:
            return self._disk.draft(temporary)
        except ObjectMissing:
            pass
        try:
            self._disk.stat("")
            folder = ""
            for part in temporary.split("/")[:-1]:
                folder = f"{folder}/{part}" if folder else part
                self._disk.make_folder(folder)
            return self._disk.draft(temporary)
        except ObjectMissing as error:
            raise TransportUnavailable(f"'{self.address}' is gone or was not made ready") from error

    def _walk(self, top: str) -> Iterator[Found]:
        waiting = [top]
        while waiting:
            try:
                entries = self._disk.entries(waiting.pop())
            except ObjectMissing:
                continue
            waiting.extend(
                found.path for found in entries if found.is_folder and _is_object_name(found.path)
            )
            yield from entries


def _write(
    name: str, draft: Draft, body: Body, size_bytes: int | None, *, gather_bytes: int
) -> int:
    """Write ``body``, small chunks gathered, and return its size.

    Raises:
        TransferCut: If it does not have ``size_bytes`` bytes.
    """
    done = 0
    gathered = bytearray()
    for chunk in body:
        done += len(chunk)
        if size_bytes is not None and done > size_bytes:
            raise TransferCut(f"object '{name}' was to have {size_bytes} bytes but more came")
        gathered += chunk
        if len(gathered) >= gather_bytes:
            draft.write(gathered)
            gathered.clear()
    if size_bytes is not None and done != size_bytes:
        raise TransferCut(f"object '{name}' was to have {size_bytes} bytes but {done} came")
    if gathered:
        draft.write(gathered)
    return done


def _is_object_name(name: str) -> bool:
    try:
        check_object_name(name)
    except InvalidName:
        return False
    return True
