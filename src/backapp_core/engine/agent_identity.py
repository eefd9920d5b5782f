"""Who this machine is to its server: joined once, remembered in its folder, the key apart."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from attrs import evolve, field, frozen

from backapp_core.codec import from_plain, to_plain
from backapp_core.errors import (
    BackappError,
    InputError,
    InvalidSettings,
    NameTaken,
    StoreUnavailable,
    TokenRefused,
)
from backapp_core.manager import PluginManager
from backapp_core.model.names import to_line
from backapp_core.ports.store_kinds import StoreKind
from backapp_core.ports.surroundings import Surroundings
from backapp_core.secret_files import read_secret_file, write_private_file
from backapp_core.wire import AGENT_KEY_PREFIX, ENROLMENT_PREFIX

IDENTITY = "agent.json"
KEY = "key"
_KEY_BYTES = 32
_ID_BYTES = 16


@frozen
class Identity:
    """One machine at one server."""

    url: str
    """Of the server."""
    agent_id: str
    name: str = ""
    """What the server calls the machine; empty while it has not answered."""
    tenant: str = ""
    token_sha256: str = ""
    """Of the enrolment token while the server has not answered; 64 hex digits."""

    @property
    def is_enrolled(self) -> bool:
        """Whether the server knows the machine."""
        return bool(self.name)


@frozen
class Enrolment:
    """An identity and its key."""

    identity: Identity
    key: str = field(repr=False)


def store_kind(plugins: PluginManager, url: str) -> StoreKind:
    """Return the kind of store that a server's address names.

    Raises:
        InputError: If it is no address.
        UnknownPlugin: If no installed store opens such.
    """
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise InputError(
            f"'{to_line(url)}' is no address of a server; write it like https://backup.example.org"
        )
    return plugins.store_for(scheme.lower().partition("+")[0])


def enrol(
    plugins: PluginManager,
    surroundings: Surroundings,
    folder: Path,
    url: str,
    token: str,
    *,
    before: Callable[[], None] = lambda: None,
) -> Identity:
    """Let this machine join the server at ``url``; again with the same token if that was cut short.

    Id and key are on the disk, for their owner alone, before they are sent.

    Args:
        plugins: What is installed.
        surroundings: Where chance comes from.
        folder: The agent's own.
        url: The address of the server.
        token: What the server gave for one machine.
        before: Called when the server has answered, before the machine counts as enrolled.

    Raises:
        NameTaken: If this machine is enrolled already, or another got the name meanwhile.
        TokenRefused: If it is no token, or one that is unknown, used or expired; says which.
        InputError: If the address makes no sense, or the folder cannot be written.
        StoreUnavailable: If the server does not answer; the same command may be given again.
        PluginError: If no installed store opens such an address.
        BackappError: What else the server says. Unless it did not answer, nothing is left here.
    """
    kind = store_kind(plugins, url)
    if not token.startswith(ENROLMENT_PREFIX):
        raise TokenRefused(
            f"that is no enrolment token, which begins with {ENROLMENT_PREFIX}; "
            "the page of machines gives one"
        )
    begun = _begin(surroundings, folder, url, token)
    try:
        enrolled = kind.enrol(url, token, begun.identity.agent_id, begun.key, surroundings)
    except StoreUnavailable:
        raise  # perhaps it was heard: the same id and key are needed again
    except BackappError:
        (folder / IDENTITY).unlink(missing_ok=True)
        (folder / KEY).unlink(missing_ok=True)
        raise
    before()
    identity = evolve(begun.identity, name=enrolled.name, tenant=enrolled.tenant, token_sha256="")
    _write(folder, identity)
    return identity


def load(folder: Path) -> Enrolment:
    """Return who this machine is.

    Raises:
        InputError: If it was not enrolled, or the key cannot be read or may be read by others.
    """
    identity = _read(folder)
    if identity is None or not identity.is_enrolled:
        raise InputError(
            f"this machine is not enrolled (in {to_line(str(folder))}); "
            "run: backapp agent enrol URL --token TOKEN"
        )
    return Enrolment(identity, read_secret_file(str(folder / KEY)))


def _begin(surroundings: Surroundings, folder: Path, url: str, token: str) -> Enrolment:
    known = _read(folder)
    shown = to_line(str(folder / IDENTITY))
    if known is not None and known.is_enrolled:
        raise NameTaken(
            f"this machine is enrolled as '{known.name}' at {known.url} already; to enrol it anew, "
            f"remove {shown} first"
        )
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    if known is not None and (known.url, known.token_sha256) == (url, digest):
        # The answer to this may have been lost.
        return Enrolment(known, read_secret_file(str(folder / KEY)))
    identity = Identity(
        url=url,
        agent_id=surroundings.random_bytes(_ID_BYTES).hex(),
        token_sha256=digest,
    )
    key = AGENT_KEY_PREFIX + surroundings.random_bytes(_KEY_BYTES).hex()
    # The key first: an identity without its key would be worth nothing.
    (folder / IDENTITY).unlink(missing_ok=True)
    write_private_file(folder / KEY, f"{key}\n")
    _write(folder, identity)
    return Enrolment(identity, key)


def _read(folder: Path) -> Identity | None:
    path = folder / IDENTITY
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{to_line(str(path))} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidSettings(str(path), [("", "is no JSON")]) from error
    return from_plain(plain, Identity, source=f"the file {path}")


def _write(folder: Path, identity: Identity) -> None:
    write_private_file(folder / IDENTITY, json.dumps(to_plain(identity), indent=2) + "\n")
