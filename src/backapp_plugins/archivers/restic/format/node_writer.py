"""From what a scan found to the JSON of nodes, byte by byte what restic 0.14 writes.

Three things are written that it loses: symlink targets that are no UTF-8 (as newer versions do),
attributes of symlinks, and the number of names of fifos and sockets that have several.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias, final

from backapp_core.plugin_api import Entry, EntryKind
from backapp_plugins.archivers.restic.format.go_json import is_utf8, name_text, string_text
from backapp_plugins.archivers.restic.format.go_modes import go_mode
from backapp_plugins.archivers.restic.format.go_times import local_times
from backapp_plugins.archivers.restic.format.layout import ID_BYTES

Attributes: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Name and value of extended attributes, in the order in which they are written."""
_CONTENT = b',"content":['


@final
class NodeWriter:
    """Writes nodes with times of this machine's zone, which it looks up when it is made.

    Any number of threads may use it.

    The time of the last access is that of the last change, as with restic: reading would alter it
    and make every tree a new one.
    """

    __slots__ = ("_time",)

    def __init__(self) -> None:
        self._time = local_times()

    def file(
        self,
        entry: Entry,
        *,
        user: str,
        group: str,
        content: Sequence[bytes],
        size_bytes: int,
        xattrs: Attributes = (),
        fault: str = "",
    ) -> bytes:
        """Return the node of a regular file.

        Args:
            entry: What the scan found.
            user: Name of the owner, empty if unknown.
            group: Name of the group, empty if unknown.
            content: Ids of its blobs in order.
            size_bytes: Length of all blobs together, which may not be what the scan found.
            xattrs: Its extended attributes.
            fault: Why this is not all of what it was; empty if it is.
        """
        error = f',"error":"{string_text(fault)}"' if fault else ""
        start = self.file_start(entry, user, group, size_bytes)
        return f'{start}{_attributes(xattrs)},"content":[{_listed(content)}]{error}}}'.encode()

    def file_start(self, entry: Entry, user: str, group: str, size_bytes: int) -> str:
        """Return what the node of a regular file begins with: all that a scan finds out of it."""
        inode, device, links = entry.inode, entry.device, entry.links
        if inode and device and links and size_bytes:
            numbers = f',"inode":{inode},"device_id":{device},"size":{size_bytes},"links":{links}'
        else:
            numbers = (
                f"{_field('inode', inode)}{_field('device_id', device)}"
                f"{_field('size', size_bytes)}{_field('links', links)}"
            )
        return self._facts(entry, "file", user, group) + numbers

    def directory(
        self, entry: Entry, *, user: str, group: str, subtree: bytes, xattrs: Attributes = ()
    ) -> bytes:
        """Return the node of a directory whose entries are the tree ``subtree``."""
        return (
            f"{self._head(entry, 'dir', user, group)}{_attributes(xattrs)}"
            f',"content":null,"subtree":"{subtree.hex()}"}}'
        ).encode()

    def other(
        self,
        entry: Entry,
        *,
        user: str,
        group: str,
        target: bytes = b"",
        xattrs: Attributes = (),
    ) -> bytes:
        """Return the node of a symlink to ``target``, a device, a fifo or a socket."""
        kind = entry.kind
        is_nameless = kind in {EntryKind.FIFO, EntryKind.SOCKET}
        links = 0 if is_nameless and entry.links == 1 else entry.links
        return (
            f"{self._head(entry, kind.value, user, group)}{_field('links', links)}"
            f"{_target(target)}{_attributes(xattrs)}"
            f'{_field("device", entry.rdev if kind.is_device else 0)},"content":null}}'
        ).encode()

    def _head(self, entry: Entry, kind: str, user: str, group: str) -> str:
        return (
            f"{self._facts(entry, kind, user, group)}"
            f"{_field('inode', entry.inode)}{_field('device_id', entry.device)}"
        )

    def _facts(self, entry: Entry, kind: str, user: str, group: str) -> str:
        mtime = self._time(entry.mtime_ns)
        return (
            f'{{"name":"{name_text(entry.name)}","type":"{kind}"'
            f'{_mode(entry.mode)},"mtime":"{mtime}","atime":"{mtime}"'
            f',"ctime":"{self._time(entry.ctime_ns)}"{_owner(entry.uid, entry.gid, user, group)}'
        )


def content_behind(start: bytes, node: bytes) -> list[bytes] | None:
    """Return the ids of the blobs of a file's node that `NodeWriter.file` would write the same.

    None if another node would be written for the file whose node begins with ``start``, or if
    there is more in it than contents.
    """
    at = len(start)
    if not (node.startswith(start) and node.startswith(_CONTENT, at) and node.endswith(b"]}")):
        return None
    listed = node[at + len(_CONTENT) : -2]
    if not listed:
        return []
    try:
        text = listed.decode("ascii")
        ids = [bytes.fromhex(quoted[1:-1]) for quoted in text.split(",")]
    except ValueError:
        return None
    is_whole = all(len(blob_id) == ID_BYTES for blob_id in ids)
    return ids if is_whole and _listed(ids) == text else None  # no capitals, no blanks


def _listed(ids: Sequence[bytes]) -> str:
    return ",".join([f'"{blob_id.hex()}"' for blob_id in ids])


def _field(key: str, value: int) -> str:
    return f',"{key}":{value}' if value else ""


@lru_cache(1 << 12)
def _mode(mode: int) -> str:
    return _field("mode", go_mode(mode))


@lru_cache(1 << 10)
def _owner(uid: int, gid: int, user: str, group: str) -> str:
    names = "".join(
        f',"{key}":"{string_text(name)}"'
        for key, name in (("user", user), ("group", group))
        if name
    )
    return f',"uid":{uid},"gid":{gid}{names}'


def _target(target: bytes) -> str:
    if not target:
        return ""
    text = string_text(target.decode("utf-8", "surrogateescape"))
    raw = "" if is_utf8(target) else f',"linktarget_raw":"{b64encode(target).decode()}"'
    return f',"linktarget":"{text}"{raw}'


def _attributes(xattrs: Attributes) -> str:
    if not xattrs:
        return ""
    listed = ",".join(
        f'{{"name":"{string_text(name.decode("utf-8", "surrogateescape"))}"'
        f',"value":"{b64encode(value).decode()}"}}'
        for name, value in xattrs
    )
    return f',"extended_attributes":[{listed}]'
