"""Server and agent as processes of their own: killed, gone and back, watched through a socket."""

import errno
import os
import signal
from pathlib import Path

import pytest
from eventually import eventually

pytestmark = pytest.mark.interop


@pytest.fixture
def machine(cli, office, serving, start, tmp_path):
    """A server process and an enrolled machine whose policy lets commands run."""
    server = serving()
    folder = tmp_path / "agent"
    cli("agent", "enrol", office.url, "--token", office.token(), "--agent-dir", folder)
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text().replace("commands = false", "commands = true"))
    office.repository(tmp_path / "repository")

    class Machine:
        def __init__(self) -> None:
            self.server = server
            self.folder = folder

        def run(self, **options):
            return start(
                *("-v", "agent", "run", "--agent-dir", folder),
                *("--every", "0.2", "--lease", "6"),
                **options,
            )

    return Machine()


@pytest.fixture
def pipe(office, tmp_path) -> Path:
    """What the job `dump` reads; it goes on when the test writes into it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    settings = {"command": ["cat", str(path)]}
    office.job(Path("/dump.sql"), "dump", scanner="command", scanner_settings=settings)
    return path


def is_read(pipe: Path) -> bool:
    """Say whether somebody has it open, as the command of an agent that was killed for a while."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    return True


def snapshots(cli, office, machine, monkeypatch) -> list[str]:
    (sheet,) = cli(
        "agent", "sheet", "documents", "--print", "--json", "--agent-dir", machine.folder
    ).of("sheet")
    monkeypatch.setenv("BACKAPP_PASSWORD", sheet["password"])
    found = cli("snapshots", "-r", sheet["address"], "--json").of("snapshot")
    return [one["id"] for one in found]


def test_killed_agent_is_started_again_and_the_run_completes_once(
    cli, office, machine, pipe, monkeypatch
):
    killed = machine.run()
    run_id = office.ask("dump")
    held = os.open(pipe, os.O_WRONLY)  # it reads: the run is in its middle
    killed.kill()
    killed.wait()
    os.close(held)
    eventually(lambda: not is_read(pipe))
    machine.run()
    pipe.write_bytes(b"create table;\n")
    ended = office.ended(run_id)
    assert (ended.state, ended.error) == ("completed", "")
    assert snapshots(cli, office, machine, monkeypatch) == [ended.snapshot_id]


def test_agent_survives_the_end_of_its_server_in_mid_run(
    cli, office, machine, serving, pipe, monkeypatch
):
    machine.run()
    run_id = office.ask("dump")
    held = os.open(pipe, os.O_WRONLY)
    machine.server.kill()
    machine.server.wait()
    os.write(held, b"create table;\n")
    os.close(held)
    serving()
    ended = office.ended(run_id)
    assert (ended.state, ended.error) == ("completed", "")
    assert snapshots(cli, office, machine, monkeypatch) == [ended.snapshot_id]


def test_terminated_agent_hands_back_and_ends_well(office, machine, pipe):
    agent = machine.run()
    run_id = office.ask("dump")
    held = os.open(pipe, os.O_WRONLY)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0
    os.close(held)
    eventually(lambda: not is_read(pipe))
    machine.run()
    pipe.write_bytes(b"create table;\n")
    assert office.ended(run_id).state == "completed"


def test_second_process_of_the_machine_is_refused_at_once(cli, office, machine, pipe):
    machine.run()
    office.ask("dump")
    held = os.open(pipe, os.O_WRONLY)
    refused = cli("agent", "run", "--agent-dir", machine.folder, code=1)
    assert "another process of this machine" in refused.err
    os.write(held, b"create table;\n")
    os.close(held)


def test_agent_that_polls_rarely_is_woken_at_once(cli, served, start, tmp_path, source):
    """It is in touch every five minutes; the run begins because the server says so."""
    folder = tmp_path / "agent"
    cli("agent", "enrol", served.url, "--token", served.token(), "--agent-dir", folder)
    served.repository(tmp_path / "repository")
    served.job(source)
    start("-v", "agent", "run", "--agent-dir", folder, "--every", "300")
    assert served.ended(served.ask()).state == "completed"
    # By now it has been in touch and waits; what comes is heard through the socket alone.
    assert served.ended(served.ask()).state == "completed"
    assert served.ended(served.ask()).state == "completed"


def test_cancel_reaches_a_run_at_once_whatever_its_lease(cli, office, machine, pipe, start):
    start(
        *("agent", "run", "--agent-dir", machine.folder),
        *("--every", "0.2", "--lease", "600"),
    )
    run_id = office.ask("dump")
    held = os.open(pipe, os.O_WRONLY)
    office.server.cancel(1, run_id)
    assert office.ended(run_id).state == "cancelled"
    os.close(held)
