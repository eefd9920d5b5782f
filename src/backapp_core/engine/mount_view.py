"""A repository as a tree of folders: its snapshots by id, time, host and tag, and what is in them.

Nothing here knows how it is mounted; a mount asks for paths and gets answers.
"""

import stat
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, TypeAlias, cast, final

from attrs import frozen

from backapp_core.errors import PathNotFound
from backapp_core.model.entries import EntryKind, Node, format_of_kind, is_below
from backapp_core.model.names import to_text
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository

Folder: TypeAlias = "dict[bytes, Shown]"
Shown: TypeAlias = "Folder | Snapshot | bytes"
"""A folder, a snapshot, or what a link leads to."""
_KEPT_FOLDERS = 256
_FOLDER_MODE = stat.S_IFDIR | 0o555
_LINK_MODE = stat.S_IFLNK | 0o777
_BLOCK_BYTES = 512
"""What ``st_blocks`` counts, whatever the file system."""


@frozen
class _Within:
    """What stands directly in a folder; nothing below that is looked at."""

    folder: bytes

    def wants(self, node: Node) -> bool:
        return node.path != b"/" and (node.path.rpartition(b"/")[0] or b"/") == self.folder

    def enters(self, path: bytes) -> bool:
        return path == self.folder or is_below(self.folder, path)


@final
class MountView:
    """Answers what stands at a path; used by one thread at a time."""

    def __init__(self, repository: Repository, snapshots: Sequence[Snapshot]) -> None:
        """Show ``snapshots``, oldest first, of a repository that stays open meanwhile."""
        self._repository = repository
        self._top = _arranged(snapshots)
        self._made_at_ns = time.time_ns()
        self._folders: OrderedDict[tuple[str, bytes], dict[bytes, Node]] = OrderedDict()

    def facts(self, path: bytes) -> dict[str, int]:
        """Return what ``stat`` says of a path, by the names of its fields; times in nanoseconds.

        Raises:
            PathNotFound: If nothing stands there.
        """
        found, rest = self._find(path)
        if isinstance(found, Snapshot):
            if rest:
                return _facts_of(self._node(found, rest))
            return _facts(_FOLDER_MODE, int(found.taken_at.timestamp()) * 10**9)
        mode = _LINK_MODE if isinstance(found, bytes) else _FOLDER_MODE
        return _facts(mode, self._made_at_ns)

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a folder.

        Raises:
            PathNotFound: If there is no such folder.
            DamagedRepository: If what describes it is missing or altered.
        """
        found, rest = self._find(path)
        if isinstance(found, Snapshot):
            return list(self._children(found, rest or b"/"))
        return list(found) if isinstance(found, dict) else []

    def link(self, path: bytes) -> bytes:
        """Return where a symlink points.

        Raises:
            PathNotFound: If there is none.
        """
        found, rest = self._find(path)
        if isinstance(found, bytes):
            return found
        if isinstance(found, Snapshot) and rest:
            return self._node(found, rest).target
        raise PathNotFound(f"'{to_text(path)}' is no link")

    def attributes(self, path: bytes) -> Mapping[bytes, bytes]:
        """Return the extended attributes of a path."""
        found, rest = self._find(path)
        return dict(self._node(found, rest).xattrs) if isinstance(found, Snapshot) and rest else {}

    def open(self, path: bytes) -> "FileView":
        """Return a file's content, to be read from anywhere.

        Raises:
            PathNotFound: If there is no such file.
        """
        found, rest = self._find(path)
        if isinstance(found, Snapshot) and rest:
            node = self._node(found, rest)
            if node.kind is EntryKind.FILE:
                return FileView(self._repository.read(found, node))
        raise PathNotFound(f"'{to_text(path)}' is no file")

    def _find(self, path: bytes) -> "tuple[Shown, bytes]":
        """Return what stands at a path, or the snapshot that it leads into and the rest of it.

        Raises:
            PathNotFound: If nothing stands there.
        """
        found: Shown = self._top
        parts = [part for part in path.split(b"/") if part]
        for at, part in enumerate(parts):
            if isinstance(found, Snapshot):
                return found, b"/" + b"/".join(parts[at:])
            if isinstance(found, bytes) or part not in found:
                raise PathNotFound(f"nothing stands at '{to_text(path)}'")
            found = found[part]
        return found, b""

    def _node(self, snapshot: Snapshot, path: bytes) -> Node:
        above, _, name = path.rpartition(b"/")
        node = self._children(snapshot, above or b"/").get(name)
        if node is None:
            raise PathNotFound(f"nothing stands at '{to_text(path)}'")
        return node

    def _children(self, snapshot: Snapshot, path: bytes) -> dict[bytes, Node]:
        key = (snapshot.id, path)
        if key not in self._folders:
            nodes = self._repository.nodes(snapshot, _Within(path))
            self._folders[key] = {node.name: node for node in nodes}
            if len(self._folders) > _KEPT_FOLDERS:
                self._folders.popitem(last=False)
        self._folders.move_to_end(key)
        return self._folders[key]


@final
class FileView:
    """The content of a file, read in order and kept on this machine as far as it was asked for."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._kept = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  # closed by `close`
        self._size_bytes = 0

    def read(self, offset: int, length_bytes: int) -> bytes:
        """Return some of the content; fewer bytes at its end.

        Raises:
            DamagedRepository: If it is not what was stored.
            TransportError: If the destination fails.
        """
        while self._size_bytes < offset + length_bytes:
            part = next(self._parts, None)
            if part is None:
                break
            self._kept.seek(self._size_bytes)
            self._size_bytes += self._kept.write(part)
        self._kept.seek(offset)
        return self._kept.read(length_bytes)

    def close(self) -> None:
        """Forget what was kept."""
        self._kept.close()


