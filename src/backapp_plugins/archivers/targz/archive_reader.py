"""Reads from any place of an archive's content, unpacking members ahead on other threads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import final

from backapp_core.plugin_api import DamagedRepository, ObjectMissing, WrongPassword
from backapp_plugins.archivers.targz.gzip_members import BadMember, decompress_member
from backapp_plugins.archivers.targz.place import Place

_AHEAD = 3
"""Members of one archive that are unpacked before they are asked for."""
_SKIPPED_MEMBERS = 2
"""Up to so many members that nobody wants are read and dropped.

Beyond that the object is opened anew further on.
"""


@final
class ReadAhead:
    """How many members may be unpacked ahead over all archives together; used by one thread."""

    def __init__(self, members: int = 6) -> None:
        self.left = members


@final
class ArchiveReader:
    """Positions of one archive, best asked for in ascending order; used by one thread."""

    def __init__(
        self,
        place: Place,
        name: str,
        members: Sequence[int],
        *,
        member_bytes: int,
        pool: ThreadPoolExecutor,
        ahead: ReadAhead,
    ) -> None:
        self._place = place
        self._name = name
        self._sizes = members
        self._offsets = [0, *accumulate(members)]
        self._member_bytes = member_bytes
        self._pool = pool
        self._ahead = ahead
        self._body: _Body | None = None
        self._current: tuple[int, bytes] = (-1, b"")
        self._coming: dict[int, Future[bytes]] = {}
        self._failures: dict[int, DamagedRepository | WrongPassword] = {}
        self._is_lost = False

    def pieces(self, position: int, length_bytes: int) -> Iterator[memoryview]:
        """Yield the content from ``position``, in pieces that end where members end.

        Raises:
            DamagedRepository: If it is missing or altered.
        """
        while length_bytes > 0:
            index, start = divmod(position, self._member_bytes)
            piece = memoryview(self._member(index))[start : start + length_bytes]
            if not piece:
                raise self._too_short()
            yield piece
            position += len(piece)
            length_bytes -= len(piece)

    def piece(self, position: int, length_bytes: int) -> memoryview | None:
        """Return the content from ``position`` if it lies within one member, as most files do.

        Raises:
            DamagedRepository: If it is missing or altered.
        """
        index, start = divmod(position, self._member_bytes)
        if start + length_bytes > self._member_bytes:
            return None
        piece = memoryview(self._member(index))[start : start + length_bytes]
        if len(piece) < length_bytes:
            raise self._too_short()
        return piece

    def close(self) -> None:
        """Give the connection back."""
        self._drop_coming()
        self._drop_body()

    def _member(self, index: int) -> bytes:
        if index == self._current[0]:
            return self._current[1]
        if index in self._failures:
            raise self._failures[index]
        if not 0 <= index < len(self._sizes):
            raise self._too_short()
        try:
            content = self._fetch(index)
        except (DamagedRepository, WrongPassword) as error:
            self._failures[index] = error
            raise
        self._current = (index, content)
        return content

    def _too_short(self) -> DamagedRepository:
        return DamagedRepository(f"{self._name} is damaged: it ends before what is looked for")

    def _fetch(self, index: int) -> bytes:
        is_in_order = index == self._current[0] + 1 and index > 0
        try:
            coming = self._coming.pop(index, None)
            if coming is None:
                self._drop_coming()
                coming = self._begin(index)
            else:
                self._ahead.left += 1
            if is_in_order:
                self._look_ahead(index)
            return coming.result()
        except (BadMember, DamagedRepository) as error:
            return self._fetch_again(index, error)

    def _look_ahead(self, index: int) -> None:
        for later in range(index + 1, min(index + 1 + _AHEAD, len(self._sizes))):
            if later not in self._coming:
                if self._ahead.left <= 0:
                    return
                try:
                    self._coming[later] = self._begin(later)
                except DamagedRepository:
                    return  # whoever asks for that member will be told
                self._ahead.left -= 1

    def _begin(self, index: int) -> Future[bytes]:
        body = self._body
        if body is None or not 0 <= index - body.next_index <= (
            len(self._sizes) if not self._place.envelope.is_open else _SKIPPED_MEMBERS
        ):
            if body is not None:
                body.close()
            body = self._body = self._open(index)
        while body.next_index < index:
            body.take(self._sizes[body.next_index])
        return self._pool.submit(
            decompress_member, self._place.codec, body.take(self._sizes[index]), self._member_bytes
        )

    def _open(self, index: int) -> "_Body":
        transport = self._place.transport
        try:
            if self._place.envelope.is_open:
                return _Body(
                    transport.get(self._name, offset=self._offsets[index]), index, self._name
                )
            sealed = transport.get(self._name)
        except ObjectMissing as error:
            self._is_lost = True
            raise DamagedRepository(f"{self._name} is missing") from error
        return _Body(self._place.envelope.unseal(sealed, name=self._name), 0, self._name)

    def _fetch_again(self, index: int, error: BadMember | DamagedRepository) -> bytes:
        """Fetch a member a second time: a bad transfer is no damage, two of them are.

        Raises:
            DamagedRepository: If it is bad again.
        """
        # What is sealed can only be read from its start, so it gets one more chance as a whole.
        if not self._is_lost:
            self._is_lost = not self._place.envelope.is_open
            self._drop_coming()
            self._drop_body()
            try:
                return self._begin(index).result()
            except (BadMember, DamagedRepository) as second:
                error = second
        if isinstance(error, DamagedRepository):
            raise error
        raise DamagedRepository(f"{self._name} is damaged: {error}") from error

    def _drop_body(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def _drop_coming(self) -> None:
        self._ahead.left += len(self._coming)
        for future in self._coming.values():
            future.cancel()
        self._coming.clear()


@final
class _Body:
    """An object's bytes from the start of one member on."""

    def __init__(self, chunks: Iterator[bytes], first_index: int, name: str) -> None:
        self._chunks = chunks
        self._rest = b""
        self._name = name
        self.next_index = first_index

    def take(self, size_bytes: int) -> bytes:
        """Return the next member, compressed.

        Raises:
            DamagedRepository: If the object ends before it does.
        """
        parts = [self._rest]
        missing = size_bytes - len(self._rest)
        while missing > 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise DamagedRepository(f"{self._name} is damaged: it is cut")
            parts.append(chunk)
            missing -= len(chunk)
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        self._rest = whole[size_bytes:]
        self.next_index += 1
        return whole[:size_bytes]

    def close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
