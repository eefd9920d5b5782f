"""Hypothesis strategies for trees of files."""

import os

from hypothesis import strategies as st

from backapp_core.model.entries import EntryKind
from backapp_core.testing.trees import Item, TreeSpec, directory, symlink

_BYTES = [bytes([value]) for value in range(1, 256) if value != ord("/")]
_ODD = [
    b"-rf",
    b"..x",
    b"...",
    b"a\nb",
    b"\x1b[0m",
    b"\xff",
    b"caf\xc3\xa9",
    b"cafe\xcc\x81",
    b" ",
    b"a.",
]
_MTIMES = st.integers(min_value=-(2**31) * 10**9, max_value=2**33 * 10**9)


def names(*, max_size: int = 255) -> st.SearchStrategy[bytes]:
    """File names: any bytes that the system takes, of up to ``max_size``, odd ones often."""
    free = st.lists(st.sampled_from(_BYTES), min_size=1, max_size=max_size).map(b"".join)
    plain = st.text("abc.-", min_size=1, max_size=4).map(os.fsencode)
    return st.one_of(plain, st.sampled_from(_ODD), free).filter(
        lambda name: name not in {b".", b".."}
    )


def files() -> st.SearchStrategy[Item]:
    """Regular files: mostly small, some sparse."""
    modes = st.integers(min_value=0, max_value=0o7777)
    dense = st.builds(Item, st.binary(max_size=200), mode=modes, mtime_ns=_MTIMES)
    pieces = st.lists(
        st.tuples(
            st.integers(0, 30).map(lambda block: block * 4096), st.binary(min_size=1, max_size=9)
        ),
        max_size=3,
        unique_by=lambda piece: piece[0],
    ).map(lambda found: tuple(sorted(found)))
    sparse = st.builds(
        Item, pieces=pieces, size_bytes=st.integers(31 * 4096, 40 * 4096), mtime_ns=_MTIMES
    )
    return st.one_of(dense, dense, sparse)


def others() -> st.SearchStrategy[Item]:
    """Symlinks, fifos and sockets."""
    targets = st.one_of(names(max_size=40), st.sampled_from([b"/", b"..", b".", b"a/../b"]))
    return st.one_of(
        st.builds(symlink, targets, mtime_ns=_MTIMES),
        st.builds(Item, kind=st.sampled_from([EntryKind.FIFO, EntryKind.SOCKET]), mtime_ns=_MTIMES),
    )


def directories() -> st.SearchStrategy[Item]:
    """Directories that their owner may enter."""
    modes = st.integers(min_value=0, max_value=0o7777).map(lambda mode: mode | 0o700)
    return st.builds(directory, mode=modes, mtime_ns=_MTIMES)


@st.composite
def trees(draw: st.DrawFn, *, max_items: int = 12) -> TreeSpec:
    """Trees of up to ``max_items`` drawn items, with hard links across directories."""
    items: dict[bytes, Item] = {}
    folders = [b""]
    for _ in range(draw(st.integers(0, max_items))):
        folder = draw(st.sampled_from(folders))
        name = draw(names())
        path = folder + b"/" + name if folder else name
        if path in items:
            continue
        firsts = [known for known, item in items.items() if _may_be_linked(item)]
        item = draw(st.one_of(directories(), files(), others()))
        if firsts and draw(st.integers(0, 5)) == 0:
            item = Item(link_of=draw(st.sampled_from(firsts)))
        items[path] = item
        if item.kind is EntryKind.DIRECTORY:
            folders.append(path)
    return TreeSpec(items)


def _may_be_linked(item: Item) -> bool:
    return item.kind is not EntryKind.DIRECTORY and item.link_of is None
