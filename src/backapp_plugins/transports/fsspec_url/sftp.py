"""A folder on an SFTP server.

fsspec's own class trusts any host key and shares one session between threads, so this one speaks to
paramiko itself. A name is given by ``rename``, which fails on OpenSSH when the name is taken (it
makes a hard link there); replacing is ``posix-rename``. Content is synchronised
(``fsync@openssh.com``) where the server can; the protocol cannot synchronise a directory.
"""

import contextlib
import errno
import stat
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Any

from typing_extensions import override

from backapp_core.plugin_api import (
    AccessRefused,
    BackappError,
    ObjectExists,
    ObjectMissing,
    StorageFull,
    TransferCut,
    TransportUnavailable,
)
from backapp_plugins.transports.fsspec_url.disk import Disk, Draft, Found
from backapp_plugins.transports.fsspec_url.sftp_address import SftpAddress
from backapp_plugins.transports.fsspec_url.sftp_sessions import Lease, SftpOptions, SftpSessions

_CMD_EXTENDED = 200
_FULL_BELOW_BYTES = 1 << 20
_ANSWERED = {errno.ENOENT, errno.EACCES}


class SftpDisk(Disk):
    """Files and folders below one folder of one server."""

    def __init__(self, address: SftpAddress, options: SftpOptions) -> None:
        """Connect, so that a wrong address or key shows at once."""
        self.address = address.text
        self._root = address.path
        self.sessions = SftpSessions(address, options)
        with self._session(""):
            pass

    @override
    def stat(self, path: str) -> Found:
        with self._session(path) as session:
            return _found(path, session.stat(self.full(path)))

    @override
    def entries(self, folder: str) -> Sequence[Found]:
        below = f"{folder}/" if folder else ""
        with self._session(folder) as session:
            listed = session.listdir_attr(self.full(folder))
            return [
                self._resolved(session, _found(below + attributes.filename, attributes), attributes)
                for attributes in listed
            ]

    @override
    def chunks(self, path: str, offset: int, length_bytes: int | None) -> Generator[bytes]:
        with self._session(path) as session, session.open(self.full(path), "rb") as file:
            found = _found(path, file.stat())
            if not found.is_file:
                raise ObjectMissing(f"object '{path}' does not exist; something else has its name")
            end = found.size_bytes
            if length_bytes is not None:
                end = min(end, offset + length_bytes)
            yield b""
            while offset < end:
                wanted = min(self.chunk_bytes, end - offset)
                chunk: bytes = next(file.readv([(offset, wanted)]))
                if len(chunk) != wanted:
                    raise TransferCut(f"object '{path}' came incompletely")
                offset += wanted
                yield chunk

    @override
    def draft(self, path: str) -> Draft:
        return _SftpDraft(self, path)

    @override
    def publish(self, draft: str, final: str, *, replace: bool) -> None:
        with self._session(final) as session:
            if replace:
                session.posix_rename(self.full(draft), self.full(final))
                return
            try:
                session.rename(self.full(draft), self.full(final))
            except OSError as error:  # the protocol has no word for "taken"
                if error.errno in _ANSWERED or not self._is_there(session, final):
                    raise
                raise ObjectExists(f"object '{final}' exists already") from None

    @override
    def remove(self, path: str) -> None:
        with self._session(path) as session:
            session.remove(self.full(path))

    @override
    def make_folder(self, path: str) -> None:
        with self._session(path) as session:
            self._make(session, self.full(path))

    @override
    def make_root(self) -> None:
        parts = self._root.split("/")
        with self._session("") as session:
            for count in range(1, len(parts) + 1):
                folder = "/".join(parts[:count])
                if folder and not _is_folder(session, folder):
                    self._make(session, folder)
            session.listdir_attr(self.full(""))

    @override
    def close(self) -> None:
        self.sessions.close()

    def full(self, path: str) -> str:
        """Return ``path`` as the server knows it."""
        root = self._root or "."
        return f"{root.rstrip('/')}/{path}" if path else root

    def _make(self, session: Any, full: str) -> None:
        try:
            session.mkdir(full, 0o700)
        except OSError:  # "Failure" is all that the protocol says when it is there already
            if not _is_folder(session, full):
                raise

    def _resolved(self, session: Any, found: Found, attributes: Any) -> Found:
        """Follow a link, as opening it does."""
        if not stat.S_ISLNK(attributes.st_mode or 0):
            return found
        try:
            return _found(found.path, session.stat(self.full(found.path)))
        except OSError:
            return found  # it leads nowhere: neither file nor folder

    def _is_there(self, session: Any, path: str) -> bool:
        try:
            session.lstat(self.full(path))
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def _session(self, path: str) -> Generator[Any]:
        """Lend a session for something about the object ``path``.

        One that answered, if only that there is no such file, is lent again.
        """
        lease = self.sessions.take()
        is_fine = False
        try:
            with self.explained(lease.session, path):
                yield lease.session
            is_fine = True
        except BaseException as error:
            is_fine = isinstance(error, ObjectMissing | ObjectExists | GeneratorExit)
            raise
        finally:
            self.sessions.give_back(lease, is_fine=is_fine)

    @contextlib.contextmanager
    def explained(self, session: Any, path: str) -> Generator[None]:
        """Turn the errors of ``session`` into ours, about the object ``path``."""
        from paramiko import SSHException  # type: ignore[import-untyped]  # ships no types

        try:
            yield
        except (OSError, EOFError, SSHException) as error:
            raise self._explanation(session, path, error) from error

    def _explanation(self, session: Any, path: str, error: Exception) -> BackappError:
        what = f"object '{path}' at '{self.address}'" if path else f"'{self.address}'"
        if isinstance(error, FileNotFoundError):
            return ObjectMissing(f"{what} does not exist")
        if isinstance(error, PermissionError):
            return AccessRefused(f"{what} cannot be accessed: the server denies permission")
        if str(error) == "Failure" and self._isfull(session):
            return StorageFull(f"there is no room for {what}")
        return TransportUnavailable(
            f"{what} cannot be reached: {str(error) or type(error).__name__}"
        )

    def _isfull(self, session: Any) -> bool:
        """Ask for the room that is left; the protocol's own answer to a full disk is "Failure"."""
        try:
            _, answer = session._request(  # noqa: SLF001  # paramiko has no method for extensions
                _CMD_EXTENDED, "statvfs@openssh.com", self.full("")
            )
            figures = [answer.get_int64() for _ in range(8)]
        except (OSError, EOFError):
            return False
        _, block_bytes, _, _, free_blocks, _, _, free_files = figures
        return bool(free_blocks * block_bytes < _FULL_BELOW_BYTES or free_files == 0)


