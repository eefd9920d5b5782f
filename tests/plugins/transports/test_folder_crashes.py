"""Writers that are killed or interrupted at every line of what they run."""

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from backapp_core.errors import ObjectMissing
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.faults import kill_this_process
from backapp_plugins.transports import folder as plugin
from backapp_plugins.transports.folder import FolderSettings, open_folder

pytestmark = pytest.mark.thorough

PACKAGE = str(Path(plugin.__file__).parent)
NEW = [b"n" * 700_000, b"e" * 700_000, b"w" * 700_000]
OLD = b"old"


@pytest.fixture
def transport(tmp_path):
    transport = opened(tmp_path)
    transport.prepare()
    transport.put("first", [b""])  # what runs once in a process has run
    transport.delete("first")
    return transport


def strike_line(number, action, spared=()):
    """Do ``action`` at the given line that the package runs; return how many lines it ran."""
    ran = 0

    def trace(frame, event, argument):
        nonlocal ran
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and frame.f_code.co_name not in spared:
            ran += 1
            if ran == number:
                action()
        return trace

    sys.settrace(trace)
    return lambda: ran


def put_struck(transport, number, action, replace, spared=()):
    lines = strike_line(number, action, spared)
    try:
        transport.put("data/00/object", iter(NEW), replace=replace)
    finally:
        sys.settrace(None)
    return lines()


def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def stored(transport):
    try:
        return transport.read("data/00/object")
    except ObjectMissing:
        return None


def begin_anew(tmp_path, replace):
    """Return a transport that has stored at most the old object and knows nothing of folders."""
    folder = tmp_path / "repository"
    shutil.rmtree(folder)
    transport = opened(tmp_path)
    transport.prepare()
    if replace:
        transport.put("data/00/object", [OLD])
    return opened(tmp_path)


def opened(tmp_path):
    return open_folder(FolderSettings(tmp_path / "repository"), make_surroundings(tmp_path))


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("replace", [False, True])
def test_a_killed_writer_leaves_the_old_or_the_new_object_and_what_tidying_removes(
    tmp_path, transport, replace, every
):
    transport = begin_anew(tmp_path, replace)
    lines = put_struck(transport, 0, kill_this_process, replace)
    former = OLD if replace else None
    seen = {"former": 0, "new": 0, "tidied": 0}
    points = range(1, lines + 1, every)
    for number in points:
        transport = begin_anew(tmp_path, replace)
        status = in_child(partial(put_struck, transport, number, kill_this_process, replace))
        assert os.WIFSIGNALED(status), f"nothing struck at line {number} of {lines}"
        assert os.WTERMSIG(status) == signal.SIGKILL
        found = stored(transport)
        assert found in {former, b"".join(NEW)}
        seen["former" if found == former else "new"] += 1
        expected = [] if found is None else ["data/00/object"]
        assert [info.name for info in transport.list()] == expected
        left = [*transport.folder.glob("**/.backapp-*")]
        assert transport.tidy(older_than_seconds=0) == len(left) <= 1
        seen["tidied"] += len(left)
        assert [*transport.folder.glob("**/.backapp-*")] == []
    print(f"{len(points)} of {lines} points, all fired: {seen}")
    assert min(seen.values()) > 0


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("replace", [False, True])
def test_an_interrupted_writer_leaves_nothing_but_whole_objects(
    tmp_path, transport, replace, every
):
    def interrupt():
        raise KeyboardInterrupt

    # Within the cleaning up itself a second interruption may leave what tidying removes.
    spared = {"discard"}
    transport = begin_anew(tmp_path, replace)
    lines = put_struck(transport, 0, interrupt, replace, spared)
    former = OLD if replace else None
    for number in range(1, lines + 1, every):
        transport = begin_anew(tmp_path, replace)
        with pytest.raises(KeyboardInterrupt):
            put_struck(transport, number, interrupt, replace, spared)
        assert stored(transport) in {former, b"".join(NEW)}
        assert [*transport.folder.glob("**/.backapp-*")] == [], f"line {number}"


def test_tidying_spares_a_living_writer_of_another_process(transport):
    ready, proceed = os.pipe(), os.pipe()

    def body():
        yield b"x" * (2 << 20)
        os.write(ready[1], b".")
        os.read(proceed[0], 1)
        yield b"y"

    child = os.fork()
    if child == 0:
        try:
            transport.put("slow", body())
        finally:
            os._exit(0)
    assert os.read(ready[0], 1) == b"."
    left = [*transport.folder.glob(".backapp-*")]
    assert len(left) == 1
    os.utime(left[0], (0, 0))
    assert transport.tidy(older_than_seconds=0) == 0
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert transport.tidy(older_than_seconds=0) == 1
    assert [*transport.list()] == []
    for end in (*ready, *proceed):
        os.close(end)


def test_tidying_waits_until_what_is_left_is_old_enough(tmp_path, transport):
    left = transport.folder / ".backapp-1-2-3"
    left.write_bytes(b"x")
    now = make_surroundings(tmp_path).clock.now().timestamp()
    os.utime(left, (now - 100, now - 100))
    assert transport.tidy(older_than_seconds=101) == 0
    assert transport.tidy(older_than_seconds=99) == 1
