"""The `command` scanner: one file, whose content counts only if its source came to a good end."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.errors import CommandFailed, EntryVanished, InputError, RunCancelled
from backapp_core.events import Recording
from backapp_core.model.jobs import BackupOptions
from backapp_core.ports.scanners import OpenedFile
from backapp_core.ports.surroundings import NO_KEYS, CancelToken, Surroundings
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport
from backapp_core.testing.memory_archiver import MEMORY_ARCHIVER
from backapp_core.testing.stream_scanner_contract import StreamScannerContract
from backapp_plugins.scanners.command import CommandSettings, open_command, sources

PYTHON = os.fsencode(sys.executable)


class TestCommand(StreamScannerContract):
    @pytest.fixture
    def open_scanner(self, tmp_path: Path):
        def open_scanner(path, content, is_failing, surroundings):
            (tmp_path / "content").write_bytes(content)
            command = os.fsencode(f"cat '{tmp_path}/content'; exit {is_failing:d}")
            return open_command(CommandSettings((path,), (b"sh", b"-c", command)), surroundings)

        return open_scanner


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(
        tmp_path / "cache", tmp_path / "state", events=Recording(), cancel=CancelToken()
    )


@pytest.fixture
def open_stream(surroundings: Surroundings) -> Iterator[Callable[..., OpenedFile]]:
    """Return a function that opens what a command prints."""
    opened: list[OpenedFile] = []

    def open_stream(*command: bytes, path: bytes = b"/stdin", **settings) -> OpenedFile:
        scanner = open_command(CommandSettings((path,), command, **settings), surroundings)
        *_, folder = scanner.scan()
        opened.append(folder.open(folder.entries[0]))
        return opened[-1]

    yield open_stream
    for one in opened:
        one.close()


def read(stream: OpenedFile, step: int = 1 << 16) -> bytes:
    """Read to the end, as an archiver does."""
    content = b""
    while piece := stream.read_at(len(content), step):
        content += piece
        if len(piece) < step:
            break
    return content


def script(text: str) -> tuple[bytes, ...]:
    return PYTHON, b"-c", text.encode()


def test_no_read_is_short_before_the_end(open_stream):
    stream = open_stream(
        *script(
            "import sys\nfor _ in range(50): sys.stdout.write('x' * 1000); sys.stdout.flush()\n"
        )
    )
    assert len(stream.read_at(0, 30_000)) == 30_000
    assert len(stream.read_at(30_000, 30_000)) == 20_000
    assert stream.read_at(50_000, 30_000) == b""


def test_command_that_prints_nothing_is_an_empty_file(open_stream):
    assert read(open_stream(b"true")) == b""


def test_gaps_and_closed_streams_are_refused(open_stream):
    stream = open_stream(b"echo", b"hello")
    with pytest.raises(ValueError, match="without gaps"):
        stream.read_at(3, 1)
    stream.close()
    stream.close()
    with pytest.raises(ValueError, match="while it is open"):
        stream.read_at(0, 1)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("sys.exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", r"was ended by signal \d+"),
    ],
)
@pytest.mark.parametrize("printed", [0, 100, 1 << 16])
def test_bad_end_is_said_instead_of_the_end_of_the_content(open_stream, code, how, printed):
    stream = open_stream(
        *script(
            f"import os, signal, sys\nsys.stdout.write('x' * {printed}); sys.stdout.flush()\n{code}"
        )
    )
    with pytest.raises(CommandFailed, match=f"{sys.executable}' {how}"):
        read(stream)


def test_command_that_closes_its_output_and_fails_later_has_failed(open_stream):
    stream = open_stream(b"sh", b"-c", b"exec >&-; sleep 0.3; exit 4")
    with pytest.raises(CommandFailed, match="exit code 4"):
        read(stream)


def test_command_that_does_not_exist_is_named(open_stream):
    with pytest.raises(CommandFailed, match="'no-such-tool' cannot be started: No such file"):
        open_stream(b"no-such-tool", b"secret")
    with pytest.raises(CommandFailed, match="'/etc/passwd' cannot be started: Permission denied"):
        open_stream(b"/etc/passwd")


def test_arguments_are_no_business_of_a_shell_and_none_of_messages(open_stream):
    assert read(open_stream(b"printf", b"%s|", b"$HOME; *", b"\xff ")) == b"$HOME; *|\xff |"
    with pytest.raises(CommandFailed) as caught:
        read(open_stream(b"false", b"--password=secret"))
    assert "secret" not in caught.value.message


def test_command_reads_nothing_of_our_standard_input_and_no_descriptor_of_ours(open_stream):
    kept = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(kept, True)  # noqa: FBT003  # positional only
    with closing(os.fdopen(kept)):
        listed = read(open_stream(b"ls", b"-l", b"/proc/self/fd"))
    assert b" 0 -> /dev/null" in listed
    assert f" {kept} ->".encode() not in listed


def test_errors_of_the_command_go_where_ours_do(open_stream, capfd):
    read(open_stream(b"sh", b"-c", b"echo warning >&2"))
    assert capfd.readouterr().err == "warning\n"


def test_wish_to_stop_ends_a_silent_command(open_stream, surroundings):
    stream = open_stream(b"sleep", b"600")
    process = stream._running._process
    threading.Timer(0.1, surroundings.cancel.cancel).start()
    with pytest.raises(RunCancelled):
        read(stream)
    stream.close()
    assert process.returncode == -signal.SIGTERM


def test_wish_to_stop_ends_the_wait_for_the_exit_of_a_command(open_stream, surroundings):
    stream = open_stream(b"sh", b"-c", b"exec >&-; exec sleep 600")
    threading.Timer(0.1, surroundings.cancel.cancel).start()
    with pytest.raises(RunCancelled):
        read(stream)


def test_command_that_ctrl_c_ended_together_with_us_has_not_failed(open_stream, surroundings):
    stream = open_stream(*script("import os, signal; os.kill(os.getpid(), signal.SIGINT)"))
    running = stream._running
    running._process.wait()
    has_ended = running.has_ended

    def has_ended_late(wait_seconds: float) -> bool:
        surroundings.cancel.cancel()
        return has_ended(wait_seconds)

    running.has_ended = has_ended_late
    with pytest.raises(RunCancelled):
        read(stream)


def test_close_kills_a_command_that_does_not_want_to_end(open_stream, monkeypatch):
    monkeypatch.setattr(sources, "_GRACE_SECONDS", 0.1)
    stream = open_stream(
        *script(
            "import signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('ready', flush=True)\n"
            "time.sleep(600)"
        )
    )
    process = stream._running._process
    assert stream.read_at(0, 6) == b"ready\n"
    stream.close()
    assert process.returncode == -signal.SIGKILL


def test_unread_command_is_ended_and_leaves_no_zombie(open_stream):
    stream = open_stream(b"yes")
    stream.read_at(0, 10)
    pid = stream._running._process.pid
    stream.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_folders_on_the_way_come_first_and_are_those_of_this_machine(surroundings, tmp_path):
    tmp_path.chmod(0o2750)
    path = os.fsencode(tmp_path) + b"/not/there/dump.sql"
    scanner = open_command(CommandSettings((path,), (b"true",)), surroundings)
    folders = list(scanner.scan())
    assert scanner.roots == (path,)
    assert scanner.problems == 0
    assert folders[0].path == b"/"
    assert [one.path for one in folders[-3:]] == [
        os.fsencode(tmp_path),
        os.fsencode(tmp_path) + b"/not",
        os.fsencode(tmp_path) + b"/not/there",
    ]
    assert [len(one.entries) for one in folders] == [0] * (len(folders) - 1) + [1]
    assert [stat.filemode(one.entry.mode) for one in folders[-3:]] == [
        "drwxr-s---",
        "drwxr-xr-x",
        "drwxr-xr-x",
    ]
    assert folders[-3].entry.mtime_ns == tmp_path.stat().st_mtime_ns
    [file] = folders[-1].entries
    assert (file.name, stat.filemode(file.mode), file.size_bytes) == (
        b"dump.sql",
        "-rw-------",
        0,
    )
    assert folders[-1].attributes(file) == folders[0].attributes(None) == ()
    assert folders[-1].read_whole(file, 1 << 20) is None
    with pytest.raises(EntryVanished):
        folders[0].open(file)
    with pytest.raises(EntryVanished):
        folders[-1].link_target(file)


def test_names_of_users_are_those_of_this_machine(surroundings):
    scanner = open_command(CommandSettings((b"/stdin",), (b"true",)), surroundings)
    assert scanner.user_name(0) == scanner.group_name(0) == "root"
    assert scanner.user_name(2**31 - 9) == scanner.group_name(2**31 - 9) == ""


def test_nothing_is_run_before_the_file_is_opened(surroundings, tmp_path):
    mark = tmp_path / "mark"
    settings = CommandSettings((b"/stdin",), (b"touch", os.fsencode(mark)))
    [folder] = open_command(settings, surroundings).scan()
    folder.read_whole(folder.entries[0], 1 << 20)
    assert not mark.exists()
    with folder.open(folder.entries[0]) as stream:
        read(stream)
    assert mark.exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (CommandSettings((), (b"true",)), "one path"),
        (CommandSettings((b"/a", b"/b"), (b"true",)), "one path"),
        (CommandSettings((b"/",), (b"true",)), "no path for a file"),
        (CommandSettings((b"dump",), (b"true",)), "no path for a file"),
        (CommandSettings((b"/a/../b",), (b"true",)), "no path for a file"),
        (CommandSettings((b"/a\0b",), (b"true",)), "no path for a file"),
        (CommandSettings((b"/a",)), "name a command"),
        (CommandSettings((b"/a",), (b"true",), reads_stdin=True), "name a command"),
        (CommandSettings((b"/a",), (b"",)), "has a name"),
        (CommandSettings((b"/a",), (b"echo", b"a\0b")), "NUL"),
    ],
)
def test_settings_that_make_no_sense_are_refused(surroundings, settings, reason):
    with pytest.raises(InputError, match=reason):
        open_command(settings, surroundings)


def test_cancelled_scan_does_not_begin(surroundings):
    surroundings.cancel.cancel()
    with pytest.raises(RunCancelled):
        open_command(CommandSettings((b"/a",), (b"true",)), surroundings).scan()


READ_STDIN = """
import hashlib, sys
from pathlib import Path
from backapp_core.errors import CommandFailed
from backapp_core.ports.surroundings import Surroundings
from backapp_plugins.scanners.command import CommandSettings, open_command

