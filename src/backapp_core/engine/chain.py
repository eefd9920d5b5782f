"""Checks the chain of a repository's receipts, from the first to the last."""

from datetime import datetime

from attrs import frozen

from backapp_core.model.receipts import ChainCheck
from backapp_core.ports.fleet import Fleet
from backapp_core.ports.tenants import TenantStore

_AT_ONCE = 1000


@frozen
class Chain:
    """What became of a check."""

    receipts: int
    """How many there are up to the break, or in all."""
    first_break: int | None
    """The number at which they stop being a chain, None if they are one."""
    last_hash: str
    """Of the last of those; whoever wrote it down earlier can compare."""
    checked_at: datetime
    """By the store's clock."""


def check_chain(fleet: Fleet, store: TenantStore, name: str) -> Chain:
    """Look whether a repository's receipts are a chain, in the order in which they were given.

    A thousand are in memory at a time, each part read in a transaction of its own: receipts are
    only ever appended, so that those that come meanwhile are looked at, too.

    Raises:
        RepositoryNotFound: If there is no repository of this id or name.
        StoreUnavailable: If a receipt cannot be read.
    """
    repository = store.repositories.get(name)
    check = ChainCheck()
    while check.first_break is None:
        part = store.repositories.receipts_after(repository.id, check.receipts, limit=_AT_ONCE)
        for receipt in part:
            check.add(receipt)
        if len(part) < _AT_ONCE:
            break
    return Chain(check.receipts, check.first_break, check.last_hash, fleet.now())
