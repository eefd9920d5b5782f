"""Values on the command line, from text: paths as bytes, sizes, rates, durations, lists of tags."""

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from typing_extensions import override

from backapp_core.errors import InputError
from backapp_core.model.names import to_line
from backapp_core.model.quantities import seconds_of, size_from_text
from backapp_core.model.rates import Rate
from backapp_core.model.retention import Within
from backapp_core.model.subsets import DataSubset

_T = TypeVar("_T")
_PART = re.compile(r"(\d{1,9})/(\d{1,9})")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) *%")
_GROUPS = {
    "host": "host",
    "hosts": "host",
    "path": "paths",
    "paths": "paths",
    "tag": "tags",
    "tags": "tags",
}


class PathText(click.Path):
    """A path or an address; an unset variable in quotes is not taken for the current folder."""

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("an empty value names nothing", param, ctx)
        return super().convert(value, param, ctx)


def path_bytes(text: str | bytes) -> bytes:
    """Return a path as the bytes that the shell handed over, whatever they are.

    Raises:
        click.BadParameter: If it is empty.
    """
    if not text:
        raise click.BadParameter("an empty path names nothing")
    return os.fsencode(text)


def utf8_text(text: str) -> str:
    """Return ``text``, which is to be kept as text; unlike a path it cannot be any bytes.

    Raises:
        click.BadParameter: If its bytes are not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"'{to_line(text)}' is not UTF-8") from error
    return text


def size_bytes(text: str | int) -> int:
    """Return the bytes that ``10M`` or ``1.5 GiB`` says; units are powers of 1024, as in restic.

    Raises:
        click.BadParameter: If it is no size.
    """
    if isinstance(text, int):
        return text
    count = size_from_text(text)
    if count is None:
        raise click.BadParameter(f"'{text}' is no size; write it like 500K, 10M or 1.5G")
    return count


def rate(text: str | Rate) -> Rate:
    """Return how fast bytes may go that ``500`` (KiB a second, as in restic) or ``2M`` says.

    Raises:
        click.BadParameter: If it is no rate.
    """
    return text if isinstance(text, Rate) else _parsed(Rate.parse, text)


def percent(text: str) -> float | None:
    """Return how many percent ``5%`` says; None if it says no percentage."""
    match = _PERCENT.fullmatch(text)
    return None if match is None else float(match[1])


def data_subset(text: str | DataSubset) -> DataSubset:
    """Return the share of the data that ``1/12``, ``5%`` or ``10G`` says, as in restic.

    Raises:
        click.BadParameter: If it is none of them.
    """
    if isinstance(text, DataSubset):
        return text
    try:
        if match := _PART.fullmatch(text):
            return DataSubset(part=int(match[1]), parts=int(match[2]))
        if (share := percent(text)) is not None:
            return DataSubset(percent=share)
        return DataSubset(most_bytes=size_bytes(text))
    except InputError as error:
        raise click.BadParameter(error.message) from error
    except click.BadParameter as error:
        raise click.BadParameter(
            f"'{to_line(text)}' is no share of the data; write it like 1/12, 2.5% or 10G"
        ) from error


def within(text: str | Within) -> Within:
    """Return the stretch of time that ``1y6m7d12h`` says.

    Raises:
        click.BadParameter: If it is no duration.
    """
    return text if isinstance(text, Within) else _parsed(Within.parse, text)


def stretch(text: str) -> str:
    """Return ``text``, which is a stretch of time such as ``5m`` or ``1h30m``.

    Raises:
        click.BadParameter: If it is none.
    """
    _parsed(seconds_of, text)
    return text


def _parsed(parse: Callable[[str], _T], text: str) -> _T:
    try:
        return parse(text)
    except InputError as error:
        raise click.BadParameter(error.message) from error


def tags(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tags of several ``tag[,tag,...]`` values in order, once each."""
    return tuple(dict.fromkeys(tag for text in texts for tag in _split(text)))


def tag_lists(texts: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    """Return one set per ``tag[,tag,...]`` value; an empty value means snapshots without tags."""
    return tuple(frozenset(_split(text)) for text in texts)


def key_values(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the ``key=value`` texts of -o as a mapping.

    Raises:
        click.BadParameter: If one has no ``=``, or a key comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(
                f"'{to_line(text)}' is not of the form key=value", param_hint="'-o'"
            )
        if key in found:
            raise click.BadParameter(f"'{to_line(key)}' is given twice", param_hint="'-o'")
        found[key] = value
    return found


def groups(text: str | frozenset[str]) -> frozenset[str]:
    """Return the fields that ``host,paths,tags``, any of them, or nothing names.

    Raises:
        click.BadParameter: If something else is named.
    """
    if isinstance(text, frozenset):
        return text
    named = _split(text)
    for name in named:
        if name not in _GROUPS:
            raise click.BadParameter(f"'{name}' cannot be grouped by; use host, paths or tags")
    return frozenset(_GROUPS[name] for name in named)


def _split(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]
