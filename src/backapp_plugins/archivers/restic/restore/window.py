"""What a restore has before it: a bounded number of files with the directories that they go to."""

import threading
from collections.abc import Iterator
from typing import final

from backapp_core.plugin_api import (
    DamagedRepository,
    EntryKind,
    EntryNotRestored,
    Node,
    Selection,
    TargetFile,
)
from backapp_plugins.archivers.restic.format.layout import ID_BYTES
from backapp_plugins.archivers.restic.format.trees import TreeBroken, TreeNode
from backapp_plugins.archivers.restic.reading.walking import OnFault, Walk
from backapp_plugins.archivers.restic.restore.hard_links import FirstNames
from backapp_plugins.archivers.restic.restore.late_nodes import LateNode, LateNodes

_WINDOW_SIZE = 1 << 13
"""There are two at a time: one that is restored, and the next one, which is gathered meanwhile."""
_FIRST_WINDOW_SIZE = 1 << 11
"""The first one is short, for until it is there nobody has anything to do."""
_STRETCH_STEPS = 128
_ID_DIGITS = 2 * ID_BYTES
_BYTES_LIKE_A_FILE = 8 * ID_BYTES
"""Eight ids in the content of a file take about the memory of another file."""


@final
class FolderAhead:
    """A directory that is made when the first thing in it needs it."""

    __slots__ = ("above", "is_made", "node", "waiting")

    def __init__(self, node: Node | None, above: "FolderAhead | None") -> None:
        """Take the directory ``node``; None stands for the root of everything."""
        self.node = node
        self.above = above
        self.is_made = False
        self.waiting: list[FileAhead] = []
        """Files that need no content and so can be made along with it."""


@final
class FileAhead:
    """A file that is restored piece by piece, by several threads.

    It is finished, or abandoned, by whoever brings the last piece: earlier nobody may close what
    another thread is writing to.
    """

    __slots__ = ("_left", "_lock", "file", "folder", "ids", "is_begun", "node", "reason")

    def __init__(self, node: Node, folder: FolderAhead, ids: bytes) -> None:
        self.node = node
        self.folder = folder
        self.ids = ids
        """Ids of the blobs, one after another."""
        self.is_begun = False
        self.file: TargetFile | None = None
        """None before it is begun, if what is there stays, and when all is done."""
        self.reason = ""
        """Why it cannot be restored."""
        self._left = len(ids) // ID_BYTES
        self._lock = threading.Lock() if self._left > 1 else None

    @property
    def is_spread(self) -> bool:
        """Whether its content is in several blobs."""
        return self._lock is not None

    def put(self, offset: int, content: bytes | None) -> bool:
        """Write a piece, None for a hole; say whether that was the last one.

        Raises:
            TargetError: If the target cannot go on.
        """
        file = self.file
        if file is not None and content is not None and not self.reason:
            try:
                file.write_at(offset, content)
            except EntryNotRestored as error:
                self.reason = error.message
        return self._count()

    def lose(self, reason: str) -> bool:
        """Do without a piece and so without the file; say whether that was the last one.

        Raises:
            TargetError: If the target cannot go on.
        """
        self.reason = self.reason or reason
        return self._count()

    def end(self) -> None:
        """Finish or abandon the file if it was begun, and let go of it.

        Raises:
            TargetError: If the target cannot go on.
        """
        # Whoever holds a file holds its directory open, and a window has thousands of files.
        file, self.file = self.file, None
        if file is None:
            return
        if self.reason:
            file.abandon(self.reason)
            return
        try:
            file.finish()
        except EntryNotRestored:
            return  # the target has counted and reported it

    def _count(self) -> bool:
        if self._lock is None:
            self._left -= 1
        else:
            with self._lock:
                self._left -= 1
                if self._left:
                    return False
        self.end()
        return True


