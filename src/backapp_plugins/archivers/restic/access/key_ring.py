"""Verbs for the keys of an opened repository: list, add, remove, change the password."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import final

from attrs import frozen

from backapp_core.plugin_api import InputError, Surroundings, Transport
from backapp_plugins.archivers.restic.access.holding import Hold, hold
from backapp_plugins.archivers.restic.access.keys import (
    Fault,
    OpenedKey,
    add_key,
    key_name,
    readable_keys,
    report_faults,
    stored_keys,
)


@frozen
class KeyInfo:
    """What can be known of a key without its password."""

    id: bytes
    created_at: datetime
    username: str
    hostname: str
    is_current: bool
    """Whether the repository was opened with it."""


@final
class KeyRing:
    """The keys of an opened repository, and the verbs for them.

    Removal excludes all other work there, as with restic: of two processes that remove one
    another's keys, both could succeed, and nobody could open the repository any more.
    """

    def __init__(
        self,
        transport: Transport,
        opened: OpenedKey,
        surroundings: Surroundings,
        *,
        version: int,
    ) -> None:
        """Speak of the repository that ``opened`` opens; ``version`` is that of its format."""
        self._transport = transport
        self._opened = opened
        self._surroundings = surroundings
        self._version = version

    @property
    def current(self) -> OpenedKey:
        """The key in use, which is another one after `change_password`."""
        return self._opened

    def list(self) -> Sequence[KeyInfo]:
        """Return all keys, oldest first; one that cannot be read is reported and left out."""
        faults: list[Fault] = []
        names = stored_keys(self._transport)
        found = [
            KeyInfo(
                id=each.id,
                created_at=each.file.created,
                username=each.file.username,
                hostname=each.file.hostname,
                is_current=each.id == self._opened.id,
            )
            for each in readable_keys(self._transport, names, faults)
        ]
        report_faults(self._surroundings, faults)
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def named(self, prefix: str) -> bytes:
        """Return the id of the one key whose id begins with these hex digits.

        Raises:
            InputError: If none does, or several do.
        """
        found = [one for one, _ in stored_keys(self._transport) if one.hex().startswith(prefix)]
        if not prefix or not found:
            raise InputError(f"there is no key '{prefix}' at {self._transport.address}")
        if len(found) > 1:
            raise InputError(f"the ids of {len(found)} keys begin with '{prefix}'; give more of it")
        return found[0]

    def add(self, password: str) -> bytes:
        """Let another password open the repository, too, and return the id of its key.

        Raises:
            InputError: If the password is empty.
            RepositoryLocked: If another process excludes this.
        """
        with self._hold(is_exclusive=False):
            return self._add(password)

    def remove(self, key_id: bytes) -> None:
        """Let the password of one key open the repository no longer.

        Whoever opened it before may have kept the master key, which stays the same.

        Raises:
            InputError: If it is the key in use, or there is no such key.
            RepositoryLocked: If another process uses the repository.
        """
        if key_id == self._opened.id:
            raise InputError(
                f"key {_short(key_id)} is the one in use and is not removed; "
                "open the repository with another password first"
            )
        with self._hold(is_exclusive=True) as require:
            standing = {one for one, _ in stored_keys(self._transport)}
            if key_id not in standing:
                raise InputError(f"there is no key {_short(key_id)} at {self._transport.address}")
            if self._opened.id not in standing:
                raise InputError(
                    f"key {_short(key_id)} is not removed, for the key in use was removed "
                    "meanwhile and this one may be the last"
                )
            require()
            self._transport.delete(key_name(key_id))

    def change_password(self, password: str) -> bytes:
        """Replace the key in use by one with another password, and return the new id.

        Interrupted at any point, the old password opens the repository, or the new, or both.

        Raises:
            InputError: If the password is empty.
            RepositoryLocked: If another process uses the repository.
        """
        with self._hold(is_exclusive=True) as require:
            key_id = self._add(password)
            require()
            before, self._opened = self._opened, OpenedKey(key_id, self._opened.master)
            self._transport.delete(key_name(before.id))
        return key_id

    def _add(self, password: str) -> bytes:
        return add_key(self._transport, self._opened.master, password, self._surroundings)

    def _hold(self, *, is_exclusive: bool) -> AbstractContextManager[Hold]:
        return hold(
            self._transport,
            self._opened.master,
            self._surroundings,
            version=self._version,
            is_exclusive=is_exclusive,
        )


def _short(key_id: bytes) -> str:
    return key_id.hex()[:8]
