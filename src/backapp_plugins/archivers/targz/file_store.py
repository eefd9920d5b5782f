"""Puts the content of one file into the archive, or finds that an older archive has it already."""

from collections.abc import Iterator
from hashlib import sha256
from typing import final

from attrs import define

from backapp_core.plugin_api import Entry, EntryKind, Extent, OpenedFile, SourceError, Surroundings
from backapp_plugins.archivers.targz import tar_headers
from backapp_plugins.archivers.targz.archive_writer import ArchiveWriter
from backapp_plugins.archivers.targz.manifest import EntryLine

_WHOLE_BYTES = 1 << 20
"""Files up to this size are read before their header is written, which tells what was there."""
_CHUNK_BYTES = 1 << 20
_MOST_EXTENTS = 1_000_000
_Xattrs = tuple[tuple[bytes, bytes], ...]


@define
class Tally:
    """Counters of a running backup; the model's `Counts` once it is done."""

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    directories: int = 0
    others: int = 0
    problems: int = 0
    processed_bytes: int = 0
    read_bytes: int = 0
    streamed_bytes: int = 0
    """Read so far of the large file that is being stored; for progress only."""


@final
class FileStore:
    """The way of file content into one archive; used by one thread."""

    def __init__(
        self,
        surroundings: Surroundings,
        archive: ArchiveWriter,
        *,
        archive_number: int,
        tally: Tally,
    ) -> None:
        self._cancel = surroundings.cancel
        self._archive = archive
        self._archive_number = archive_number
        self._tally = tally

    def store(
        self, file: OpenedFile, path: bytes, line: EntryLine, old: EntryLine | None, xattrs: _Xattrs
    ) -> Iterator[None]:
        """Store a file's content and say in ``line`` where it is; yields now and then for progress.

        Args:
            file: What to read.
            path: Its absolute path.
            line: Gets size, hash, place and extents of what was read.
            old: The entry in the parent snapshot, if there was one.
            xattrs: What the header says besides.

        Raises:
            SourceError: If the file cannot be read to its end; the archive stays sound.
        """
        found = file.extents()
        # A line of the manifest has room for so many; holes of so torn a file compress well.
        extents = tuple(found) if found is not None and len(found) <= _MOST_EXTENTS else None
        if extents is None and file.entry.size_bytes <= _WHOLE_BYTES:
            self._whole(file, path, line, old, xattrs)
        elif not self._is_same_content(file, extents, line, old):
            yield from self._stream(file, path, line, extents, xattrs)

    def _whole(
        self, file: OpenedFile, path: bytes, line: EntryLine, old: EntryLine | None, xattrs: _Xattrs
    ) -> None:
        size = file.entry.size_bytes
        data = file.read_at(0, size) if size else b""
        self._tally.read_bytes += len(data)
        line.size = len(data)
        line.sha256 = sha256(data).hexdigest()
        if (
            old is not None
            and old.extents is None
            and (old.sha256, old.size) == (line.sha256, line.size)
        ):
            line.at = old.at
            return
        self._archive.write(_header(path, file.entry, line, xattrs, stored_bytes=len(data)))
        if data:
            line.at = (self._archive_number, self._archive.position)
            self._archive.write(data)
            self._archive.write(tar_headers.padding(len(data)))

    def _is_same_content(
        self,
        file: OpenedFile,
        extents: tuple[Extent, ...] | None,
        line: EntryLine,
        old: EntryLine | None,
    ) -> bool:
        """Read a file of unchanged size without storing it: often only its times changed."""
        size = file.entry.size_bytes
        if old is None or not old.sha256 or old.size != size or old.extents != extents:
            return False
        hasher = sha256()
        for offset, length in _chunks(extents, size):
            self._cancel.check()
            data = file.read_at(offset, length)
            self._tally.read_bytes += len(data)
            if len(data) != length:
                return False
            hasher.update(data)
        if hasher.hexdigest() != old.sha256:
            return False
        line.sha256, line.at, line.extents, line.size = old.sha256, old.at, old.extents, size
        return True

    def _stream(
        self,
        file: OpenedFile,
        path: bytes,
        line: EntryLine,
        extents: tuple[Extent, ...] | None,
        xattrs: _Xattrs,
    ) -> Iterator[None]:
        size = file.entry.size_bytes
        stored = sum(length for _, length in _chunks(extents, size))
        sparse_map = tar_headers.sparse_map(extents, size) if extents is not None else b""
        archive = self._archive
        archive.write(
            _header(
                path,
                file.entry,
                line,
                xattrs,
                stored_bytes=len(sparse_map) + stored,
                sparse_bytes=size if extents is not None else None,
            )
        )
        archive.write(sparse_map)
        start = archive.position
        if stored:
            line.at = (self._archive_number, start)
        line.extents, line.size = extents, size
        yield from self._copy(file, line, extents)
        # The header has promised so many bytes; zeros stand in for what the file no longer had.
        missing = start + stored - archive.position
        while missing > 0:
            archive.write(bytes(min(missing, _CHUNK_BYTES)))
            missing -= _CHUNK_BYTES
        archive.write(tar_headers.padding(len(sparse_map) + stored))
        self._tally.streamed_bytes = 0
        if self._failure is not None:
            raise self._failure

    def _copy(
        self, file: OpenedFile, line: EntryLine, extents: tuple[Extent, ...] | None
    ) -> Iterator[None]:
        self._failure: SourceError | None = None
        hasher = sha256()
        for offset, length in _chunks(extents, line.size):
            self._cancel.check()
            try:
                data = file.read_at(offset, length)
            except SourceError as error:
                self._failure = error
                return
            self._tally.read_bytes += len(data)
            self._tally.streamed_bytes += len(data)
            hasher.update(data)
            self._archive.write(data)
            if len(data) < length:
                # It was cut under our hands: what was read until then is what is kept.
                line.size = offset + len(data)
                if extents is not None:
                    line.extents = _clipped(extents, line.size)
                break
            yield
        line.sha256 = hasher.hexdigest()


def _header(
    path: bytes,
    entry: Entry,
    line: EntryLine,
    xattrs: _Xattrs,
    *,
    stored_bytes: int,
    sparse_bytes: int | None = None,
) -> bytes:
    return tar_headers.header(
        path,
        entry,
        kind=EntryKind.FILE,
        stored_bytes=stored_bytes,
        user=line.user,
        group=line.group,
        xattrs=xattrs,
        sparse_bytes=sparse_bytes,
    )


def _chunks(extents: tuple[Extent, ...] | None, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the pieces in which a file's data are read."""
    for start, length in extents if extents is not None else (Extent(0, size_bytes),):
        for offset in range(start, start + length, _CHUNK_BYTES):
            yield offset, min(_CHUNK_BYTES, start + length - offset)


def _clipped(extents: tuple[Extent, ...], size: int) -> tuple[Extent, ...]:
    return tuple(
        Extent(extent.offset, min(extent.length_bytes, size - extent.offset))
        for extent in extents
        if extent.offset < size
    )
