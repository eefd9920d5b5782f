"""What a destination can do for those who have no credentials, besides signing single requests."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from attrs import frozen

from backapp_core.model.grants import SignedRequest
from backapp_core.ports.transports import ObjectInfo


@frozen
class ListedPage:
    """A part of a listing."""

    objects: Sequence[ObjectInfo]
    """In the order of their names, by code points."""
    next_after: str
    """What to ask for next; empty at the end. It may be the name of what is no object."""


@runtime_checkable
class CanListInOrder(Protocol):
    """A transport that can begin a listing in the middle."""

    def list_after(self, prefix: str, after: str, *, most: int) -> ListedPage:
        """Return objects of the folder ``prefix`` whose names come after ``after``.

        From any thread. There may be fewer objects than ``most`` (up to 1000), or none, and still
        it is not the end.

        Raises:
            InvalidName: If ``prefix`` is no folder of objects.
        """
        ...


@runtime_checkable
class CanPresignParts(Protocol):
    """A transport whose large objects somebody else may send, in parts, without credentials.

    Methods may be called from any thread. Besides what is listed, they raise what those of
    `CanPresign` do, and all but `sign_part` ask the destination, as those of `Transport` do.
    """

    def begin_upload(self, name: str) -> str:
        """Begin an object that is sent in parts, and return the id of the upload."""
        ...

    def sign_part(
        self,
        name: str,
        upload: str,
        number: int,
        *,
        size_bytes: int,
        sha256: bytes,
        md5: bytes,
        lifetime_seconds: int,
    ) -> SignedRequest:
        """Sign the sending of part ``number``, from 1 to 10000, with exactly this size and digests.

        The answer's header ``ETag`` is what `complete_upload` wants. Sending a part again replaces
        it. All but the last have 5 MiB at least.

        Raises:
            InputError: Also if the number, the size or a digest is none.
        """
        ...

    def complete_upload(self, name: str, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        """Make one object of the parts (number and ETag of each) unless one has that name.

        An upload that was completed with the same parts before is fine, since answers get lost.

        Raises:
            ObjectExists: If there is another one; the parts are gone then.
            ObjectMissing: If there is no such upload.
            TransferCut: If the parts are not those that were sent.
        """
        ...

    def abandon_upload(self, name: str, upload: str) -> None:
        """Throw the parts away; an upload that is gone is fine."""
        ...
