"""The machine's own commands, against a real server."""

import json
import os
import plistlib
import pty
import shutil
import socket
import stat
import subprocess
import sys
import threading
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of the agent."""
    return tmp_path / "home" / "config" / "backapp" / "agent"


@pytest.fixture
def enrolled(cli, served):
    cli("agent", "enrol", served.url, "--token", served.token(), "--restore-folder", "/srv/back")
    return served


def test_machine_joins_and_keeps_its_key_for_itself(cli, served, folder):
    said = cli("agent", "enrol", served.url, "--token", served.token()).out
    assert "this machine is enrolled as laptop" in said
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert (folder / "key").read_text().strip() not in said
    assert served.store.agents.get("laptop").revoked_at is None


def test_token_may_come_from_a_file(cli, served, tmp_path):
    file = tmp_path / "token"
    file.write_text(served.token() + "\n")
    file.chmod(0o600)
    found = cli("agent", "enrol", served.url, "--token-file", file, "--json").of("enrolled")
    assert [one["name"] for one in found] == ["laptop"]
    file.chmod(0o644)
    cli("agent", "enrol", served.url, "--token-file", file, code=2)


def test_first_policy_says_what_was_asked_for(cli, served, folder):
    cli(
        *("agent", "enrol", served.url, "--token", served.token()),
        *("--backup-root", "/home", "--restore-folder", "/srv/it's back"),
    )
    said = tomllib.loads((folder / "policy.toml").read_text())
    assert said == {
        "backup_roots": ["/home"],
        "restore_folders": ["/srv/it's back"],
        "commands": False,
    }


def test_machine_whose_policy_was_not_written_is_not_enrolled(cli, served, folder):
    folder.mkdir(parents=True)
    in_the_way = folder / f".policy.toml.{os.getpid()}-{threading.get_native_id()}.draft"
    in_the_way.mkdir()
    command = ("agent", "enrol", served.url, "--token", served.token(), "--backup-root", "/home")
    assert "policy.toml cannot be written" in cli(*command, code=2).err
    assert "not enrolled" in cli("agent", "run", code=2).err
    in_the_way.rmdir()
    cli(*command)
    assert tomllib.loads((folder / "policy.toml").read_text())["backup_roots"] == ["/home"]


def test_policy_that_is_there_is_kept_and_never_mistaken_for_another(cli, served, folder):
    folder.mkdir(parents=True)
    (folder / "policy.toml").write_text("restore_folders = ['/srv/back']\n")
    command = ("agent", "enrol", served.url, "--token", served.token())
    refused = cli(*command, "--backup-root", "/home", code=2)
    assert "policy.toml is there and says something else" in refused.err
    assert not (folder / "key").exists()
    cli(*command)
    assert (folder / "policy.toml").read_text() == "restore_folders = ['/srv/back']\n"


def test_enrolling_twice_is_refused_and_changes_nothing(cli, enrolled, folder, fingerprint):
    before = fingerprint(folder)
    refused = cli("agent", "enrol", enrolled.url, "--token", enrolled.token("other"), code=1)
    assert "enrolled as 'laptop'" in refused.err
    assert fingerprint(folder) == before


def test_lost_answer_is_asked_for_again_with_the_same_key(cli, served, folder):
    token = served.token()
    cli("agent", "enrol", served.url, "--token", token)
    identity = folder / "agent.json"
    plain = json.loads(identity.read_text())
    from backapp_core.engine.tokens import hash_of

    # As if the process had ended before it heard the answer.
    identity.write_text(json.dumps({**plain, "name": "", "token_sha256": hash_of(token)}))
    assert "enrolled as laptop" in cli("agent", "enrol", served.url, "--token", token).out
    assert json.loads(identity.read_text()) == plain


def test_used_token_is_refused_with_a_sentence(cli, enrolled, tmp_path):
    token = enrolled.token("second")
    other = tmp_path / "other-machine"
    cli("agent", "enrol", enrolled.url, "--token", token, "--agent-dir", other)
    third = tmp_path / "third-machine"
    refused = cli("agent", "enrol", enrolled.url, "--token", token, "--agent-dir", third, code=1)
    assert "token" in refused.err
    assert "used" in refused.err


@pytest.mark.parametrize("what", ["expired", "unknown", "shapeless"])
def test_bad_token_is_refused_with_a_sentence(cli, served, what, folder):
    token = {
        "expired": lambda: served.token(lasts=timedelta(seconds=-1)),
        "unknown": lambda: "backapp_enrol_" + "e" * 64,
        "shapeless": lambda: "letmein",
    }[what]()
    refused = cli("agent", "enrol", served.url, "--token", token, code=1)
    assert refused.err.count("\n") == 1
    assert "token" in refused.err
    assert list(served.store.agents.list()) == []
    assert not [*folder.glob("*")]


def test_server_without_tls_elsewhere_is_refused_before_anything_is_sent(cli, folder):
    refused = cli(
        "agent",
        "enrol",
        "http://backup.example.org",
        "--token",
        "backapp_enrol_" + "e" * 64,
        code=2,
    )
    assert "has no TLS" in refused.err
    assert not [*folder.glob("*")]


def test_server_that_does_not_answer_is_said_and_the_key_is_kept_for_the_next_try(
    cli, office, folder
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    refused = cli("agent", "enrol", url, "--token", office.token(), code=1)
    assert f"{url} cannot be reached" in refused.err
    assert refused.err.count("\n") == 1
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("url", ["backup.example.org", "sqlite:///x", "ftp://host", "https://"])
def test_address_that_is_no_server_is_refused(cli, url):
    cli("agent", "enrol", url, "--token", "backapp_enrol_" + "e" * 64, code=2)


@pytest.mark.parametrize(
    "command", [["run"], ["status"], ["sheet", "x", "--print"], ["adopt", "x"], ["install"]]
)
def test_machine_that_is_not_enrolled_is_told_how(cli, command):
    assert "backapp agent enrol" in cli("agent", *command, code=2).err


def test_status_says_how_the_machine_stands(cli, enrolled, tmp_path):
    enrolled.repository(tmp_path / "repository")
    said = cli("agent", "status").out
    for words in ("laptop", enrolled.url, "not running", "to /srv/back", "not created yet"):
        assert words in said
    (found,) = cli("agent", "status", "--json").of("agent")
    assert (found["name"], found["is_running"], found["trouble"]) == ("laptop", False, "")
    assert [one["name"] for one in found["repositories"]] == ["documents"]


def test_status_of_a_revoked_machine_is_a_failure_with_its_sentence(cli, enrolled):
    enrolled.store.agents.revoke(enrolled.store.agents.get("laptop").id)
    assert "taken back" in cli("agent", "status", code=1).err
    assert "taken back" in cli("agent", "run", code=1).err


def test_key_that_others_may_read_is_not_used(cli, enrolled, folder):
    (folder / "key").chmod(0o644)
    assert "chmod 600" in cli("agent", "run", code=2).err


# --- the sheet


@pytest.fixture
def worked(tmp_path):
    """Return a function: let the machine do a run that is asked for now, and return its end."""
    from backapp_core.assembly import assemble
    from backapp_core.engine.agent import Agent
    from backapp_core.engine.agent_limits import AgentLimits
    from backapp_core.ports.surroundings import CancelToken

    def worked(office):
        cancel = CancelToken()
        with assemble(cancel=cancel) as engine:
            folder = tmp_path / "home" / "config" / "backapp" / "agent"
            agent = Agent(engine.plugins, engine.surroundings, folder)
            thread = threading.Thread(target=agent.run, args=(AgentLimits(hello_seconds=0.1),))
            thread.start()
            ended = office.ended(office.ask())
            cancel.cancel()
            thread.join()
        return ended

    return worked


@pytest.fixture
def created(enrolled, tmp_path, source, worked):
    """A repository with a snapshot in it, made by the agent within this process."""
    enrolled.repository(tmp_path / "repository")
    enrolled.job(source)
    assert worked(enrolled).error == ""
    return enrolled


def test_sheet_opens_the_repository(cli, created, tmp_path, monkeypatch):
    (sheet,) = cli("agent", "sheet", "documents", "--print", "--json").of("sheet")
    monkeypatch.setenv("BACKAPP_PASSWORD", sheet["password"])
    assert len(cli("snapshots", "-r", sheet["address"], "--json").of("snapshot")) == 1
    shown = cli("agent", "sheet", "documents", "--print").out
    for words in (sheet["password"], sheet["repository_id"], "restic -r", "backapp restore"):
        assert words in shown
    refused = cli("agent", "sheet", "documents", code=2)  # to what is no terminal
    assert "--print" in refused.err
    assert refused.out == ""
    assert "it fills: documents" in cli("agent", "sheet", "letters", "--print", code=10).err


def test_sheet_of_a_repository_that_was_removed_is_still_had(cli, created):
    (sheet,) = cli("agent", "sheet", "documents", "--print", "--json").of("sheet")
    created.store.jobs.remove("documents")
    created.server.remove_repository(1, "documents")
    (again,) = cli("agent", "sheet", "documents", "--print", "--json").of("sheet")
    assert again == sheet


def test_machine_that_replaces_a_lost_one_goes_on_with_its_repository(
    cli, created, worked, tmp_path
):
    """With the password of the sheet, which is kept if it is the right one."""
    (sheet,) = cli("agent", "sheet", "documents", "--print", "--json").of("sheet")
    shutil.rmtree(tmp_path / "home")
    created.server.revoke(1, "laptop")
    cli("agent", "enrol", created.url, "--token", created.token("desk"))
    assert "it fills: none" in cli("agent", "adopt", "documents", code=10).err
    created.server.hand_over(1, "documents", "desk")
    assert "backapp agent adopt documents" in worked(created).error
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("not-it\n")
    cli("agent", "adopt", "documents", "--password-file", password, code=12)
    assert "backapp agent adopt documents" in worked(created).error
    password.write_text(f"{sheet['password']}\n")
    (said,) = cli("agent", "adopt", "documents", "--password-file", password, "--json").of(
        "adopted"
    )
    assert (said["repository"], len(said["id"])) == ("documents", 32)
    password.unlink()
    ended = worked(created)
    assert (ended.error, ended.counts.files_new) == ("", 0)
    assert (
        "has the password of 'documents' already" in cli("agent", "adopt", "documents", code=2).err
    )
    (again,) = cli("agent", "sheet", "documents", "--print", "--json").of("sheet")
    assert again == sheet
    repository = created.store.repositories.get("documents")
    machines = [one.agent_id for one in created.store.repositories.receipts(repository.id)]
    assert machines == [created.store.agents.get(name).id for name in ("desk", "laptop")]


@pytest.mark.interop  # three programs on terminals
def test_sheet_is_confirmed_by_the_end_of_the_password(cli, created, tmp_path):
    (sheet,) = cli("agent", "sheet", "documents", "--print", "--json").of("sheet")
    assert on_terminal("agent", "sheet", "documents", answer="wrong")[0] == 1
    assert not created.store.repositories.get("documents").is_protected
    code, said = on_terminal("agent", "sheet", "documents", answer=sheet["password"][-4:])
    assert (code, "is protected" in said) == (0, True)
    assert created.store.repositories.get("documents").is_protected
    code, said = on_terminal("agent", "sheet", "documents", answer="")
    assert (code, "--again" in said, sheet["password"] in said) == (2, True, False)
    code, said = on_terminal("agent", "sheet", "documents", "--again", answer="")
    assert (code, "warning" in said, sheet["password"] in said) == (0, True, True)


def on_terminal(*arguments: str, answer: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; return its exit code and all that it showed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "backapp_cli", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
    )
    os.close(follower)
    os.write(leader, f"{answer}\n".encode())
    said = b""
    try:
        while part := os.read(leader, 65536):
            said += part
    except OSError:
        pass  # the other side is closed
    os.close(leader)
    return process.wait(), said.decode()


# --- as a service


def test_service_is_written_for_a_user_and_removed_again(cli, enrolled, tmp_path):
    said = cli("agent", "install", "--user", "--for", "systemd").out
    unit = tmp_path / "home" / ".config/systemd/user/backapp-agent.service"
    assert str(unit) in said
    assert "systemctl --user enable --now backapp-agent" in said
    assert "agent run --agent-dir" in unit.read_text()
    assert "removed" in cli("agent", "uninstall", "--user", "--for", "systemd").out
    assert not unit.exists()
    assert "is not there" in cli("agent", "uninstall", "--user", "--for", "systemd").out


@pytest.mark.parametrize("starter", ["systemd", "launchd"])
def test_service_that_is_shown_can_be_used_as_it_is(cli, enrolled, tmp_path, starter):
    shown = cli("agent", "install", "--user", "--for", starter, "--print").out
    if starter == "launchd":
        assert plistlib.loads(shown.encode())["ProgramArguments"][-2] == "--agent-dir"
        assert "\\" not in shown
    cli("agent", "install", "--user", "--for", starter)
    (written,) = [
        path.read_text()
        for path in (tmp_path / "home").rglob("*backapp*agent*")
        if path.suffix in {".service", ".plist"}
    ]
    assert shown.split() == written.split()


def test_strange_file_in_the_place_of_the_service_stays(cli, enrolled, tmp_path):
    unit = tmp_path / "home" / ".config/systemd/user/backapp-agent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    for command in ("install", "uninstall"):
        cli("agent", command, "--user", "--for", "systemd", code=1)
    assert unit.read_text() == "[Service]\nExecStart=/bin/true\n"
