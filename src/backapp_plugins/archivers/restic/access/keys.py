"""The keys of a repository: any of several passwords opens one and the same master key.

Key files stand in ``keys/``, each named by its hash. A new one is durable, and has been read back,
before an old one goes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from attrs import frozen

from backapp_core.plugin_api import (
    DamagedRepository,
    InputError,
    Level,
    LogLine,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    Surroundings,
    Transport,
    UnknownFormat,
    WrongPassword,
    host_name,
    user_name,
)
from backapp_plugins.archivers.restic.access import key_files
from backapp_plugins.archivers.restic.access.key_files import KeyBroken, KeyFile, KeyRefused
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import KEYS, id_of, named_id

MOST_TRIED = 20
"""Each costs half a second; restic gives up there, too."""
Fault = DamagedRepository | UnknownFormat
"""What is wrong with one key, which need not matter while there are others."""
_ALTERED = "its content does not have the hash that it is named by"


@frozen
class OpenedKey:
    """The master key, and which key file it came from."""

    id: bytes
    master: MasterKey


@frozen
class ReadableKey:
    """A key file that can be tried."""

    id: bytes
    file: KeyFile
    is_altered: bool
    """Whether its content is not what its name says; what opens may open all the same."""


def open_key(
    transport: Transport, password: str, surroundings: Surroundings, *, hint: str = ""
) -> OpenedKey:
    """Open the master key with a password.

    What is wrong with other keys is reported once one has opened.

    Args:
        transport: Where the repository stands.
        password: The password of any key.
        surroundings: Told of keys that cannot be used.
        hint: How the id of a key begins that is to be tried first.

    Raises:
        WrongPassword: If it is the password of none.
        DamagedRepository: If there is no key, or only altered ones.
        UnknownFormat: If there are only keys that are derived in ways not done here.
    """
    faults: list[Fault] = []
    secret = _encoded(password)
    tried = misfits = 0
    for candidate in readable_keys(transport, stored_keys(transport, hint), faults):
        if tried == MOST_TRIED:
            raise WrongPassword(
                f"the password opens none of the first {MOST_TRIED} keys at {transport.address} "
                "and there are more; name the key that it belongs to"
            )
        tried += 1
        try:
            master = key_files.open_master_key(candidate.file, secret)
        except (KeyBroken, KeyRefused) as error:
            faults.append(_fault(key_name(candidate.id), error))
            continue
        if master is not None:
            report_faults(surroundings, faults)
            return OpenedKey(candidate.id, master)
        misfits += not candidate.is_altered
    if misfits:
        beside = "".join(f"; {fault.message}" for fault in faults)
        raise WrongPassword(f"wrong password: it opens no key at {transport.address}{beside}")
    if faults:
        raise faults[0]
    raise DamagedRepository(
        f"there is no key at {transport.address}, and nothing there can be read without one; "
        f"bring back what stood in {KEYS}"
    )


def add_key(
    transport: Transport, master: MasterKey, password: str, surroundings: Surroundings
) -> bytes:
    """Store a key file by which ``password`` opens ``master``, and return its id.

    When this returns, the file is durable and what was read back is what was written. The lock is
    the caller's business; a repository that is being created has none.

    Raises:
        InputError: If the password is empty.
        DamagedRepository: If something else comes back.
    """
    if not password:
        raise InputError("an empty password protects nothing; choose another")
    content = key_files.seal_master_key(
        master,
        _encoded(password),
        surroundings.random_bytes,
        created_at=surroundings.clock.now(),
        username=user_name(),
        hostname=host_name(),
    )
    key_id = id_of(content)
    name = key_name(key_id)
    # The name is nobody else's, for the key is sealed by chance: it was stored, unheard.
    with suppress(ObjectExists):
        transport.put(name, [content], size_bytes=len(content))
    if transport.read(name) != content:
        raise DamagedRepository(f"{name} does not come back from {transport.address} as written")
    return key_id


def stored_keys(transport: Transport, hint: str = "") -> Sequence[tuple[bytes, ObjectInfo]]:
    """Return id and facts of all key files, those first whose ids begin with ``hint``."""
    named = [(named_id(info.name), info) for info in transport.list(KEYS)]
    found = [(one, info) for one, info in named if one is not None]
    return sorted(found, key=lambda item: (not item[0].hex().startswith(hint), item[0]))


def readable_keys(
    transport: Transport,
    names: Iterable[tuple[bytes, ObjectInfo]],
    faults: list[Fault],
) -> Iterator[ReadableKey]:
    """Yield the keys among ``names`` that can be tried, and add what is wrong to ``faults``.

    A file that was altered comes last: what was altered may be only the name of a host.
    """
    altered: list[ReadableKey] = []
    for key_id, info in names:
        try:
            candidate = _read(transport, key_id, info)
        except ObjectMissing:
            continue  # removed since it was listed
        except (KeyBroken, KeyRefused) as error:
            faults.append(_fault(info.name, error))
            continue
        if candidate.is_altered:
            faults.append(_fault(info.name, KeyBroken(_ALTERED)))
            altered.append(candidate)
        else:
            yield candidate
    yield from altered


def report_faults(surroundings: Surroundings, faults: Iterable[Fault]) -> None:
    """Say what is wrong with keys that were not needed."""
    for fault in faults:
        surroundings.events(LogLine(Level.WARNING, fault.message))


def key_name(key_id: bytes) -> str:
    """Return the object name of a key file."""
    return f"{KEYS}{key_id.hex()}"


def _read(transport: Transport, key_id: bytes, info: ObjectInfo) -> ReadableKey:
    if info.size_bytes > key_files.LARGEST_FILE_BYTES:
        raise KeyBroken(f"it has {info.size_bytes} bytes, which no key file has")
    content = transport.read(info.name)
    if id_of(content) != key_id:
        content = transport.read(info.name)  # one bad transfer is no damage
    is_altered = id_of(content) != key_id
    try:
        file = key_files.decode_key_file(content)
    except (KeyBroken, KeyRefused) as error:
        if is_altered:
            raise KeyBroken(_ALTERED) from error
        raise
    return ReadableKey(key_id, file, is_altered)


def _fault(name: str, error: KeyBroken | KeyRefused) -> Fault:
    if isinstance(error, KeyRefused):
        return UnknownFormat(f"{name} cannot be used: {error}")
    return DamagedRepository(f"{name} is damaged: {error}")


def _encoded(password: str) -> bytes:
    # What an environment variable holds need not be UTF-8; restic takes the bytes.
    return password.encode("utf-8", "surrogateescape")
