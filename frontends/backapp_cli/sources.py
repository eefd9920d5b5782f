"""What to back up and what to leave out, as `backup` and jobs have it on the command line."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from backapp_cli import values
from backapp_core.errors import InputError
from backapp_core.model.names import to_text


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose files; the command receives plain ``scanner_settings``."""

    @functools.wraps(function)
    def with_settings(*arguments: Any, **keywords: Any) -> Any:
        settings = _scanner_settings({name: keywords.pop(name) for name in _NAMES})
        return function(*arguments, scanner_settings=settings, **keywords)

    for option in reversed(_OPTIONS):
        with_settings = option(with_settings)
    return with_settings


def files_from_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that read the names of sources from files."""
    for name, how in (
        ("raw", "names that end with a NUL byte, as they stand"),
        ("verbatim", "one name per line, as they stand"),
        ("", "one glob pattern per line, # for comments"),
    ):
        function = click.option(
            f"--files-from{'-' if name else ''}{name}",
            multiple=True,
            metavar="FILE",
            type=values.path_bytes,
            help=f"Back up what this file names: {how}; - is standard input.",
        )(function)
    return function


def sources_from(
    paths: Sequence[bytes],
    files_from: Sequence[bytes],
    files_from_verbatim: Sequence[bytes],
    files_from_raw: Sequence[bytes],
) -> tuple[bytes, ...]:
    """Return all sources that were named, in order.

    Raises:
        InputError: If a file cannot be read or names nothing, or a pattern in it matches nothing.
    """
    found = list(paths)
    for name in files_from:
        lines = [line.strip() for line in _content(name).splitlines()]
        wanted = [line for line in lines if line and not line.startswith(b"#")]
        found.extend(one for pattern in wanted for one in _expanded(pattern, name))
    for name in files_from_verbatim:
        found.extend(line for line in _content(name).split(b"\n") if line)
    for name in files_from_raw:
        found.extend(one for one in _content(name).split(b"\0") if one)
    if not found:
        raise InputError("nothing to back up; name at least one folder or file")
    return tuple(found)


_OPTIONS = (
    click.option(
        "-e",
        "--exclude",
        multiple=True,
        metavar="PATTERN",
        help="Leave out what matches, as in .gitignore (repeatable).",
    ),
    click.option(
        "--iexclude",
        multiple=True,
        metavar="PATTERN",
        help="The same, upper and lower case alike (repeatable).",
    ),
    click.option(
        "--exclude-file",
        multiple=True,
        metavar="FILE",
        type=values.path_bytes,
        help="Read such patterns from a file (repeatable).",
    ),
    click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Keep what matches although it is excluded (repeatable).",
    ),
    click.option(
        "--exclude-caches",
        is_flag=True,
        help="Leave out the content of folders with a CACHEDIR.TAG.",
    ),
    click.option(
        "--exclude-if-present",
        multiple=True,
        metavar="NAME",
        type=values.path_bytes,
        help="Leave out the content of folders that hold this name (repeatable).",
    ),
    click.option(
        "--exclude-larger-than",
        type=values.size_bytes,
        metavar="SIZE",
        help="Leave out larger files; 500K, 10M, 2G.",
    ),
    click.option(
        "-x",
        "--one-file-system",
        is_flag=True,
        help="Do not go into other file systems mounted below a PATH.",
    ),
)
_NAMES = (
    "exclude",
    "iexclude",
    "exclude_file",
    "include",
    "exclude_caches",
    "exclude_if_present",
    "exclude_larger_than",
    "one_file_system",
)


def _scanner_settings(given: dict[str, Any]) -> dict[str, object]:
    """Return the `files` scanner's settings as plain data; only what was given."""
    plain: dict[str, object] = {
        "excludes": list(given["exclude"]),
        "iexcludes": list(given["iexclude"]),
        "exclude_files": [
            to_text(os.path.abspath(one))  # noqa: PTH100  # bytes
            for one in given["exclude_file"]
        ],
        "includes": list(given["include"]),
        "exclude_caches": given["exclude_caches"],
        "exclude_if_present": [to_text(one) for one in given["exclude_if_present"]],
        "exclude_larger_than_bytes": given["exclude_larger_than"],
        "one_file_system": given["one_file_system"],
    }
    # No `in`: a size limit of 0 equals False.
    return {
        name: value
        for name, value in plain.items()
        if value is not None and value is not False and value != []
    }


def _content(name: bytes) -> bytes:
    if name == b"-":
        return sys.stdin.buffer.read()
    try:
        return Path(os.fsdecode(name)).read_bytes()
    except OSError as error:
        raise InputError(
            f"the list of files {to_text(name)} cannot be read: {error.strerror}"
        ) from error


def _expanded(pattern: bytes, source: bytes) -> list[bytes]:
    import glob

    found = sorted(glob.glob(pattern))  # noqa: PTH207  # bytes
    if not found:
        raise InputError(f"'{to_text(pattern)}' in {to_text(source)} matches nothing")
    return found
