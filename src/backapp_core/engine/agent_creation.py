"""Makes a repository as a whole, however often this machine ends on the way.

Whoever signs lets through one config and one key, the first that are asked for, and later the same
bytes again. No two creations come to the same bytes, which is also how this machine tells what it
made from what others put into a folder. So what is to be stored is made in a folder of this
machine, kept in a file, and stored from there until it is all in place.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from backapp_core.codec import from_plain, to_plain
from backapp_core.engine import watch
from backapp_core.engine.addresses import open_transport
from backapp_core.engine.opening import check_free, recognise
from backapp_core.errors import InputError, ObjectExists, RepositoryExists
from backapp_core.manager import PluginManager
from backapp_core.model.grants import ObjectSort
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.transports import Transport
from backapp_core.secret_files import write_private_file


@frozen
class _Made:
    """A new repository that this machine made, to be stored."""

    objects: tuple[tuple[str, str], ...]
    """Name and content, in hex digits; what makes a repository of it comes last."""


def store_new(
    plugins: PluginManager,
    surroundings: Surroundings,
    address: str,
    *,
    archiver: str,
    keys: Keys,
    file: Path,
) -> None:
    """Make a repository at ``address``, or store what an earlier call could not store any more.

    ``file`` is of this machine's owner alone, and holds what is to be stored before any of it is;
    `forget` removes it. Until then, calling it again is fine. One call at a time.

    Raises:
        RepositoryExists: If a repository stands there, or a part of one, of which ``file`` does not
            say that it was made here.
        InputError: If the file cannot be written or used, or something else stands there.
        PluginError: If the archiver or a transport for the address is not installed.
        TransportError: If the destination cannot be reached, refuses, or is full.
    """
    transport = open_transport(plugins, address, surroundings)
    try:
        if file.exists():
            made = _read(file)
            if (there := recognise(plugins, transport)) is not None:
                # What makes a repository of it was stored last, so that nothing is left to store.
                _check_own(transport, *made.objects[-1], is_alike=there.name == archiver)
                return
        else:
            check_free(plugins, transport)
            folder = file.with_suffix(".making")
            at = transport.address
            made = _Made(_made(plugins, surroundings, at, folder, archiver=archiver, keys=keys))
            write_private_file(file, json.dumps(to_plain(made)))
        transport.prepare()
        for name, content in made.objects:
            _store(transport, name, bytes.fromhex(content))
    finally:
        transport.close()


def forget(file: Path) -> None:
    """Remove what `store_new` kept, once the repository is known to be in place."""
    with suppress(OSError):  # it is in nobody's way
        file.unlink(missing_ok=True)


def _made(
    plugins: PluginManager,
    surroundings: Surroundings,
    address: str,
    folder: Path,
    *,
    archiver: str,
    keys: Keys,
) -> tuple[tuple[str, str], ...]:
    """Return what the archiver stores for a new repository, made in ``folder``, which is gone then.

    It is known from then on as what this machine put at ``address``.

    Raises:
        InputError: If the folder cannot be used.
    """
    kind = plugins.archivers.get(archiver)
    settings = from_plain({}, kind.settings, source=f"options of archiver {archiver}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(folder, ignore_errors=True)  # of a process that ended on the way
        with open_transport(plugins, str(folder), surroundings) as transport:
            with kind.create(transport, settings, keys, surroundings) as repository:
                watch.know(surroundings, address, repository)
            found = [
                (kind.sort_of(info.name) is ObjectSort.CONFIG, info.name, transport.read(info.name))
                for info in transport.list()
            ]
        shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be used: {error.strerror or error}") from error
    return tuple((name, content.hex()) for _, name, content in sorted(found))


def _check_own(transport: Transport, name: str, content: str, *, is_alike: bool) -> None:
    """Return if the repository that stands there is the one that was made here.

    Raises:
        RepositoryExists: If it is another.
    """
    if not (is_alike and transport.read(name) == bytes.fromhex(content)):
        raise RepositoryExists(f"another repository stands at {transport.address}")


def _store(transport: Transport, name: str, content: bytes) -> None:
    """Store an object, if that was not done before.

    Raises:
        RepositoryExists: If another stands there.
    """
    with suppress(ObjectExists):
        transport.put(name, [content], size_bytes=len(content))
    if transport.read(name) != content:
        raise RepositoryExists(
            f"a part of another repository stands at {transport.address}: {name} is not what this "
            "machine stored"
        )


def _read(file: Path) -> _Made:
    """Return what was kept.

    Raises:
        InputError: If it cannot be used.
    """
    try:
        made = from_plain(json.loads(file.read_bytes()), _Made, source=f"the file {file}")
        for _, content in made.objects:
            bytes.fromhex(content)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}, which holds what this machine was about to store, cannot be read: {error}"
        ) from error
    return made
