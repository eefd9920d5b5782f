"""Keys come from where they are kept, the command line first, and are never shown."""

import os
import pty
import subprocess
import sys
import termios
from contextlib import nullcontext
from pathlib import Path

import pytest

from backapp_cli.assemble import Choices, Secret, identity_files, secret
from backapp_cli.passwords import keys
from backapp_core.errors import BackappError, InputError, WrongPassword


def _password(where: Secret) -> str:
    found = keys(where, (), asking=nullcontext)
    assert found.password is not None
    return found.password()


@pytest.mark.parametrize(
    ("environment", "file", "found"),
    [
        ({"BACKAPP_PASSWORD": "a", "RESTIC_PASSWORD": "b"}, "", Secret(value="a")),
        ({"RESTIC_PASSWORD": "b"}, "", Secret(value="b")),
        ({"RESTIC_PASSWORD_FILE": "c"}, "", Secret(file="c")),
        ({"RESTIC_PASSWORD_COMMAND": "d"}, "", Secret(command="d")),
        ({"BACKAPP_PASSWORD": "a"}, "f", Secret(file="f")),
        ({}, "", Secret(command="configured")),
    ],
)
def test_what_is_nearer_wins(environment: dict[str, str], file: str, found: Secret) -> None:
    choices = Choices(password_file=file, environment=environment)
    assert secret(choices, Secret(command="configured")) == found


def test_identities_may_be_listed_in_the_environment() -> None:
    listed = {"BACKAPP_IDENTITY_FILE": os.pathsep.join(["a", "b"])}
    assert identity_files(Choices(environment=listed), ("c",)) == ("a", "b")
    assert identity_files(Choices(environment={}), ("c",)) == ("c",)
    assert identity_files(Choices(identity_files=("d",), environment=listed)) == ("d",)


def test_a_password_is_read_without_the_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(" open sesame \n")
    assert _password(Secret(file=str(tmp_path / "file"))) == "open sesame"


def test_a_command_runs_without_a_shell(tmp_path: Path) -> None:
    line = f"{sys.executable} -c 'print(\"a $HOME; b\")'"
    assert _password(Secret(command=line)) == "a $HOME; b"


@pytest.mark.parametrize(
    "where",
    [
        Secret(file="/nothing/here"),
        Secret(command="/nothing/here"),
        Secret(command="false hush"),
        Secret(command="'"),
        Secret(command="true"),
    ],
)
def test_a_password_that_cannot_be_got_is_a_sentence_without_it(where: Secret) -> None:
    with pytest.raises(InputError) as caught:
        _password(where)
    assert "hush" not in caught.value.message