@final
class Window:
    """Directories and files that were met one after another."""

    __slots__ = ("files", "folders", "size")

    def __init__(self) -> None:
        self.folders: list[FolderAhead] = []
        """Those that have to be made whether or not there is a file in them."""
        self.files: list[FileAhead] = []
        self.size = 0
        """How much it holds, in files or what is like them."""


@final
class Gatherer:
    """Walks a snapshot and fills windows; links and special files go to ``late``."""

    def __init__(
        self, walk: Walk, selection: Selection, late: LateNodes, on_fault: OnFault
    ) -> None:
        self._walk = walk
        self._wants = selection.wants
        self._late = late
        self._on_fault = on_fault
        self._names = FirstNames()
        self._way = [FolderAhead(None, None)]
        self._paths = [b"/"]

    def windows(self) -> Iterator[Window | None]:
        """Yield windows that together hold all that is wanted and not late.

        Between them None is yielded again and again, so that whoever has to look after others
        may do it.

        Raises:
            TransportError: If the destination fails.
            TargetError: If there is no room to remember links.
        """
        window = Window()
        size = _FIRST_WINDOW_SIZE
        wants = self._wants
        for number, (node, stored) in enumerate(self._walk.steps(), 1):
            if not number % _STRETCH_STEPS:
                yield None
            if node.kind is EntryKind.DIRECTORY:
                self._enter(node)
                if wants(node):
                    window.folders.append(self._way[-1])
                    window.size += 1
            elif wants(node):
                self._add(window, node, stored)
            if window.size >= size:
                yield window
                size = _WINDOW_SIZE
                window = Window()
        yield window

    def _enter(self, node: Node) -> None:
        above = node.path.rpartition(b"/")[0] or b"/"
        while self._paths[-1] != above:
            self._paths.pop()
            self._way.pop()
        self._way.append(FolderAhead(node, self._way[-1]))
        self._paths.append(node.path)

    def _add(self, window: Window, node: Node, stored: TreeNode) -> None:
        folder = self._way[-1]
        try:
            ids = joined_ids(stored) if node.kind is EntryKind.FILE else b""
        except TreeBroken as error:
            self._on_fault(node.path, DamagedRepository(str(error)))
            return
        first = self._names.first_of(node, ids) if node.links > 1 else node.path
        if first is node.path and node.kind is EntryKind.FILE:
            window.files.append(FileAhead(node, folder, ids))
            window.size += 1 + len(ids) // _BYTES_LIKE_A_FILE
            return
        self._late.push(LateNode(node.path, stored, b"" if first is node.path else first))
        if not window.folders or window.folders[-1] is not folder:
            window.folders.append(folder)


@final
class WindowsAhead:
    """The windows of a `Gatherer`, of which the next one is gathered bit by bit in spare time."""

    def __init__(self, gatherer: Gatherer) -> None:
        self._steps = gatherer.windows()
        self._next: Window | None = None

    def go_on(self) -> bool:
        """Gather a little, and say whether there was anything to do.

        Raises:
            TransportError: If the destination fails.
            TargetError: If there is no room to remember links.
        """
        if self._next is not None:
            return False
        try:
            self._next = next(self._steps)
        except StopIteration:
            return False
        return True

    def take(self) -> Window | None:
        """Return the next window, gathering what is left of it; None after the last one.

        Raises:
            TransportError: If the destination fails.
            TargetError: If there is no room to remember links.
        """
        while self.go_on():
            pass
        window, self._next = self._next, None
        return window


def joined_ids(stored: TreeNode) -> bytes:
    """Return the ids of a file's blobs one after another.

    Raises:
        TreeBroken: If one is no id.
    """
    content = stored.content
    if content and len(content) == 1 and len(content[0]) == _ID_DIGITS:
        try:
            ids = bytes.fromhex(content[0])
        except ValueError:
            ids = b""
        if len(ids) == ID_BYTES:  # less if there were spaces between digits
            return ids
    return b"".join(stored.content_ids())
