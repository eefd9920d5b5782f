"""What may be signed at all: names, sizes and hashes, as the format of the repository has them."""

import re
from collections.abc import Iterable

from attrs import frozen

from backapp_core.errors import GrantRefused, InvalidName
from backapp_core.model.grants import ObjectSort, WriteWish
from backapp_core.model.names import to_line
from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.transports import check_object_name, check_object_prefix
from backapp_core.wire import MOST_WISHES

MOST_PARTS = 10_000
_LARGEST = {
    ObjectSort.CONFIG: (1 << 20, "1 MiB"),
    ObjectSort.KEY: (64 << 10, "64 KiB"),
    ObjectSort.LOCK: (64 << 10, "64 KiB"),
    ObjectSort.SNAPSHOT: (16 << 20, "16 MiB"),
    ObjectSort.DATA: (5 << 30, "5 GiB"),  # what one request may carry, by the rules of S3
}
_LONGEST_SHOWN = 160
_NAMED_BY_HASH = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.[^/]*)?")
_AFTER = re.compile(r"[^\x00-\x1f\ud800-\udfff]{1,1024}")
_UPLOAD = re.compile(r"[\x21-\x7e]{1,1024}")


@frozen
class NamedObject:
    """An object that may stand in a repository."""

    name: str
    sort: ObjectSort


def shown(text: str) -> str:
    """Return what somebody else called something, as it may stand in a message."""
    return to_line(text[:_LONGEST_SHOWN])


def about(name: str, reason: str) -> str:
    """Return a sentence about an object."""
    return f"'{shown(name)}' {reason}"


def hash_in(name: str) -> str:
    """Return the SHA-256 that an object's name says it has, 64 hex digits; empty if it says none.

    See `ArchiverKind.sort_of`.
    """
    match = _NAMED_BY_HASH.fullmatch(name)
    return match[1] if match else ""


def sort_of(kind: ArchiverKind, name: str) -> ObjectSort | None:
    """Return what an object is to repositories of a kind, None for what none of them has.

    The format says exactly what its names look like. That none leaves its folder is looked at once
    more, whatever a plugin says.
    """
    try:
        return kind.sort_of(check_object_name(name))
    except InvalidName:
        return None


def named(kind: ArchiverKind, name: str) -> NamedObject:
    """Return what an object of this name is.

    Raises:
        GrantRefused: If no repository of this kind has such an object.
    """
    sort = sort_of(kind, name)
    if sort is None:
        raise GrantRefused(about(name, f"is no object of a {kind.name} repository"))
    return NamedObject(name, sort)


def readable(kind: ArchiverKind, name: str, others: Iterable[ArchiverKind]) -> NamedObject:
    """Return what an object of this name is to somebody who reads.

    Whoever opens a repository of unknown kind looks for the config of each kind, so that of any
    kind may be looked for.

    Raises:
        GrantRefused: If no repository of this kind has such an object.
    """
    if sort_of(kind, name) is None and any(
        sort_of(other, name) is ObjectSort.CONFIG for other in others
    ):
        return NamedObject(name, ObjectSort.CONFIG)
    return named(kind, name)


def check_count(count: int) -> None:
    """Return if one request may name so many objects.

    Raises:
        GrantRefused: If it may not.
    """
    if count > MOST_WISHES:
        raise GrantRefused(f"one request may name {MOST_WISHES} objects and not {count}")


def check_wish(one: NamedObject, wish: WriteWish) -> None:
    """Return if an object may have this size and this hash.

    Raises:
        GrantRefused: If it may not.
    """
    most_bytes, in_words = _LARGEST[one.sort]
    if wish.size_bytes > most_bytes:
        reason = f"may have {in_words} as a {one.sort.value} and not {wish.size_bytes} bytes"
        raise GrantRefused(about(one.name, reason))
    pinned = hash_in(one.name)
    if pinned and pinned != wish.sha256:
        raise GrantRefused(
            about(one.name, "is named by its SHA-256, and what is to be stored has another")
        )


def check_content(one: NamedObject) -> None:
    """Return if an object may be sent in parts.

    Raises:
        GrantRefused: If it may not.
    """
    if one.sort is not ObjectSort.DATA:
        raise GrantRefused(about(one.name, "is sent as a whole and not in parts"))


def check_upload(name: str, upload: str) -> None:
    """Return if something can be what refers to an upload.

    Raises:
        GrantRefused: If it cannot.
    """
    if not _UPLOAD.fullmatch(upload):
        raise GrantRefused(about(name, "was asked for with what refers to no upload"))


def check_numbers(name: str, first: int, count: int) -> None:
    """Return if an object may have parts of these numbers.

    Raises:
        GrantRefused: If it may not.
    """
    if first < 1 or count < 1 or first + count - 1 > MOST_PARTS:
        raise GrantRefused(about(name, f"may have the parts 1 to {MOST_PARTS} and no others"))


def check_listing(prefix: str, after: str) -> None:
    """Return if a listing can begin there.

    Raises:
        GrantRefused: If it cannot.
    """
    try:
        check_object_prefix(prefix)
    except InvalidName as error:
        raise GrantRefused(error.message) from error
    if after and not _AFTER.fullmatch(after):
        raise GrantRefused("the listing was to go on after what no page ends with")
