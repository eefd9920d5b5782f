"""What may not be read is a problem of its own path and nothing else; as a user without rights."""

import os
import sys
import traceback

import pytest

from backapp_core.errors import EntryUnreadable
from backapp_core.testing.trees import Item, TreeSpec, directory, symlink

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
_SOMEBODY = 65_533


def as_somebody(work) -> None:
    """Do ``work`` in a child process without rights; fails if it raises there."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(_SOMEBODY)
            os.setuid(_SOMEBODY)
            work()
            status = 0
        except BaseException:  # noqa: BLE001  # shown, and the child fails
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.fixture
def open_way(source):
    """Let everybody come as far as the top, whatever the temporary folder allows."""
    path = os.path.dirname(source.top)
    changed = []
    while path not in {b"/", b"/tmp"}:
        mode = os.stat(path).st_mode
        changed.append((path, mode))
        os.chmod(path, mode | 0o755)
        path = os.path.dirname(path)
    yield
    for path, mode in changed:
        os.chmod(path, mode)


def test_directory_that_may_not_be_listed_is_handed_over_without_entries(source, open_way):
    closed = directory(mode=0o711, mtime_ns=7)
    TreeSpec({b"closed/file": Item(), b"closed": closed, b"open/file": Item()}).write(source.top)

    def work():
        entries = source.entries()
        assert set(entries) == {b"closed/", b"open/", b"open/file"}
        assert entries[b"closed/"].mtime_ns == 7
        assert entries[b"closed/"].mode & 0o7777 == 0o711
        (problem,) = source.events.events
        assert (problem.path, problem.reason) == (source.top + b"/closed", "permission denied")

    as_somebody(work)


def test_root_inside_a_directory_that_may_not_be_listed_is_kept(source, open_way):
    closed = directory(mode=0o711)
    TreeSpec({b"closed/a/file": Item(), b"closed/b": Item(), b"closed": closed}).write(source.top)

    def work():
        roots = (source.top + b"/closed/a",)
        assert source.paths(roots=roots) == {b"closed/", b"closed/a/", b"closed/a/file"}
        assert source.events.events == []
        assert source.paths(roots=(source.top, *roots)) == {
            b"closed/",
            b"closed/a/",
            b"closed/a/file",
        }
        assert source.events.problem_paths == [source.top + b"/closed"]

    as_somebody(work)


def test_directory_whose_entries_may_not_be_examined_is_one_problem_each(source, open_way):
    TreeSpec(
        {b"listed/x": Item(), b"listed/y": symlink(b"x"), b"listed": directory(mode=0o744)}
    ).write(source.top)

    def work():
        assert source.paths() == {b"listed/"}
        wanted = {source.top + b"/listed/x", source.top + b"/listed/y"}
        assert set(source.events.problem_paths) == wanted
        assert len(source.events.events) == 2
        assert {event.reason for event in source.events.events} == {"permission denied"}

    as_somebody(work)


def test_file_that_may_not_be_read_is_listed_and_its_opening_refused(source, open_way):
    secret = Item(b"x", mode=0, xattrs=((b"user.note", b"n"),))
    TreeSpec({b"secret": secret, b"plain": Item(b"y")}).write(source.top)

    def work():
        for found in source.scanner().scan():
            if found.path == source.top:
                plain, hidden = found.entries
                with pytest.raises(EntryUnreadable, match="permission denied"):
                    found.open(hidden)
                with pytest.raises(EntryUnreadable, match="permission denied"):
                    found.attributes(hidden)
                with found.open(plain) as opened:
                    assert opened.read_at(0, 9) == b"y"
                assert found.attributes(plain) == ()
        assert source.events.events == []

    as_somebody(work)


def test_access_time_of_a_file_of_ones_own_does_not_move(source, open_way):
    mine = Item(b"x", uid=_SOMEBODY, gid=_SOMEBODY)
    TreeSpec({b"mine": mine}).write(source.top)
    path = source.top + b"/mine"
    os.utime(path, ns=(1, 2))

    def work():
        for found in source.scanner().scan():
            for entry in found.entries:
                with found.open(entry) as opened:
                    assert opened.read_at(0, 1) == b"x"
        assert os.stat(path).st_atime_ns == 1

    as_somebody(work)
