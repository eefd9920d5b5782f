"""Recognises further names of files that a restore has met before."""

from hashlib import blake2b
from typing import final

from backapp_core.plugin_api import Node

_DIGEST_BYTES = 16


@final
class FirstNames:
    """The first name of each file that has several.

    A file is forgotten when as many names were met as it has, so that memory is for those alone
    whose names lie far apart or outside of what is restored.
    """

    def __init__(self) -> None:
        self._met: dict[bytes, tuple[bytes, int]] = {}

    def first_of(self, node: Node, ids: bytes) -> bytes:
        """Return the path of which ``node`` is a further name, its own if it is the first.

        Content is part of what is compared: a number may have been given anew, or the file written
        to, between the moments at which two names of it were backed up.
        """
        key = blake2b(
            b"%d %d %b %b\0%b" % (node.device, node.inode, node.kind.encode(), node.target, ids),
            digest_size=_DIGEST_BYTES,
        ).digest()
        first, left = self._met.get(key, (node.path, node.links))
        if left > 1:
            self._met[key] = (first, left - 1)
        else:
            del self._met[key]
        return first
