"""The object ``config``: what a repository says of itself."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
from attrs import field, frozen

from backapp_core.plugin_api import DamagedRepository, InputError, UnknownFormat
from backapp_plugins.archivers.restic.format.layout import (
    CONFIG_NAME,
    ID_BYTES,
    READABLE_VERSIONS,
    WRITTEN_VERSION,
)
from backapp_plugins.archivers.restic.format.polynomial import (
    polynomial_from_text,
    polynomial_to_text,
    random_polynomial,
)

Chunking = Literal["rabin", "fastcdc"]
_CHUNKER = "backapp_chunker"
"""A key of our own; restic passes over it."""
_KNOWN = frozenset({"version", "id", "chunker_polynomial", _CHUNKER})
_HexId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


@frozen
class Config:
    """What is decided when a repository is created."""

    version: int
    id: str
    """64 hex digits."""
    chunker_polynomial: int
    """Irreducible, of degree 53."""
    chunker: Chunking = "rabin"
    """How new files are cut; restic's own way unless the repository says otherwise."""
    extra: Mapping[str, msgspec.Raw] = field(factory=dict[str, msgspec.Raw], repr=False)
    """What other programs keep there, as they wrote it."""

    @property
    def is_append_only(self) -> bool:
        """Whether rustic was told that nothing may be deleted here; we are told so, too."""
        return _flag(self.extra, "append_only")


class _Known(msgspec.Struct, frozen=True):
    id: _HexId
    chunker_polynomial: str
    backapp_chunker: str = "rabin"


class _Versioned(msgspec.Struct, frozen=True):
    version: int


def new_config(
    random_bytes: Callable[[int], bytes], chunker: Chunking, polynomial: str = ""
) -> Config:
    """Return the description of a repository that is about to be created.

    Raises:
        InputError: If the polynomial is none that files can be cut by.
    """
    try:
        chosen = polynomial_from_text(polynomial) if polynomial else random_polynomial(random_bytes)
    except ValueError as error:
        raise InputError(f"the repository cannot be created: {error}") from error
    return Config(
        version=WRITTEN_VERSION,
        id=random_bytes(ID_BYTES).hex(),
        chunker_polynomial=chosen,
        chunker=chunker,
    )


def encode_config(config: Config) -> bytes:
    """Return the document that ``config`` holds before it is sealed."""
    document: dict[str, object] = {
        "version": config.version,
        "id": config.id,
        "chunker_polynomial": polynomial_to_text(config.chunker_polynomial),
    }
    if config.chunker != "rabin":
        document[_CHUNKER] = config.chunker
    return msgspec.json.encode({**document, **config.extra})


def decode_config(document: bytes, *, address: str) -> Config:
    """Return what a repository says of itself.

    Args:
        document: What stands in ``config``, opened.
        address: Where it stands, for the messages.

    Raises:
        UnknownFormat: If it is of a version, or of a kind, that this program does not know.
        DamagedRepository: If it is no description of a repository.
    """
    try:
        version = msgspec.json.decode(document, type=_Versioned).version
        _refuse_unknown(version, address)
        known = msgspec.json.decode(document, type=_Known)
        everything = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
        extra = {name: value for name, value in everything.items() if name not in _KNOWN}
        _refuse_hot(extra, address)
        _flag(extra, "append_only")
        return Config(
            version=version,
            id=known.id,
            chunker_polynomial=polynomial_from_text(known.chunker_polynomial),
            chunker=_chunking(known.backapp_chunker, address),
            extra=extra,
        )
    except (ValueError, RecursionError) as error:  # malformed JSON is the first, too
        raise DamagedRepository(f"{CONFIG_NAME} at {address} is damaged: {error}") from error


def _refuse_unknown(version: int, address: str) -> None:
    if version not in READABLE_VERSIONS:
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise UnknownFormat(
            f"the repository at {address} has version {version} of restic's format, and this "
            f"program knows {known}; a newer one may know it"
        )


def _chunking(name: str, address: str) -> Chunking:
    match name:
        case "rabin" | "fastcdc":
            return name
        case _:
            raise UnknownFormat(
                f"the repository at {address} has its files cut by {name!a}, which this program "
                "does not know; a newer one may know it"
            )


def _refuse_hot(extra: Mapping[str, msgspec.Raw], address: str) -> None:
    if _flag(extra, "is_hot"):
        raise UnknownFormat(
            f"at {address} stands the hot part of a repository that rustic has split in two, which "
            "holds no file contents; name the address of its cold part"
        )


def _flag(extra: Mapping[str, msgspec.Raw], name: str) -> bool:
    raw = extra.get(name)
    # Rustic's settings may be absent, and null says the same.
    return raw is not None and bool(msgspec.json.decode(raw, type=bool | None))
