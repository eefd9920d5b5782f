"""Sorts of stores that plugins offer."""

from __future__ import annotations  # what only servers and agents need is imported by need

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from backapp_core.errors import InputError
from backapp_core.ports.stores import Store
from backapp_core.ports.surroundings import Surroundings

if TYPE_CHECKING:
    from backapp_core.ports.fleet import Fleet
    from backapp_core.ports.work import Work
    from backapp_core.wire import Enrolled


def _no_fleet(url: str, surroundings: Surroundings) -> Fleet:
    del surroundings
    raise InputError(f"a server cannot keep what it knows in {url.partition(':')[0]}: stores")


def _no_work(url: str, key: str, surroundings: Surroundings) -> Work:
    del key, surroundings
    raise InputError(f"an agent cannot work for {url.partition(':')[0]}: stores")


def _no_enrolment(
    url: str, token: str, agent_id: str, key: str, surroundings: Surroundings
) -> Enrolled:
    del token, agent_id, key, surroundings
    raise InputError(f"a machine cannot join {url.partition(':')[0]}: stores")


@frozen
class StoreKind:
    """A sort of store that a plugin offers."""

    name: str
    schemes: frozenset[str]
    """URL schemes it opens (``sqlite``); no two kinds may claim the same."""
    open: Callable[[str, Surroundings], Store]
    """Opens the store at a URL, creating it and bringing it up to date as needed.

    Both are safe beside other processes.

    Raises:
        InvalidAddress: If the URL makes no sense.
        StoreUnavailable: If it cannot be opened or created.
        StoreTooNew: If a newer BackApp wrote it.
        PartMissing: If a library is not installed.
    """
    open_fleet: Callable[[str, Surroundings], Fleet] = _no_fleet
    """Opens what a server remembers at a URL, as `open` does.

    Raises:
        InputError: Where this kind holds no such thing; besides what `open` raises.
    """
    open_work: Callable[[str, str, Surroundings], Work] = _no_work
    """Opens one agent's part of what a server remembers, at the server's URL, with the agent's key.

    What it returns also implements `CanIssueGrants`, and `CanWake` and `Closing` where there is
    something to hear or to close. It connects when it is first used.

    Raises:
        InputError: Where this kind knows no servers.
        InvalidAddress: If the URL makes no sense.
        PartMissing: If a library is not installed.
    """
    enrol: Callable[[str, str, str, str, Surroundings], Enrolled] = _no_enrolment
    """Lets a machine join the server at a URL: token, and the id and key that the machine chose.

    Doing so again with the same three gives the same answer.

    Raises:
        InputError: Where this kind knows no servers.
        InvalidAddress: If the URL makes no sense.
        TokenRefused: If the token is unknown, used or expired; says which.
        NameTaken: If a machine of that name joined meanwhile.
        StoreUnavailable: If the server does not answer.
        PartMissing: If a library is not installed.
    """
