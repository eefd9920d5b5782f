"""Looks what a restore into a folder could not keep."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from backapp_core.model.diagnoses import Diagnosis, Verdict

_ODD_MODE = 0o640
_ODD_NS = 1_700_000_000_123_456_789


def diagnose_target(target: Path, *, probes_writing: bool) -> Iterator[Diagnosis]:
    """Look at the folder that would be restored into, or the nearest one above that is there.

    With ``probes_writing`` small files are made in a temporary folder there and removed again.
    """
    subject = str(target)
    place = next((one for one in (target, *target.absolute().parents) if one.exists()), target)
    if not place.is_dir():
        yield Diagnosis(subject, Verdict.PROBLEM, f"{place} is no folder")
        return
    if not os.access(place, os.W_OK | os.X_OK):
        yield Diagnosis(subject, Verdict.PROBLEM, f"{place} cannot be written")
        return
    free_bytes = shutil.disk_usage(place).free
    yield Diagnosis(subject, Verdict.FINE, f"can be written, {free_bytes / 1e9:,.1f} GB are free")
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        yield Diagnosis(
            subject, Verdict.NOTE, "owners, devices and set-id bits are not kept: that needs root"
        )
    if probes_writing:
        yield from _probe(subject, place)


def _probe(subject: str, place: Path) -> Iterator[Diagnosis]:
    try:
        with tempfile.TemporaryDirectory(prefix=".backapp-probe-", dir=place) as made:
            folder = Path(made)
            (folder / "file").write_bytes(b"")
            for what, keeps in _PROBES.items():
                if not _works(keeps, folder):
                    message = f"{what} cannot be kept there"
                    yield Diagnosis(subject, Verdict.NOTE, message)
    except OSError as error:
        message = f"nothing can be written there: {error.strerror or error}"
        yield Diagnosis(subject, Verdict.PROBLEM, message)


def _works(keeps: Callable[[Path], bool], folder: Path) -> bool:
    try:
        return keeps(folder)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return False
    except (AttributeError, NotImplementedError):
        return False  # this system has no such call


def _keeps_xattrs(folder: Path) -> bool:
    os.setxattr(folder / "file", b"user.backapp.probe", b"1")
    return os.getxattr(folder / "file", b"user.backapp.probe") == b"1"


def _keeps_symlinks(folder: Path) -> bool:
    (folder / "symlink").symlink_to("file")
    return (folder / "symlink").is_symlink()


def _keeps_hard_links(folder: Path) -> bool:
    (folder / "hardlink").hardlink_to(folder / "file")
    return (folder / "hardlink").stat().st_nlink > 1


def _keeps_times(folder: Path) -> bool:
    os.utime(folder / "file", ns=(_ODD_NS, _ODD_NS))
    return (folder / "file").stat().st_mtime_ns == _ODD_NS


def _keeps_case(folder: Path) -> bool:
    return not (folder / "FILE").exists()


def _keeps_modes(folder: Path) -> bool:
    (folder / "file").chmod(_ODD_MODE)
    return (folder / "file").stat().st_mode & 0o7777 == _ODD_MODE


def _keeps_names(folder: Path) -> bool:
    odd = os.path.join(os.fsencode(folder), b"odd-\xff\\:*?\n")  # noqa: PTH118  # bytes
    descriptor = os.open(odd, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    return os.path.basename(odd) in os.listdir(os.fsencode(folder))  # noqa: PTH119, PTH208  # bytes


def _keeps_fifos(folder: Path) -> bool:
    os.mkfifo(folder / "fifo")
    return True


_PROBES: dict[str, Callable[[Path], bool]] = {
    "extended attributes and access lists": _keeps_xattrs,
    "symlinks": _keeps_symlinks,
    "hard links": _keeps_hard_links,
    "times to the nanosecond": _keeps_times,
    "names that differ in upper and lower case only": _keeps_case,
    "permissions": _keeps_modes,
    "names that are no plain text": _keeps_names,
    "fifos": _keeps_fifos,
}