def _arranged(snapshots: Sequence[Snapshot]) -> Folder:
    """Return the folders above snapshots, as restic names them."""
    times: Counter[bytes] = Counter()
    top: Folder = {b"ids": {}, b"hosts": {}, b"tags": {}, b"snapshots": {}}
    for snapshot in sorted(snapshots, key=lambda one: (one.taken_at, one.id)):
        base = snapshot.taken_at.astimezone().isoformat(timespec="seconds").encode()
        name = base if not times[base] else base + b"-%d" % times[base]
        times[base] += 1
        _folder(top, b"ids")[snapshot.short_id.encode()] = snapshot
        places = [_folder(top, b"snapshots"), _folder(top, b"hosts", _name(snapshot.hostname))]
        places += [_folder(top, b"tags", _name(tag)) for tag in snapshot.tags]
        for place in places:
            place[name] = snapshot
            place.pop(b"latest", None)
            place[b"latest"] = name
    return top


def _folder(top: Folder, *names: bytes) -> Folder:
    for name in names:
        below = top.setdefault(name, {})
        if not isinstance(below, dict):
            raise PathNotFound(f"'{to_text(name)}' is no folder")
        top = below
    return top


def _name(text: str) -> bytes:
    """Return what a host or tag is called as a folder."""
    return text.replace("/", "_").encode("utf-8", "surrogateescape") or b"_"


def _facts(mode: int, at_ns: int) -> dict[str, int]:
    return {"st_mode": mode, "st_nlink": 1, "st_mtime": at_ns, "st_ctime": at_ns, "st_atime": at_ns}


def _facts_of(node: Node) -> dict[str, int]:
    return {
        "st_mode": node.mode | format_of_kind(node.kind),
        "st_nlink": max(node.links, 1),
        "st_uid": node.uid,
        "st_gid": node.gid,
        "st_size": len(node.target) or node.size_bytes,
        # A file without blocks is one hole to tar --sparse, which then reads nothing of it.
        "st_blocks": -(-node.size_bytes // _BLOCK_BYTES),
        "st_mtime": node.mtime_ns,
        "st_ctime": node.ctime_ns,
        "st_atime": node.mtime_ns,
        "st_rdev": node.rdev,
    }
