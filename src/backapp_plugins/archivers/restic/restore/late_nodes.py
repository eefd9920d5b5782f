"""Links and special files of a restore, which come after all files; however many there are."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple, final

import msgspec

from backapp_core.plugin_api import TargetError
from backapp_plugins.archivers.restic.format.trees import TreeNode

_IN_MEMORY_BYTES = 4 << 20


class LateNode(NamedTuple):
    """An entry that waits until all files are there."""

    path: bytes
    stored: TreeNode
    existing: bytes
    """The path of which it is another name; empty if it is the first or only one."""


_decode = msgspec.json.Decoder(LateNode).decode


@final
class LateNodes:
    """A queue, kept in an unlinked temporary file once it has outgrown memory."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115  # closed by close
        self._encode = msgspec.json.Encoder().encode

    def push(self, node: LateNode) -> None:
        """Append an entry.

        Raises:
            TargetError: If the temporary file cannot be written.
        """
        try:
            self._file.write(self._encode(node) + b"\n")
        except OSError as error:
            raise TargetError(_unusable(error)) from error

    def __iter__(self) -> Iterator[LateNode]:
        """Yield all entries in the order in which they came.

        Raises:
            TargetError: If the temporary file cannot be read.
        """
        try:
            self._file.seek(0)
            lines = iter(self._file)
        except OSError as error:
            raise TargetError(_unusable(error)) from error
        yield from map(_decode, lines)

    def close(self) -> None:
        """Forget everything; closing twice is fine."""
        with suppress(OSError):  # what found no room is tried once more, and nobody wants it now
            self._file.close()


def _unusable(error: OSError) -> str:
    folder = tempfile.gettempdir()
    return f"links cannot be remembered in a temporary file in '{folder}': {error.strerror}"
