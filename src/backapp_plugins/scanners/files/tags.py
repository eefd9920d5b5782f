"""Marks by which a directory says that its contents need no backup."""

import os
import stat

CACHE_TAG = b"CACHEDIR.TAG"
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"


def tag_in(folder: int, names: tuple[bytes, ...], *, looks_for_cache_tag: bool) -> bytes | None:
    """Return the name of the first mark in an open directory, None if it has none.

    Args:
        folder: Descriptor of the directory.
        names: Names that are marks whatever they are and hold.
        looks_for_cache_tag: Whether a ``CACHEDIR.TAG`` is a mark; it must be a regular file that
            begins with the signature of the Cache Directory Tagging Specification.
    """
    for name in names:
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        return name
    return CACHE_TAG if looks_for_cache_tag and _is_cache(folder) else None


def _is_cache(folder: int) -> bool:
    try:
        descriptor = os.open(
            CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
    except OSError:
        return False  # None there, or one that cannot be trusted: the contents are kept.
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return is_file and os.pread(descriptor, len(_SIGNATURE), 0) == _SIGNATURE
    except OSError:
        return False
    finally:
        os.close(descriptor)
