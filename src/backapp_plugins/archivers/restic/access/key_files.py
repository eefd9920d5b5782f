"""Key files: the master key, sealed with a key that scrypt (RFC 7914) makes of a password."""

from collections.abc import Callable
from datetime import datetime
from hashlib import scrypt
from typing import Annotated

import msgspec

from backapp_plugins.archivers.restic.format.crypto import MasterKey, SealBroken, Sealer

LARGEST_FILE_BYTES = 64 << 10
_COST, _BLOCK, _LANES = 32768, 8, 5
"""restic measures the machine and comes to the same, with four to seven lanes."""
_SALT_BYTES = 64
_MOST_MEMORY_BYTES = (1 << 30) + (1 << 20)
"""A gibibyte for the blocks and what is needed beside them."""
_MOST_WORK = 1 << 25
"""Of N * r * p: some ten seconds, 25 times what we ask for."""
_KEY_BYTES = 64
_OVERHEAD_BYTES = 1 << 20
_Factor = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class KeyBroken(ValueError):
    """What should be a key file is none."""


class KeyRefused(ValueError):
    """A key file asks for a derivation that is not done here."""


class _Mac(msgspec.Struct, frozen=True):
    k: bytes
    r: bytes


class _Master(msgspec.Struct, frozen=True):
    mac: _Mac
    encrypt: bytes


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a key file says."""

    created: Annotated[datetime, msgspec.Meta(tz=True)]
    username: str = ""
    hostname: str = ""
    kdf: str
    n: _Factor = msgspec.field(name="N")
    """Cost: how many blocks are kept in memory; a power of two."""
    r: _Factor
    """Size of a block, in 128 bytes."""
    p: _Factor
    """How many times all of it is done."""
    salt: bytes
    data: bytes
    """The master key, sealed."""


def new_master_key(random_bytes: Callable[[int], bytes]) -> MasterKey:
    """Return the key of a repository that is about to be created."""
    return MasterKey(random_bytes(32), random_bytes(16), random_bytes(16))


def seal_master_key(
    master: MasterKey,
    password: bytes,
    random_bytes: Callable[[int], bytes],
    *,
    created_at: datetime,
    username: str,
    hostname: str,
) -> bytes:
    """Return a key file by which ``password`` opens ``master``; takes about half a second."""
    salt = random_bytes(_SALT_BYTES)
    secret = _derive(password, salt, _COST, _BLOCK, _LANES)
    document = msgspec.json.encode(_Master(_Mac(master.mac_k, master.mac_r), master.encrypt))
    return msgspec.json.encode(
        KeyFile(
            created=created_at,
            username=username,
            hostname=hostname,
            kdf="scrypt",
            n=_COST,
            r=_BLOCK,
            p=_LANES,
            salt=salt,
            data=Sealer(secret, random_bytes).seal(document),
        )
    )


def decode_key_file(content: bytes) -> KeyFile:
    """Return what a key file says, after a look at whether deriving its key is bearable.

    Raises:
        KeyBroken: If it is no key file.
        KeyRefused: If it wants another derivation, or more memory or time than anybody chooses.
    """
    try:
        key = msgspec.json.decode(content, type=KeyFile)
    except (ValueError, RecursionError) as error:  # malformed JSON is the first, too
        raise KeyBroken(str(error)) from error
    if key.kdf != "scrypt":
        raise KeyRefused(f"its key is derived by {key.kdf!a} and not by scrypt")
    if len(key.salt) != _SALT_BYTES:
        raise KeyBroken(f"its salt has {len(key.salt)} bytes and not {_SALT_BYTES}")
    _check_cost(key.n, key.r, key.p)
    return key


def open_master_key(key: KeyFile, password: bytes) -> MasterKey | None:
    """Return the master key, None if the password is another; takes about half a second.

    Raises:
        KeyBroken: If the password fits and what it opens is no master key.
        KeyRefused: If this machine cannot derive the key.
    """
    try:
        secret = _derive(password, key.salt, key.n, key.r, key.p)
    except (ValueError, MemoryError) as error:
        raise KeyRefused(f"its key cannot be derived on this machine: {error}") from error
    try:
        document = Sealer(secret, _nothing_random).open(key.data)
    except SealBroken:
        return None
    try:
        opened = msgspec.json.decode(document, type=_Master)
        master = MasterKey(opened.encrypt, opened.mac.k, opened.mac.r)
    except ValueError as error:
        raise KeyBroken("what the password opens is no master key") from error
    if not (any(master.encrypt) and any(master.mac_k) and any(master.mac_r)):
        raise KeyBroken("its master key consists of zeros")
    return master


def _check_cost(n: int, r: int, p: int) -> None:
    if n == 1 or n & (n - 1):
        raise KeyBroken(f"scrypt cannot have the parameters N={n}, r={r}, p={p}")
    if _memory_bytes(n, r, p) > _MOST_MEMORY_BYTES or n * r * p > _MOST_WORK:
        raise KeyRefused(
            f"deriving its key with N={n}, r={r}, p={p} would take far more memory or time than "
            "anybody needs; it may have been made to do harm"
        )
    if n.bit_length() - 1 >= 16 * r:
        raise KeyRefused(
            f"its key is derived with N={n} and r={r}, which RFC 7914 forbids; give it another "
            "password with the program that made it"
        )


def _memory_bytes(n: int, r: int, p: int) -> int:
    return 128 * r * (n + p + 2)


def _derive(password: bytes, salt: bytes, n: int, r: int, p: int) -> MasterKey:
    most = _memory_bytes(n, r, p) + _OVERHEAD_BYTES
    key = scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=most, dklen=_KEY_BYTES)
    return MasterKey(key[:32], key[32:48], key[48:])


def _nothing_random(count: int) -> bytes:
    raise AssertionError(f"opening needs no chance, and {count} bytes of it were asked for")
