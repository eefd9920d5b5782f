"""Folders of a repository as FUSE asks for them; needs the extra ``mount``."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import mfusepy  # type: ignore[import-untyped]  # it has no types to check
from typing_extensions import override

from backapp_core.errors import BackappError, InputError, PathNotFound

if TYPE_CHECKING:
    from backapp_core.engine.mount_view import FileView, MountView

_T = TypeVar("_T")


def serve(
    view: "MountView", mountpoint: Path, *, allows_others: bool, report: Callable[[str], None]
) -> None:
    """Show ``view`` at a folder until it is unmounted.

    Args:
        view: What is shown.
        mountpoint: A folder.
        allows_others: Whether other users of the machine may look.
        report: Told what cannot be read, and why.

    Raises:
        InputError: If the system refuses to mount there.
    """
    try:
        mfusepy.FUSE(
            _Folders(view, report),
            os.fspath(mountpoint),
            foreground=True,
            nothreads=True,  # a repository is used by one thread at a time
            ro=True,
            allow_other=allows_others,
            fsname="backapp",
        )
    except RuntimeError as error:
        raise InputError(f"nothing can be mounted on {mountpoint}; see what FUSE said") from error


class _Folders(mfusepy.Operations):  # type: ignore[misc]  # whose base has no types
    """What FUSE calls; the names are its own."""

    use_ns = True
    """Times are in nanoseconds; as fractions of seconds they would lose some of them."""

    def __init__(self, view: "MountView", report: Callable[[str], None]) -> None:
        self._view = view
        self._report = report
        self._opened: dict[int, FileView] = {}

    @override
    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        return self._answer(self._view.facts, path)

    @override
    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *map(os.fsdecode, self._answer(self._view.names, path))]

    @override
    def readlink(self, path: str) -> str:
        return os.fsdecode(self._answer(self._view.link, path))

    @override
    def listxattr(self, path: str) -> list[str]:
        return [os.fsdecode(name) for name in self._answer(self._view.attributes, path)]

    @override
    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        value = self._answer(self._view.attributes, path).get(os.fsencode(name))
        if value is None:
            raise mfusepy.FuseOSError(errno.ENODATA)
        return value

    @override
    def open(self, path: str, flags: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise mfusepy.FuseOSError(errno.EROFS)
        handle = max(self._opened, default=0) + 1
        self._opened[handle] = self._answer(self._view.open, path)
        return handle

    @override
    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return self._answer(lambda _: self._opened[fh].read(offset, size), path)

    @override
    def release(self, path: str, fh: int) -> int:
        self._opened.pop(fh).close()
        return 0

    def _answer(self, ask: Callable[[bytes], _T], path: str) -> _T:
        try:
            return ask(os.fsencode(path))
        except PathNotFound as error:
            raise mfusepy.FuseOSError(errno.ENOENT) from error
        except BackappError as error:
            self._report(error.message)
            raise mfusepy.FuseOSError(errno.EIO) from error
