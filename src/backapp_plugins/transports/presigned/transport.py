"""Objects of a repository that a server manages, moved by requests that it signs."""

from collections.abc import Iterator
from http import HTTPStatus

from typing_extensions import override

from backapp_core.plugin_api import (
    AccessRefused,
    Body,
    ObjectInfo,
    Surroundings,
    Transport,
    TransportUnavailable,
    check_object_name,
    check_object_prefix,
)
from backapp_core.server_api import CanIssueGrants
from backapp_plugins.transports.presigned.address import ManagedAddress
from backapp_plugins.transports.presigned.courier import Courier
from backapp_plugins.transports.presigned.grants import Grants
from backapp_plugins.transports.presigned.reading import Reader
from backapp_plugins.transports.presigned.sending import Sender
from backapp_plugins.transports.presigned.writing import SIZES, Sizes, Writer


class PresignedTransport(Transport):
    """One repository, through an issuer of grants and past it.

    The issuer sees names, sizes and hashes, the bucket sees the bytes. What is written is gathered
    first, up to 64 MiB, since what is signed pins size and hashes; anything larger is sent in
    parts of 16 MiB. Objects are never replaced, and of those that exist nothing but a lock of one's
    own can be deleted: `put` with ``replace`` and most calls of `delete` raise `AccessRefused`.

    May be used from any thread, several at a time.
    """

    def __init__(
        self,
        address: ManagedAddress,
        issuer: CanIssueGrants,
        surroundings: Surroundings,
        sizes: Sizes = SIZES,
    ) -> None:
        self._address = address
        self._courier = Courier(surroundings)
        self._sender = Sender(self._courier, surroundings)
        self._grants = Grants(issuer, address.repository_id, surroundings)
        self._reader = Reader(self._grants, self._sender)
        self._writer = Writer(self._grants, self._sender, self._reader, sizes)

    @property
    @override
    def address(self) -> str:
        return self._address.text

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        check_object_name(name)
        if replace:
            raise AccessRefused(
                f"object '{name}' cannot be replaced: at {self.address} objects are only created"
            )
        return self._writer.put(name, body, size_bytes)

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        opened = self._reader.chunks(check_object_name(name), offset, length_bytes)
        next(opened)  # opens; from here on closing or dropping the generator lets go
        return opened

    @override
    def stat(self, name: str) -> ObjectInfo:
        return self._reader.stat(check_object_name(name))

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return self._listed(check_object_prefix(prefix))

    @override
    def delete(self, name: str) -> None:
        check_object_name(name)
        sent = self._sender.send(f"object '{name}'", lambda _anew: self._grants.delete(name))
        if sent.answer.status == HTTPStatus.PRECONDITION_FAILED:
            raise TransportUnavailable(f"object '{name}' is not deleted; the bucket says 412")

    @override
    def prepare(self) -> None:
        """Do nothing: the server looks after the bucket."""

    @override
    def close(self) -> None:
        self._courier.close()

    def _listed(self, prefix: str) -> Iterator[ObjectInfo]:
        after, last = "", ""
        while True:
            page = self._grants.page(prefix, after)
            for seen in page.objects:
                if seen.name > last:  # whatever a page repeats is seen once
                    last = seen.name
                    yield ObjectInfo(seen.name, seen.size_bytes, seen.modified_at)
            if not page.next_after:
                return
            if page.next_after <= after:
                raise TransportUnavailable(f"the listing of {self.address} does not end")
            after = page.next_after
