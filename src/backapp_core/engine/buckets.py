"""The buckets of a server: opened when they are first needed, and where in them repositories stand.

Only the server has credentials for them. What stands in them is reached through a transport that
can sign requests for those who have none.
"""

import threading
from collections.abc import Sequence
from typing import final

from attrs import field, frozen
from typing_extensions import override

from backapp_core.clock import Clock
from backapp_core.engine.addresses import open_transport, without_secret
from backapp_core.engine.bucket_faults import check_signing
from backapp_core.errors import InputError, InvalidAddress, TransportUnavailable
from backapp_core.manager import PluginManager
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.ports.closing import Closing
from backapp_core.ports.managed_repositories import Repositories
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import CanPresign, CanProbe, Transport, check_object_name


@frozen
class Place:
    """Where a repository stands in a bucket that is open."""

    transport: Transport
    """The whole bucket's."""
    signer: CanPresign
    """The same, as what signs."""
    folder: str
    """What stands before the names of the repository's objects; ends in a slash."""


@frozen(eq=False)
class _Bucket:
    address: str
    lock: threading.Lock = field(factory=threading.Lock)
    opened: list[Transport] = field(factory=list[Transport])
    enforces: list[Enforcement] = field(factory=list[Enforcement])


@final
class Buckets(Closing):
    """The buckets that a server signs for; may be used from any thread."""

    def __init__(
        self, plugins: PluginManager, surroundings: Surroundings, addresses: Sequence[str]
    ) -> None:
        """Remember the addresses of buckets, or of parts of buckets; nothing is opened yet."""
        self._plugins = plugins
        self._surroundings = surroundings
        self._buckets = {one.rstrip("/"): _Bucket(one.rstrip("/")) for one in addresses}

    @property
    def clock(self) -> Clock:
        """By which everything that is signed expires."""
        return self._surroundings.clock

    @property
    def addresses(self) -> Sequence[str]:
        """Those of the buckets, as repositories may name them, in the order given."""
        return [*self._buckets]

    def address_for(self, bucket: str, tenant_id: int, repository_id: str) -> str:
        """Return the address of a new repository's own folder in one of the buckets.

        Raises:
            InvalidAddress: If the bucket is none of them.
        """
        known = self._known(bucket)
        return f"{known.address}/t{tenant_id}/{repository_id}"

    def place_of(self, repository: ManagedRepository) -> Place:
        """Return where a repository stands; its bucket is opened if need be.

        Raises:
            InputError: If the bucket's transport cannot sign requests for others.
            TransportUnavailable: If its bucket is none of this server's, or does not answer.
            AccessRefused: If it refuses.
            PartMissing: If a library is not installed.
        """
        bucket, folder = self._bucket_of(repository)
        transport = self._open(bucket)
        return Place(transport, check_signing(transport, bucket.address), f"{folder}/")

    def probe(self, bucket: str) -> Enforcement:
        """Find out what a bucket enforces, once for as long as this object lives.

        The bucket is created if there is none. ``bucket`` is one of `addresses`.

        Raises:
            InvalidAddress: If it is none of them.
            InputError: If what it enforces cannot be found out.
            TransportUnavailable: If it does not answer.
            AccessRefused: If it refuses.
            PartMissing: If a library is not installed.
        """
        known = self._known(bucket)
        transport = self._open(known)
        with known.lock:
            if not known.enforces:
                if not isinstance(transport, CanProbe):
                    raise InputError(f"{without_secret(bucket)} cannot be asked what it enforces")
                transport.prepare()
                known.enforces.append(transport.probe())
            return known.enforces[0]

    def enforcement_of(
        self, repositories: Repositories, repository: ManagedRepository
    ) -> Enforcement:
        """Return what a repository's bucket enforces; found out and recorded if nobody did.

        Raises:
            RepositoryNotFound: If it is gone.
            InputError: If what it enforces cannot be found out.
            TransportUnavailable: If its bucket is none of this server's, or does not answer.
            AccessRefused: If it refuses.
        """
        if repository.enforces is not None:
            return repository.enforces
        found = self.probe(self._bucket_of(repository)[0].address)
        repositories.record_enforcement(repository.id, found)
        return found

    @override
    def close(self) -> None:
        for bucket in self._buckets.values():
            with bucket.lock:
                while bucket.opened:
                    bucket.opened.pop().close()

    def _known(self, bucket: str) -> _Bucket:
        try:
            return self._buckets[bucket.rstrip("/")]
        except KeyError:
            raise InvalidAddress(
                f"{without_secret(bucket)} is none of the buckets that this server signs for"
            ) from None

    def _open(self, bucket: _Bucket) -> Transport:
        with bucket.lock:
            if not bucket.opened:
                bucket.opened.append(
                    open_transport(self._plugins, bucket.address, self._surroundings)
                )
            return bucket.opened[0]

    def _bucket_of(self, repository: ManagedRepository) -> tuple[_Bucket, str]:
        """Return the bucket that holds a repository, and the repository's folder in it.

        Raises:
            TransportUnavailable: If it is none of this server's.
        """
        for address in sorted(self._buckets, key=len, reverse=True):
            folder = repository.address.removeprefix(f"{address}/")
            if folder != repository.address:
                return self._buckets[address], check_object_name(folder)
        raise TransportUnavailable(
            f"the repository '{repository.name}' stands at {without_secret(repository.address)}, "
            "which is in none of the buckets that this server signs for; name its bucket in the "
            "settings"
        )
