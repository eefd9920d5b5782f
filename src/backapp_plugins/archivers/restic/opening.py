"""Creates a repository, and opens one with a password."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from backapp_core.plugin_api import (
    DamagedRepository,
    Keys,
    ObjectExists,
    ObjectMissing,
    Repository,
    RepositoryExists,
    Surroundings,
    Transport,
    UnknownFormat,
    WrongPassword,
)
from backapp_plugins.archivers.restic.access.keys import OpenedKey, add_key, open_key
from backapp_plugins.archivers.restic.format.blobs import BlobCodec
from backapp_plugins.archivers.restic.format.config import (
    Config,
    decode_config,
    encode_config,
    new_config,
)
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import (
    CONFIG_NAME,
    DATA,
    INDEX,
    KEYS,
    SNAPSHOTS,
)
from backapp_plugins.archivers.restic.format.unpacked import (
    DocumentBroken,
    open_document,
    seal_description,
)
from backapp_plugins.archivers.restic.presence import has_any, has_config
from backapp_plugins.archivers.restic.settings import ResticSettings

_TRIES = 2
_Opened: TypeAlias = Callable[[Transport, Config, OpenedKey, Surroundings], Repository]


def create(
    transport: Transport, settings: ResticSettings, keys: Keys, surroundings: Surroundings
) -> Repository:
    """Write the first key and the description, and open the repository.

    The description comes last and decides: of two that create one at the same place one fails. A
    creation that was interrupted before it left a key behind and nothing else; with the password
    of that key it is carried on.

    Raises:
        InputError: If the polynomial makes no sense.
        RepositoryExists: If one stands there, or parts of one.
        WrongPassword: If there is no password.
    """
    opened, password = _imported(), _password(keys)
    config = new_config(surroundings.random_bytes, settings.chunker, settings.polynomial)
    transport.prepare()
    address = transport.address
    if has_config(transport) or any(
        has_any(transport, folder) for folder in (SNAPSHOTS, INDEX, DATA)
    ):
        raise RepositoryExists(f"a repository, or a part of one, already stands at {address}")
    if has_any(transport, KEYS):
        try:
            key = open_key(transport, password, surroundings)
        except (WrongPassword, DamagedRepository, UnknownFormat) as error:
            raise RepositoryExists(
                f"a key stands in {KEYS} at {address} that this password does not open; remove it "
                "if no repository is wanted there"
            ) from error
    else:
        master = MasterKey(*map(surroundings.random_bytes, (32, 16, 16)))
        key = OpenedKey(add_key(transport, master, password, surroundings), master)
    codec = BlobCodec(key.master, surroundings.random_bytes)
    sealed = seal_description(codec, encode_config(config))
    try:
        transport.put(CONFIG_NAME, [sealed], size_bytes=len(sealed))
    except ObjectExists as error:
        # What stands there is ours if only the answer to storing it was lost: no two seal alike.
        if transport.read(CONFIG_NAME) != sealed:
            raise RepositoryExists(f"a repository already stands at {address}") from error
    return opened(transport, config, key, surroundings)


def open_repository(transport: Transport, keys: Keys, surroundings: Surroundings) -> Repository:
    """Open the master key and the description.

    Raises:
        WrongPassword: If there is no password, or it opens no key.
        UnknownFormat: If it is of a version that this program does not know.
        DamagedRepository: If the description is altered or gone, or no key is whole.
    """
    password = _password(keys)
    with ThreadPoolExecutor(1, "key") as pool:
        opening = pool.submit(open_key, transport, password, surroundings)
        opened = _imported()  # beside the half second of native code that makes a key
        key = opening.result()
    return opened(transport, _read_config(transport, key, surroundings), key, surroundings)


def _imported() -> _Opened:
    """Return what makes a repository of what was opened; its imports take a tenth of a second."""
    from backapp_plugins.archivers.restic.place import Place
    from backapp_plugins.archivers.restic.repository import ResticRepository

    def opened(
        transport: Transport, config: Config, key: OpenedKey, surroundings: Surroundings
    ) -> Repository:
        return ResticRepository(Place(transport, config, key, surroundings))

    return opened


def _read_config(transport: Transport, key: OpenedKey, surroundings: Surroundings) -> Config:
    codec = BlobCodec(key.master, surroundings.random_bytes)
    reason = ""
    for _ in range(_TRIES):
        try:
            document = open_document(codec, transport.read(CONFIG_NAME))
        except ObjectMissing as error:
            raise DamagedRepository(f"{CONFIG_NAME} is missing at {transport.address}") from error
        except DocumentBroken as error:
            reason = str(error)
            continue
        return decode_config(document, address=transport.address)
    raise DamagedRepository(f"{CONFIG_NAME} at {transport.address} is damaged: {reason}")


def _password(keys: Keys) -> str:
    password = keys.password() if keys.password is not None else ""
    if not password:
        raise WrongPassword(
            "a restic repository is encrypted, and no password was handed in; give one with "
            "--password-file, in Python with keys=keys_from(password_file=...)"
        )
    return password