def test_without_a_terminal_nobody_is_asked(monkeypatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(WrongPassword, match="--password-file"):
            _password(Secret())


def test_a_secret_is_in_no_representation() -> None:
    assert "hush" not in repr(Secret(value="hush"))


@pytest.mark.parametrize(
    ("typed", "is_new", "said"),
    [
        (["open sesame"], False, "got 'open sesame'"),
        (["a", "a"], True, "got 'a'"),
        (["a", "b"], True, "refused: the two passwords differ; nothing was changed"),
        ([""], False, "refused: no password was entered"),
    ],
)
def test_a_person_is_asked_on_the_terminal_only(typed, *, is_new: bool, said: str) -> None:
    program = (
        "from contextlib import nullcontext\n"
        "from backapp_cli.passwords import keys\n"
        "from backapp_cli.assemble import Secret\n"
        "from backapp_core.errors import BackappError\n"
        f"found = keys(Secret(), (), asking=nullcontext, is_new={is_new})\n"
        "try: print('got', repr(found.password()))\n"
        "except BackappError as error: print('refused:', error)\n"
    )
    leader, follower = pty.openpty()
    child = _on_terminal(["-c", program], follower)
    os.close(follower)
    shown = b""
    for number, line in enumerate(typed):
        while shown.count(b"password: ") + shown.count(b"again: ") <= number:
            shown += os.read(leader, 1000)
        os.write(leader, line.encode() + b"\n")
    out, _ = child.communicate(timeout=30)
    assert out.decode().strip() == said
    assert b"sesame" not in shown
    os.close(leader)


@pytest.mark.parametrize("command", ["backup", "restore", "init"])
def test_the_question_for_a_password_may_be_answered_with_ctrl_c(
    kept, source, tmp_path: Path, monkeypatch, command: str
) -> None:
    monkeypatch.delenv("BACKAPP_PASSWORD")
    arguments = {
        "backup": [source],
        "restore": ["latest", "-t", tmp_path / "back"],
        "init": ["-r", tmp_path / "new"],
    }
    leader, follower = pty.openpty()
    words = [command, *map(str, arguments[command])]
    child = _on_terminal(["-m", "backapp_cli", *words], follower)
    shown = b""
    while b"password: " not in shown:
        shown += os.read(leader, 1000)
    os.write(leader, b"\x03")
    child.communicate(timeout=30)
    assert child.returncode == 130
    assert termios.tcgetattr(follower)[3] & termios.ECHO
    assert not (tmp_path / "new").exists()
    os.close(leader)
    os.close(follower)


def _on_terminal(arguments: list[str], follower: int) -> subprocess.Popen[bytes]:
    """Start Python as the leader of a session that the terminal controls."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        start_new_session=True,
        # Opening a terminal makes it the one that controls the new session.
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # noqa: PLW1509  # no thread runs here
    )


@pytest.fixture
def sealed(cli, source, tmp_path: Path, monkeypatch) -> Path:
    """An encrypted repository with one snapshot; returns the file with its identity."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"# made by a test\n{identity}\n")
    (tmp_path / "recipients").write_text(f"# public\n\n{identity.to_public()}\n")
    monkeypatch.setenv("BACKAPP_REPOSITORY", str(tmp_path / "sealed"))
    assert "encrypted" in cli("init", "--recipients-file", tmp_path / "recipients").out
    cli("backup", source)
    monkeypatch.setenv("BACKAPP_CACHE_DIR", str(tmp_path / "elsewhere"))
    return tmp_path / "identity"


def test_a_sealed_repository_opens_with_its_identity(
    cli, sealed: Path, source, tmp_path: Path, monkeypatch
) -> None:
    cli("restore", "latest", "-t", tmp_path / "one", "-I", sealed)
    monkeypatch.setenv("BACKAPP_IDENTITY_FILE", str(sealed))
    cli("check", "--read-data")
    assert Path(f"{tmp_path}/one{source}/todo").exists()


def test_a_sealed_repository_stays_shut_without_it(cli, sealed, tmp_path: Path) -> None:
    import pyrage

    (tmp_path / "other").write_text(str(pyrage.x25519.Identity.generate()))
    for more in ([], ["-I", tmp_path / "other"]):
        result = cli("restore", "latest", "-t", tmp_path / "back", *more, code=12)
        assert result.err.startswith(("backapp: ", "restoring"))
    assert not list((tmp_path / "back").rglob("todo"))


@pytest.mark.parametrize(
    ("options", "archiver"),
    [
        ((), "restic"),
        (("-o", "chunker=rabin"), "restic"),
        (("--recipients-file", "RECIPIENTS"), "targz"),
        (("--archiver", "targz"), "targz"),
    ],
)
def test_a_repository_is_restics_unless_there_are_recipients(
    cli, tmp_path: Path, options: tuple[str, ...], archiver: str
) -> None:
    import pyrage

    recipients = tmp_path / "recipients"
    recipients.write_text(str(pyrage.x25519.Identity.generate().to_public()))
    named = (recipients if one == "RECIPIENTS" else one for one in options)
    [made] = cli("init", "-r", tmp_path / "place", "--json", *named).of("initialized")
    assert made["archiver"] == archiver


def test_without_a_password_nothing_is_created(process, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("BACKAPP_PASSWORD")
    result = process("init", "-r", tmp_path / "place", code=12)
    assert "give --password-file, --password-command or $BACKAPP_PASSWORD" in result.err
    assert not (tmp_path / "place").exists()


def test_a_job_without_a_password_of_its_own_takes_what_other_commands_take(
    cli, kept, source, tmp_path: Path, monkeypatch
) -> None:
    cli("job", "add", "docs", source)
    assert "completed" in cli("job", "run", "docs").out
    monkeypatch.setenv("BACKAPP_PASSWORD", "wrong")
    assert "no key" in cli("job", "run", "docs", code=1).err
    (tmp_path / "password").write_text("secret\n")
    cli("job", "edit", "docs", "--password-file", tmp_path / "password")
    assert "completed" in cli("job", "run", "docs").out


def test_errors_of_keys_are_ours() -> None:
    with pytest.raises(BackappError, match="/nothing"):
        keys(Secret(), ("/nothing",), asking=nullcontext)
