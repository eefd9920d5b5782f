"""Transports move named objects: all of an object or none of it."""

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from attrs import frozen
from typing_extensions import override

from backapp_core.errors import InvalidName
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.grants import SignedRequest
from backapp_core.ports.closing import Closing
from backapp_core.ports.surroundings import Surroundings

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_LONGEST_NAME_BYTES = 512
_LONGEST_PART_BYTES = 200

Body: TypeAlias = Iterable[bytes | memoryview]
"""The content of an object on its way to a destination, in chunks of any size.

A chunk that is a view holds until the next one is asked for, when it is released, for its memory
is used again: whoever keeps it longer keeps a copy.
"""


def check_object_name(name: str) -> str:
    r"""Return ``name`` if objects may be called so.

    It consists of parts joined by ``/``, each as portable as file names get.

    Raises:
        InvalidName: If a part is empty, begins with a dot, holds a control character or one of
            ``\ : * ? " < > |``, is no normalised (NFC) Unicode, or if the name or a part is too
            long (512 and 200 bytes of UTF-8).
    """
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidName(f"object name {name!a} is no valid Unicode") from None
    parts = name.split("/")
    is_fine = (
        len(encoded) <= _LONGEST_NAME_BYTES
        and not _FORBIDDEN.search(name)
        and all(part and not part.startswith(".") for part in parts)
        and all(len(part.encode("utf-8")) <= _LONGEST_PART_BYTES for part in parts)
        and unicodedata.is_normalized("NFC", name)
    )
    if not is_fine:
        raise InvalidName(f"object name {name!a} is not allowed")
    return name


def check_object_prefix(prefix: str) -> str:
    """Return ``prefix`` if it names a folder of objects.

    It is empty, or an object name followed by ``/``.

    Raises:
        InvalidName: If it does not.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidName(f"object folder {prefix!a} is not allowed; it must end in '/'")
        check_object_name(prefix[:-1])
    return prefix


@frozen
class ObjectInfo:
    """What is known of a stored object without reading it."""

    name: str
    size_bytes: int
    modified_at: datetime | None = None
    """When it was stored, by the destination's clock; None where the destination does not tell."""


class Transport(Closing):
    """Named objects at one address; every method may be called from any thread, several at a time.

    Names follow `check_object_name`; every method that takes a name raises `InvalidName` for
    others. Every method raises `TransportUnavailable` when the destination does not answer and
    `AccessRefused` when it refuses.
    """

    @property
    @abstractmethod
    def address(self) -> str:
        """The address as people know it, without secrets."""

    @abstractmethod
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        """Store an object, all of it or none of it, and return its size.

        When this returns, it survives a power cut.

        Until this returns, readers see the former state (nothing, or the object that is replaced).
        If ``body`` raises, nothing is stored, nothing is left behind, and its exception passes
        through unchanged. ``body`` is consumed once, in the calling thread, and not ahead of what
        is being sent by more than a few chunks.

        Args:
            name: The object's name.
            body: The bytes, in chunks of any size; see `Body` for how long each of them holds.
            size_bytes: The exact number of bytes, if it is known.
            replace: Whether an existing object may be replaced.

        Raises:
            ObjectExists: If the name is taken and ``replace`` is not set; the existing object is
                untouched. Of several writers of one new name at the same time, exactly one
                succeeds.
            TransferCut: If ``body`` does not have ``size_bytes`` bytes.
            StorageFull: If there is no room; nothing is left behind.
        """

    @abstractmethod
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        """Return an object's bytes from ``offset``, in chunks of at most 4 MiB.

        ``length_bytes`` of them come, or all up to the end if that is None. What is asked for
        beyond the object's end is not there: fewer bytes come, or none. Closing the iterator early
        gives the connection back. Opening happens before this returns, so that `ObjectMissing` is
        raised here.

        Raises:
            ObjectMissing: If no object has this name.
            TransferCut: While iterating, if the connection ends early.
        """

    def read(self, name: str, *, offset: int = 0, length_bytes: int | None = None) -> bytes:
        """Return what `get` yields as one value.

        Raises:
            ObjectMissing: If no object has this name.
            TransferCut: If the connection ends early.
        """
        return b"".join(self.get(name, offset=offset, length_bytes=length_bytes))

    @abstractmethod
    def stat(self, name: str) -> ObjectInfo:
        """Return what is known of an object.

        Raises:
            ObjectMissing: If no object has this name.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose name begins with the folder ``prefix``, in no particular order.

        A prefix is empty or ends in ``/``. Objects stored or deleted meanwhile may or may not be
        seen; all others are seen exactly once. Whatever stands at the address and is no object
        (temporary files, names that break the rules) is not reported. An address where nothing was
        stored yet yields nothing.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; removing what is absent is fine.

        When this returns, the removal survives a power cut.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Make the address ready for its first object (create the folder).

        Calling it again is fine.
        """

    @override
    @abstractmethod
    def close(self) -> None:
        """Give connections back; closing twice is fine.

        Using a closed transport is an error of the program.
        """


