"""Keeps what is written out away from the repository that it comes from."""

import os
from pathlib import Path

from backapp_core.errors import InputError
from backapp_core.model.names import AnyPath, to_line


def check_outside(folder: Path | None, target: AnyPath) -> None:
    """Refuse a ``target`` that is, or lies in, the repository's own ``folder``.

    Every folder above the target is compared by what it is and not only by name, since a mount or
    a file system that ignores case gives one folder several names.

    Args:
        folder: Where the repository's objects are files of this machine, None if they are not.
        target: Where something would be written; it need not exist.

    Raises:
        InputError: If it lies there.
    """
    if folder is None:
        return
    place = Path(os.path.realpath(folder))
    real = Path(os.path.realpath(os.fsdecode(target)))
    if any(_is_one(place, above) for above in (real, *real.parents)):
        shown = to_line(os.fsdecode(target))
        raise InputError(
            f"the target {shown} lies in the repository {to_line(str(folder))} itself, "
            "which that could destroy; choose another place"
        )


def _is_one(folder: Path, other: Path) -> bool:
    if folder == other:
        return True
    try:
        return folder.samefile(other)
    except OSError:
        return False  # one of them is not there, so they are not the same