scanner = open_command(
    CommandSettings((b"/stdin",), reads_stdin=True), Surroundings(Path("/x"), Path("/y"))
)
[folder] = scanner.scan()
with folder.open(folder.entries[0]) as stream:
    first = stream.read_at(0, 100_000)
    rest = stream.read_at(len(first), 10_000_000)
print(len(first), len(rest))
try:
    folder.open(folder.entries[0])
except CommandFailed as error:
    print(error.message)
"""


@pytest.mark.parametrize("is_file", [False, True])
def test_standard_input_is_read_to_its_end_and_once(tmp_path, is_file):
    content = b"x" * 250_000
    (tmp_path / "input").write_bytes(content)
    with (tmp_path / "input").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", READ_STDIN],
            stdout=subprocess.PIPE,
            text=not is_file,
            check=True,
            **({"stdin": file} if is_file else {"input": content.decode()}),
        )
    output = done.stdout if isinstance(done.stdout, str) else done.stdout.decode()
    assert output.splitlines() == [
        "100000 150000",
        "standard input was read already, and can be read only once",
    ]


def test_output_of_a_command_comes_back_from_a_repository(surroundings, tmp_path):
    transport = MemoryTransport(MemoryBucket())
    with MEMORY_ARCHIVER.create(
        transport, MEMORY_ARCHIVER.settings(), NO_KEYS, surroundings
    ) as repository:
        settings = CommandSettings((b"/dumps/numbers",), (b"seq", b"100000"))
        scanner = open_command(settings, surroundings)
        snapshot = repository.backup(scanner, BackupOptions("host", "user")).snapshot
        target = FolderTarget(os.fsencode(tmp_path / "back"), ExtractOptions(), surroundings)
        repository.restore(snapshot, target)
        assert (tmp_path / "back/dumps/numbers").read_text().split() == [
            str(number) for number in range(1, 100_001)
        ]
        failing = CommandSettings((b"/dumps/numbers",), (b"sh", b"-c", b"seq 100000; exit 1"))
        with pytest.raises(CommandFailed):
            repository.backup(open_command(failing, surroundings), BackupOptions("host", "user"))
        assert list(repository.snapshots()) == [snapshot]
