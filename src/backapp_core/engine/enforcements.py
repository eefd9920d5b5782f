"""Finds out what a destination enforces of signed requests, and remembers it on this machine."""

import json
from pathlib import Path

from backapp_core.codec import from_plain, to_plain
from backapp_core.errors import InputError, InvalidSettings, TransportError
from backapp_core.events import Level, LogLine
from backapp_core.model.enforcements import Enforcement
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import CanProbe, Transport
from backapp_core.secret_files import write_private_file


def find_out(
    surroundings: Surroundings, transport: Transport, repository_id: str
) -> Enforcement | None:
    """Probe the destination of a repository and remember what comes of it; None if it has no need.

    A state folder that cannot be used is a warning.

    Raises:
        TransportError: If the destination does not answer, or refuses what a backup needs as well.
    """
    if not isinstance(transport, CanProbe):
        return None
    found = transport.probe()
    try:
        write_private_file(_path(surroundings, repository_id), json.dumps(to_plain(found)))
    except InputError as error:
        text = f"what {transport.address} enforces cannot be remembered: {error.message}"
        surroundings.events(LogLine(Level.WARNING, text))
    return found


def find_out_at_first(surroundings: Surroundings, transport: Transport, repository_id: str) -> None:
    """Find out what a new repository's destination enforces.

    That it cannot be found out is a warning, and so is a place where several machines may replace
    one another's objects.
    """
    try:
        found = find_out(surroundings, transport, repository_id)
    except TransportError as error:
        text = f"what {transport.address} enforces of signed requests is not known: {error.message}"
        surroundings.events(LogLine(Level.WARNING, text))
        return
    if found is not None and not found.create_only:
        text = (
            f"{transport.address} replaces objects where they were to be created only; "
            "let one machine at a time write there"
        )
        surroundings.events(LogLine(Level.WARNING, text))


def known(surroundings: Surroundings, repository_id: str) -> Enforcement | None:
    """Return what was found out when the repository was last probed from this machine, if it was.

    A record that cannot be read counts as none.
    """
    try:
        plain = json.loads(_path(surroundings, repository_id).read_bytes())
        return from_plain(plain, Enforcement, source="record of what a destination enforces")
    except (OSError, ValueError, InvalidSettings):
        return None


def _path(surroundings: Surroundings, repository_id: str) -> Path:
    return surroundings.state_folder / "enforcements" / f"{repository_id}.json"
