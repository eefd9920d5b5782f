"""Sealing: AES-256 in counter mode, and Poly1305-AES over the result.

A sealed value is ``IV (16) || ciphertext || MAC (16)``. The code covers the ciphertext alone; its
one-time key is ``r || AES-128(k, IV)``. See the section "Keys, Encryption and MAC" of restic's
format description, and D. J. Bernstein, "The Poly1305-AES message-authentication code".
"""

import hmac
from collections.abc import Callable, Iterable
from typing import final

from attrs import field, frozen, validators
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from backapp_plugins.archivers.restic.format.layout import SEAL_BYTES

_IV_BYTES = 16
_MAC_BYTES = 16
_ZERO_IV = bytes(_IV_BYTES)
_IVS_AT_ONCE = 256
_BLOCK_SLACK_BYTES = 15
_FIRST_BUFFER_BYTES = 64 << 10
_KEPT_BYTES = 4 << 20
"""A larger buffer is not kept for the next call."""


class SealBroken(ValueError):
    """What should have been sealed with this key was not, or was altered."""


@frozen
class MasterKey:
    """The keys that everything in a repository is sealed with."""

    encrypt: bytes = field(repr=False, validator=[validators.min_len(32), validators.max_len(32)])
    mac_k: bytes = field(repr=False, validator=[validators.min_len(16), validators.max_len(16)])
    mac_r: bytes = field(repr=False, validator=[validators.min_len(16), validators.max_len(16)])
    """Kept as it was made: Poly1305 itself masks the bits that must be."""


@final
class Sealer:
    """Seals and opens with one key; used by one thread at a time.

    The contexts and the buffers are kept between calls: making them anew costs more than sealing
    a small file does, and a fresh buffer for a large one is paid for in page faults.
    """

    __slots__ = ("_ctr", "_ivs", "_nonce", "_opened", "_r", "_random_bytes", "_sealed")

    def __init__(self, key: MasterKey, random_bytes: Callable[[int], bytes]) -> None:
        """Use ``key``; ``random_bytes`` returns that many bytes fit for initialisation vectors."""
        self._ctr = Cipher(algorithms.AES(key.encrypt), modes.CTR(_ZERO_IV)).encryptor()
        self._nonce = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()  # noqa: S305  # one block, as Poly1305-AES wants it
        self._r = key.mac_r
        self._random_bytes = random_bytes
        self._ivs: list[bytes] = []
        self._sealed = _Room()
        self._opened = _Room()

    def seal(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Return ``plain`` sealed, which is `SEAL_BYTES` longer, with an IV of its own."""
        return bytes(self.seal_view(plain))

    def seal_view(self, plain: bytes | bytearray | memoryview) -> memoryview:
        """Return what `seal` returns as a view that holds until something else is sealed."""
        iv = self._new_iv()
        size = len(plain)
        view = self._sealed.of(size + SEAL_BYTES)
        view[:_IV_BYTES] = iv
        self._ctr.reset_nonce(iv)
        self._ctr.update_into(plain, view[_IV_BYTES:])
        end = _IV_BYTES + size
        view[end : end + _MAC_BYTES] = self._code(iv, view[_IV_BYTES:end])
        return view[: end + _MAC_BYTES]

    def open(self, sealed: bytes | bytearray | memoryview) -> bytes:
        """Return what was sealed.

        Raises:
            SealBroken: If it is not what this key sealed.
        """
        return bytes(self.open_view(sealed))

    def open_view(self, sealed: bytes | bytearray | memoryview) -> memoryview:
        """Return what was sealed as a view that holds until something else is opened.

        Raises:
            SealBroken: If it is not what this key sealed; nothing was decrypted then.
        """
        size = len(sealed) - SEAL_BYTES
        if size < 0:
            raise SealBroken(f"{len(sealed)} bytes are too few to be sealed")
        view = memoryview(sealed)
        iv = bytes(view[:_IV_BYTES])
        end = _IV_BYTES + size
        body = view[_IV_BYTES:end]
        if not hmac.compare_digest(self._code(iv, body), view[end:]) or iv == _ZERO_IV:
            raise SealBroken("the authentication code does not fit")
        opened = self._opened.of(size)
        self._ctr.reset_nonce(iv)
        self._ctr.update_into(body, opened)
        return opened[:size]

    def seal_all(self, plains: Iterable[bytes]) -> list[bytes]:
        """Return each of many small values sealed; less work for each than `seal` has."""
        reset_nonce, update = self._ctr.reset_nonce, self._ctr.update
        nonce, code, r = self._nonce.update, Poly1305.generate_tag, self._r
        sealed: list[bytes] = []
        for plain in plains:
            iv = self._new_iv()
            reset_nonce(iv)
            body = update(plain)
            sealed.append(b"".join((iv, body, code(r + nonce(iv), body))))
        return sealed

    def open_all(self, sealed: Iterable[bytes | memoryview]) -> list[bytes]:
        """Return what each of many small values was before it was sealed.

        Raises:
            SealBroken: If one is not what this key sealed.
        """
        reset_nonce, update = self._ctr.reset_nonce, self._ctr.update
        nonce, code, r = self._nonce.update, Poly1305.generate_tag, self._r
        plains: list[bytes] = []
        for each in sealed:
            iv, body = bytes(each[:_IV_BYTES]), each[_IV_BYTES:-_MAC_BYTES]
            if (
                len(each) < SEAL_BYTES
                or not hmac.compare_digest(code(r + nonce(iv), body), each[-_MAC_BYTES:])
                or iv == _ZERO_IV
            ):
                raise SealBroken("the authentication code does not fit")
            reset_nonce(iv)
            plains.append(update(body))
        return plains

    def _code(self, iv: bytes, body: memoryview) -> bytes:
        return Poly1305.generate_tag(self._r + self._nonce.update(iv), body)

    def _new_iv(self) -> bytes:
        while True:
            if not self._ivs:
                pool = self._random_bytes(_IV_BYTES * _IVS_AT_ONCE)
                self._ivs = [pool[at : at + _IV_BYTES] for at in range(0, len(pool), _IV_BYTES)]
            iv = self._ivs.pop()
            if iv != _ZERO_IV:
                return iv


class _Room:
    """Memory for what one call makes, used again by the next."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray(_FIRST_BUFFER_BYTES)

    def of(self, size_bytes: int) -> memoryview:
        """Return at least so much of it, and what a cipher wants beyond."""
        size_bytes += _BLOCK_SLACK_BYTES
        if size_bytes > _KEPT_BYTES:
            return memoryview(bytearray(size_bytes))
        if size_bytes > len(self._buffer):
            self._buffer = bytearray(min(max(size_bytes, 2 * len(self._buffer)), _KEPT_BYTES))
        return memoryview(self._buffer)
