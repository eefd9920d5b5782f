"""The age envelope (age-encryption.org/v1): data are sealed to recipients, identities open them.

A machine that only knows recipients can write backups and read none of them. An identity file may
itself be protected by a passphrase (``age -p``), and may be an SSH key.
"""

import threading
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, final

from backapp_core.plugin_api import (
    DamagedRepository,
    InputError,
    Keys,
    PartMissing,
    WrongPassword,
)
from backapp_plugins.archivers.targz.channel import Channel, ChannelClosed

_CHUNKS_AHEAD = 32
"""age writes chunks of 64 KiB; two MiB of them may wait between the threads."""


@final
class Envelope:
    """Seals to recipients and opens with identities.

    Without recipients everything passes through as it is.
    """

    def __init__(self, recipients: Sequence[str], keys: Keys, *, address: str) -> None:
        """Prepare for a repository.

        Raises:
            PartMissing: If pyrage is not installed and there are recipients.
            InputError: If a recipient is none.
        """
        self._keys = keys
        self._address = address
        self._identities: list[Any] | None = None
        self.has_opened = False
        """Whether the identities have opened anything yet."""
        self._recipients = [parse_recipient(text) for text in recipients]

    @property
    def is_open(self) -> bool:
        """Whether data pass through as they are."""
        return not self._recipients

    @property
    def has_identities(self) -> bool:
        """Whether identities were given, be they the right ones or not."""
        return bool(self._keys.identity_files)

    def seal(self, body: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Yield ``body`` sealed; nothing of it is kept in memory but a few chunks.

        An exception of ``body`` passes through.
        """
        if self.is_open:
            yield from body
        else:
            yield from _through(_pyrage().encrypt_io, _Source(body), self._recipients)

    def unseal(self, body: Iterable[bytes], *, name: str) -> Generator[bytes, None, None]:
        """Yield what was sealed.

        Raises:
            WrongPassword: If no identity was given, or none fits, or its passphrase is wrong.
            DamagedRepository: If the sealed data are cut or altered.
            OSError: If ``body`` raised it.
        """
        if self.is_open:
            yield from body
            return
        source = _Source(body)
        try:
            for chunk in _through(_pyrage().decrypt_io, source, self._opened_identities()):
                self.has_opened = True
                yield chunk
        except _pyrage().DecryptError as error:
            if "matching" in str(error):
                raise WrongPassword(
                    f"none of the given age identities opens {self._address}; "
                    "name the right one with --identity-file"
                ) from error
            raise DamagedRepository(
                f"{name} is damaged: its age envelope does not open: {error}"
            ) from error
        except OSError as error:
            if source.error is not None:
                raise
            raise DamagedRepository(
                f"{name} is damaged: its age envelope is cut or altered"
            ) from error

    def _opened_identities(self) -> list[Any]:
        if self._identities is None:
            if not self._keys.identity_files:
                raise WrongPassword(
                    f"{self._address} is encrypted with age and no identity was given; "
                    "name one with --identity-file"
                )
            self._identities = [
                identity
                for path in self._keys.identity_files
                for identity in _read_identities(path, self._keys)
            ]
        return self._identities


def parse_recipient(text: str) -> Any:
    """Return a recipient as pyrage has it.

    Raises:
        PartMissing: If pyrage is not installed.
        InputError: If ``text`` is neither an age recipient nor an SSH public key.
    """
    pyrage = _pyrage()
    kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        return kind.from_str(text)
    except pyrage.RecipientError as error:
        raise InputError(
            f"'{text}' is no age recipient; it looks like age1… or ssh-ed25519 …"
        ) from error


@final
class _Source:
    """A reader over chunks that remembers their maker's error, for pyrage wraps it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            raise
        piece = self._rest[: size if size >= 0 else None]
        self._rest = self._rest[len(piece) :]
        return bytes(piece)


@final
class _Sink:
    def __init__(self, channel: Channel[bytes]) -> None:
        self._channel = channel

    def write(self, data: bytes) -> int:
        self._channel.send(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _through(
    transform: Any, source: _Source, parties: Sequence[Any]
) -> Generator[bytes, None, None]:
    """Run one of pyrage's functions from stream to stream in a thread and yield what it writes."""
    channel: Channel[bytes] = Channel(_CHUNKS_AHEAD)

    def work() -> None:
        error: BaseException | None = None
        try:
            transform(source, _Sink(channel), parties)
        except ChannelClosed:
            return
        except BaseException as caught:  # noqa: BLE001  # carried over to the receiving thread, which raises it
            error = source.error or caught
        channel.end(error)

    thread = threading.Thread(target=work, name="age", daemon=True)
    thread.start()
    try:
        yield from channel
    finally:
        channel.abandon()
        thread.join()


def _read_identities(path: Path, keys: Keys) -> list[Any]:
    pyrage = _pyrage()
    try:
        data = path.expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"identity file {path} cannot be read: {error.strerror}") from error
    if data.startswith((b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE")):
        data = _open_protected(path, data, keys)
    try:
        if b"PRIVATE KEY-----" in data:
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode().splitlines()]
        found = [
            pyrage.x25519.Identity.from_str(line)
            for line in lines
            if line and not line.startswith("#")
        ]
    except (pyrage.IdentityError, UnicodeDecodeError) as error:
        raise InputError(f"identity file {path} holds no age identity: {error}") from error
    if not found:
        raise InputError(f"identity file {path} holds no age identity")
    return found


def _open_protected(path: Path, data: bytes, keys: Keys) -> bytes:
    if keys.password is None:
        raise WrongPassword(f"identity file {path} is protected by a passphrase and none was given")
    try:
        return bytes(_pyrage().passphrase.decrypt(_without_armor(data), keys.password()))
    except _pyrage().DecryptError as error:
        raise WrongPassword(f"the passphrase does not open the identity file {path}") from error


def _without_armor(data: bytes) -> bytes:
    if not data.startswith(b"-----BEGIN"):
        return data
    from base64 import b64decode

    return b64decode(b"".join(line for line in data.splitlines() if not line.startswith(b"-----")))


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise PartMissing(
            "age encryption is not installed; install it with: pip install 'backapp[age]'"
        ) from error
    return pyrage