@runtime_checkable
class CanTidy(Protocol):
    """A transport whose killed writers may leave temporary files behind."""

    def tidy(self, *, older_than_seconds: float) -> int:
        """Remove old temporary files that no living writer can own, and return how many."""
        ...


@runtime_checkable
class HasFolder(Protocol):
    """A transport whose objects are files on this machine."""

    @property
    def folder(self) -> Path:
        """Absolute path of the folder that holds the objects."""
        ...


LONGEST_LIFETIME_SECONDS = 900
"""How long a signed request may be good for: 15 minutes."""


@runtime_checkable
class CanPresign(Protocol):
    """A transport whose requests somebody else may send, who has no credentials.

    Each method signs one exact request for one object, asks nobody, and may be called from any
    thread. The object's name is in the signature, and so is everything in
    `SignedRequest.headers`; whether the destination acts upon all of that, `CanProbe` finds out.

    Lifetimes are whole seconds from 1 to `LONGEST_LIFETIME_SECONDS`, from now on by the clock that
    the transport was given. Every method raises `InvalidName` for a name that no object may have,
    `InputError` for a lifetime or a range outside of what is possible, and `AccessRefused` if there
    are no credentials to sign with.
    """

    def sign_put(
        self, name: str, *, size_bytes: int, sha256: bytes, md5: bytes, lifetime_seconds: int
    ) -> SignedRequest:
        """Sign the creation of an object that has exactly this size and these digests.

        An object that exists is not replaced: the destination answers 412. An answer of 409 means
        that another one is being stored under this name; trying again is fine.

        Args:
            name: The object's name.
            size_bytes: Its size, at most 5 GiB.
            sha256: The 32 bytes of the SHA-256 of its content.
            md5: The 16 bytes of the MD5 of its content.
            lifetime_seconds: How long the request is good for.

        Raises:
            InputError: Also if the size or a digest is none.
        """
        ...

    def sign_get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None, lifetime_seconds: int
    ) -> SignedRequest:
        """Sign the reading of an object, or of ``length_bytes`` (at least 1) from ``offset`` on.

        The range is signed as well; a destination answers 206 to it, 416 if it begins beyond the
        object's end, and 404 if there is no such object.
        """
        ...

    def sign_head(self, name: str, *, lifetime_seconds: int) -> SignedRequest:
        """Sign the question for an object's size; 404 means that there is none."""
        ...

    def sign_delete(self, name: str, *, lifetime_seconds: int) -> SignedRequest:
        """Sign the removal of an object; the caller decides of which.

        Removing what is absent is answered like the removal of what was there.
        """
        ...


@runtime_checkable
class CanProbe(Protocol):
    """A transport whose destinations differ in what they enforce of a signed request."""

    def probe(self) -> Enforcement:
        """Find out, by storing tiny objects under a name that no object has; leaves nothing.

        What it stores is not listed. May be called from any thread, beside everything else, once
        the address is ready (see `Transport.prepare`).

        Raises:
            TransportUnavailable: If the destination does not answer.
            AccessRefused: If it refuses to store, read or delete at all.
        """
        ...


@frozen
class TransportKind:
    """A sort of transport that a plugin offers."""

    name: str
    schemes: frozenset[str]
    """URL schemes it opens, lower case; ``""`` stands for a plain path, ``"*"`` for whatever nobody
    else claims. No two kinds may claim the same."""
    settings: type[Any]
    """The class of what `parse` returns, best an attrs class."""
    parse: Callable[[str], Any]
    """Makes an instance of `settings` from an address.

    Raises:
        InvalidAddress: If the address makes no sense.
    """
    open: Callable[[Any, Surroundings], Transport]
    """Opens what `settings` say; creates nothing at the destination.

    Raises:
        TransportUnavailable: If the destination cannot be reached.
        AccessRefused: If it refuses.
        PartMissing: If a library is not installed.
    """
    options: type[Any] | None = None
    """The attrs class of what ``[transports.NAME]`` of a settings file may say, for what no address
    can; None if there is nothing. `settings` then has a field ``options`` of that class, which is
    filled in between `parse` and `open`."""
    paces_uploads: bool = False
    """Whether what it opens calls `Surroundings.wait_to_send` for whatever it sends, just before;
    for those that gather much before they send. For others the core waits before each piece of a
    body that it hands over."""
