"""Gzip as a row of members of equal content size, for speed at both ends and access anywhere.

A gzip file may be several compressed pieces in a row (RFC 1952, section 2.2); ``gzip``, ``zcat``
and ``tar xzf`` read it as one. Every member here holds `MEMBER_BYTES` of content, the last one
less, so a position in the content names its member.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Any

MEMBER_BYTES = 4 << 20
"""Content of one member: smaller ones cost compression, larger ones memory and needless reading."""


_SMALLEST_BYTES = 20
"""Header, an empty deflate stream and trailer."""


class BadMember(Exception):
    """A member cannot be decompressed to what its trailer promises."""


def load_codec() -> Any:
    """Return the fastest module with zlib's interface: isal where it is installed, else zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


def compressor(codec: Any, level: int) -> Callable[[bytes | bytearray | memoryview], bytes]:
    """Return a function that makes one member; releases the GIL while it works.

    Args:
        codec: What `load_codec` returned.
        level: 0 to 3 for isal; doubled and at least 1 for zlib, whose levels go to 9.
    """
    chosen = max(1, level * 2) if codec is zlib else level

    def compress(content: bytes | bytearray | memoryview) -> bytes:
        return codec.compress(content, chosen, wbits=31)  # type: ignore[no-any-return]  # isal has no types

    return compress


def decompress_member(codec: Any, member: bytes | memoryview, largest_bytes: int) -> bytes:
    """Return the content of one member; releases the GIL while it works.

    The trailer's length is looked at before anything is unpacked and output stops there, so a bomb
    costs nothing.

    Raises:
        BadMember: If it is damaged, holds more than ``largest_bytes``, or anything stands
            behind it.
    """
    size_bytes = (
        struct.unpack_from("<I", member, len(member) - 4)[0]
        if len(member) >= _SMALLEST_BYTES
        else -1
    )
    if not 0 <= size_bytes <= largest_bytes:
        raise BadMember("a gzip member is damaged: its length makes no sense")
    unpacker = codec.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(member, size_bytes + 1)
    except (codec.error, zlib.error) as error:
        raise BadMember(f"a gzip member is damaged: {error}") from error
    if len(content) != size_bytes or not unpacker.eof or unpacker.unused_data:
        raise BadMember("a gzip member is damaged: it does not end where it should")
    return content  # type: ignore[no-any-return]  # isal has no types
