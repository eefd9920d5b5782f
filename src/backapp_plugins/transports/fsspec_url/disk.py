"""What the transport needs of a place that has files and folders but no promises."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from datetime import datetime

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import Closing

CHUNK_BYTES = 4 << 20


@frozen
class Found:
    """One file or folder."""

    path: str
    """Relative to the disk's folder, parts joined by ``/``."""
    is_file: bool
    is_folder: bool
    size_bytes: int
    modified_at: datetime | None


class Draft(Closing):
    """A file that is being written; leaving the context closes it, finished or not."""

    @abstractmethod
    def write(self, data: bytes | bytearray) -> None:
        """Append all of ``data``."""

    @abstractmethod
    def finish(self) -> None:
        """Make sure that all of it arrived, as durably as the other side can say."""

    @override
    @abstractmethod
    def close(self) -> None:
        """Let go; closing twice is fine."""


class Disk(ABC):
    """Files and folders below one folder; every method may be called from any thread.

    Paths are relative to that folder, which itself is ``""``. Every method raises `ObjectMissing`
    for what is not there and `AccessRefused`, `StorageFull` or `TransportUnavailable` for failures.
    """

    address: str
    """As people know it, without secrets."""
    chunk_bytes: int = CHUNK_BYTES
    """How much of a file is asked for at once at most, by a disk that can choose."""

    @abstractmethod
    def stat(self, path: str) -> Found:
        """Return what stands at ``path``."""

    @abstractmethod
    def entries(self, folder: str) -> Sequence[Found]:
        """Return what ``folder`` holds now; nothing that was remembered."""

    @abstractmethod
    def chunks(self, path: str, offset: int, length_bytes: int | None) -> Generator[bytes]:
        """Open a file; yield one empty chunk when that is done, then content, and close it."""

    @abstractmethod
    def draft(self, path: str) -> Draft:
        """Create a file that is not there yet; its folder must exist."""

    @abstractmethod
    def publish(self, draft: str, final: str, *, replace: bool) -> None:
        """Rename a finished file; `ObjectExists` if ``final`` is taken and ``replace`` not set."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file."""

    @abstractmethod
    def make_folder(self, path: str) -> None:
        """Make a folder, for its owner alone where that can be said; fine if it is there."""

    @abstractmethod
    def make_root(self) -> None:
        """Make the disk's folder and those above it; fine if they are there."""

    @abstractmethod
    def close(self) -> None:
        """Give connections back; closing twice is fine."""
