"""Objects as files.

An object is written under a temporary name beside its final one, synchronised, given its final name
in one step that never replaces (unless asked to), and the directory is synchronised, before `put`
returns. The step is ``renameat2(RENAME_NOREPLACE)`` where the system and the file system have it,
else a hard link, else (neither; some network file systems) a look and a rename under a lock on the
directory, which excludes writers of the same machine only.

Temporary names begin with ``.backapp-``. Their writer holds a ``flock`` on the file for as long as
it lives, in whatever container; `FolderTransport.tidy` asks for that. Process ids would lie.

On disks that take ``A`` and ``a`` for one name so does this transport: the second writer gets
`ObjectExists`.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from typing_extensions import override

from backapp_core.plugin_api import (
    AccessRefused,
    Body,
    InvalidName,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    StorageFull,
    Surroundings,
    TransferCut,
    Transport,
    TransportUnavailable,
    check_object_name,
    check_object_prefix,
)
from backapp_plugins.transports.folder import files
from backapp_plugins.transports.folder.sinks import Sink

_CHUNK_BYTES = 1 << 20
"""Larger ones are read no faster, and several threads hold several at once."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_UNLOCKABLE_SECONDS = 86_400.0


class FolderTransport(Transport):
    """The files below one folder; holds nothing open between calls."""

    def __init__(self, folder: Path, surroundings: Surroundings) -> None:
        """Take ``folder`` (absolute) as it is, there or not."""
        self._folder = folder
        self._random_bytes = surroundings.random_bytes
        self._clock = surroundings.clock
        self._durable: set[Path] = set()  # folders whose own names are known to be on the disk

    @property
    @override
    def address(self) -> str:
        return str(self._folder)

    @property
    def folder(self) -> Path:
        """Absolute path of the folder that holds the objects."""
        return self._folder

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        final = self._path(name)
        if not replace and os.path.lexists(final):
            raise _taken(name)
        with self._draft(name) as draft:
            stored_bytes = self._write(name, draft.descriptor, body, size_bytes)
            with self._explained(name):
                try:
                    draft.publish(final, replace=replace)
                except (FileExistsError, IsADirectoryError):
                    raise _taken(name) from None
        return stored_bytes

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        path = self._path(name)
        with self._explained(name):
            descriptor = files.open_to_read(path)
        chunks = self._chunks(name, descriptor, offset, length_bytes)
        next(chunks)  # from here on closing or dropping the generator closes the file
        return chunks

    @override
    def stat(self, name: str) -> ObjectInfo:
        path = self._path(name)
        with self._explained(name):
            return _info(name, path.stat())

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        top = self._folder / check_object_prefix(prefix)
        return (
            info
            for folder, entries in self._folders(top)
            for info in self._objects(folder, entries)
        )

    @override
    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._explained(name), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                path.unlink()
            files.sync_directory(path.parent)

    @override
    def prepare(self) -> None:
        with self._explained(""):
            missing: list[Path] = []
            for folder in (self._folder, *self._folder.parents):
                if folder.is_dir():
                    break
                missing.append(folder)
            for folder in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                files.sync_directory(folder.parent)
            os.scandir(self._folder).close()

    @override
    def close(self) -> None:
        """Nothing is held."""

    def tidy(self, *, older_than_seconds: float) -> int:
        """Remove temporary files that are nobody's and older than this; return how many.

        Whoever writes a file holds a lock on it. On a file system without locks a file counts as
        abandoned when it was not written to for a day.
        """
        return sum(
            self._remove_abandoned(folder / entry.name, older_than_seconds)
            for folder, entries in self._folders(self._folder)
            for entry in entries
            if entry.name.startswith(files.TEMPORARY_PREFIX)
        )

    def _path(self, name: str) -> Path:
        return self._folder / check_object_name(name)

    @contextlib.contextmanager
    def _draft(self, name: str) -> Generator[files.Draft]:
        """Begin a draft beside the object ``name``; afterwards it is gone or has that name."""
        draft = files.Draft(self._path(name).parent, self._random_bytes)
        try:
            with self._explained(name):
                try:
                    self._begin(name, draft)
                except FileNotFoundError:
                    self._durable.clear()  # somebody removes empty folders
                    self._begin(name, draft)
            yield draft
        finally:
            draft.discard()

    def _begin(self, name: str, draft: files.Draft) -> None:
        """Make the folders above ``name`` and the draft.

        Raises:
            TransportUnavailable: If the folder that holds everything is gone.
            ObjectExists: If what should be a folder is an object.
        """
        if not self._folder.is_dir():
            raise TransportUnavailable(f"folder '{self._folder}' is gone; is its disk connected?")
        try:
            self._make_folders(name)
            draft.create()
        except NotADirectoryError:
            raise ObjectExists(f"object '{name}' would lie below another object") from None

    def _make_folders(self, name: str) -> None:
        """Make the folders above ``name``; see to it, once each, that their names are on the disk.

        What is there already may have been made a moment ago by a writer that did not get so far.
        """
        folder = self._folder
        for part in name.split("/")[:-1]:
            parent, folder = folder, folder / part
            if folder not in self._durable:
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                files.sync_directory(parent)
                self._durable.add(folder)

    def _write(self, name: str, descriptor: int, body: Body, size_bytes: int | None) -> int:
        """Write ``body`` and return its size.

        Raises:
            TransferCut: If it does not have ``size_bytes`` bytes.
        """
        with self._explained(name):
            sink = Sink(descriptor, expected_bytes=size_bytes)
        done = 0
        for chunk in body:
            done += len(chunk)
            if size_bytes is not None and done > size_bytes:
                raise TransferCut(f"object '{name}' was to have {size_bytes} bytes but more came")
            with self._explained(name):
                sink.write(chunk)
        if size_bytes is not None and done != size_bytes:
            raise TransferCut(f"object '{name}' was to have {size_bytes} bytes but {done} came")
        with self._explained(name):
            sink.flush()
        return done

    def _chunks(
        self, name: str, descriptor: int, offset: int, length_bytes: int | None
    ) -> Generator[bytes]:
        """Yield one empty chunk when all is well, then the content; closes ``descriptor``.

        Raises:
            TransferCut: If the file became shorter.
        """
        try:
            with self._explained(name):
                end = _info(name, os.fstat(descriptor)).size_bytes
                os.lseek(descriptor, offset, os.SEEK_SET)
            if length_bytes is not None:
                end = min(end, offset + length_bytes)
            yield b""
            while offset < end:
                with self._explained(name):
                    chunk = os.read(descriptor, min(_CHUNK_BYTES, end - offset))
                if not chunk:
                    raise TransferCut(f"object '{name}' became shorter while it was read")
                offset += len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    def _folders(self, top: Path) -> Iterator[tuple[Path, Sequence[os.DirEntry[str]]]]:
        """Yield every folder from ``top`` down; links to folders are followed, each folder once."""
        waiting = [top]
        seen: set[tuple[int, int]] = set()
        while waiting:
            folder = waiting.pop()
            with self._explained("", folder):
                try:
                    status = folder.stat()
                    with os.scandir(folder) as found:
                        entries = [*found]
                except (FileNotFoundError, NotADirectoryError):
                    continue
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                waiting.extend(folder / entry.name for entry in entries if _is_folder(entry))
            yield folder, entries

    def _objects(self, folder: Path, entries: Sequence[os.DirEntry[str]]) -> Iterator[ObjectInfo]:
        below = folder.relative_to(self._folder).as_posix()
        for entry in entries:
            try:
                name = check_object_name(entry.name if below == "." else f"{below}/{entry.name}")
                with self._explained(name):
                    info = _info(name, entry.stat())
            except (InvalidName, ObjectMissing):  # no object, or no longer there
                continue
            yield info

    def _remove_abandoned(self, path: Path, older_than_seconds: float) -> bool:
        """Remove a temporary file if it is nobody's; what we may not touch belongs to others."""
        with self._explained(""):
            try:
                descriptor = files.open_temporary_to_tidy(path)
            except (FileNotFoundError, PermissionError):
                return False
            try:
                owned = files.own(descriptor, wait=False)
                limit = older_than_seconds
                if owned is None:
                    limit = max(limit, _UNLOCKABLE_SECONDS)
                if owned is False or not self._is_older(os.fstat(descriptor), limit):
                    return False
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
        return True

    def _is_older(self, status: os.stat_result, seconds: float) -> bool:
        age = self._clock.now() - datetime.fromtimestamp(status.st_mtime, UTC)
        return seconds <= 0 or age.total_seconds() >= seconds

    @contextlib.contextmanager
    def _explained(self, name: str, folder: Path | None = None) -> Generator[None]:
        """Turn the system's errors into ours, about the object ``name`` or about a folder."""
        try:
            yield
        except OSError as error:
            raise self._explanation(name, folder or self._folder, error) from error

    def _explanation(self, name: str, folder: Path, error: OSError) -> Exception:
        what = f"object '{name}' in '{self._folder}'" if name else f"folder '{folder}'"
        reason = error.strerror or str(error)
        if error.errno in _ABSENT:
            return ObjectMissing(f"{what} does not exist")
        if error.errno in _REFUSED:
            return AccessRefused(f"{what} cannot be accessed: {reason}")
        if error.errno in _FULL:
            return StorageFull(f"there is no room for {what}: {reason}")
        if error.errno == errno.ENAMETOOLONG:
            return InvalidName(f"{what} has too long a path")
        return TransportUnavailable(f"{what} cannot be reached: {reason}")


def _taken(name: str) -> ObjectExists:
    return ObjectExists(f"object '{name}' exists already")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _info(name: str, status: os.stat_result) -> ObjectInfo:
    if not stat.S_ISREG(status.st_mode):
        raise ObjectMissing(f"object '{name}' does not exist; something else has its name")
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return ObjectInfo(name, status.st_size, modified_at)