class _SftpDraft(Draft):
    """Keeps its session to itself until it is closed."""

    def __init__(self, disk: SftpDisk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._lease: Lease | None = disk.sessions.take()
        self._session = self._lease.session
        self._file: Any = None
        self._is_settled = False  # every request on the session was answered
        try:
            with self._settling():
                self._file = self._session.open(disk.full(path), "wx")
                self._file.chmod(0o600)
        except BaseException as error:
            self._is_settled = isinstance(error, ObjectMissing)
            self.close()
            raise

    @override
    def write(self, data: bytes | bytearray) -> None:
        with self._settling(), memoryview(data) as view:
            # All but the end goes out without waiting; with the end all answers are looked at.
            self._file.set_pipelined(True)
            self._file.write(view[:-1])
            self._file.set_pipelined(False)
            self._file.write(view[-1:])

    @override
    def finish(self) -> None:
        with self._settling():
            try:
                self._session._request(  # noqa: SLF001  # paramiko has no method for extensions
                    _CMD_EXTENDED, "fsync@openssh.com", self._file.handle
                )
            except OSError as error:
                if "unsupported" not in str(error).lower():
                    raise

    @override
    def close(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            if self._is_settled and self._file is not None:
                self._file.close()
        finally:
            self._disk.sessions.give_back(lease, is_fine=self._is_settled)

    @contextlib.contextmanager
    def _settling(self) -> Generator[None]:
        self._is_settled = False
        with self._disk.explained(self._session, self._path):
            yield
        self._is_settled = True


def _found(path: str, attributes: Any) -> Found:
    mode, moment = attributes.st_mode or 0, attributes.st_mtime
    return Found(
        path=path,
        is_file=stat.S_ISREG(mode),
        is_folder=stat.S_ISDIR(mode),
        size_bytes=attributes.st_size or 0,
        modified_at=None if moment is None else datetime.fromtimestamp(moment, UTC),
    )


def _is_folder(session: Any, full: str) -> bool:
    try:
        return stat.S_ISDIR(session.stat(full).st_mode or 0)
    except FileNotFoundError:
        return False
