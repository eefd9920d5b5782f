"""The parts of a whole system as processes: servers and machines, begun, killed, looked into."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import backapp_cli
import backapp_core

PATIENCE_SECONDS = 120
"""How long something may take that takes a second or two; only a failure waits for so long."""
_ALONE = """\
set -e
mount --make-rprivate /
for name in python site src frontends; do mkdir -p "$PARTS/$name"; done
mount --bind "$PYTHON_THERE" "$PARTS/python"
mount --bind "$SITE_THERE" "$PARTS/site"
mount --bind "$SRC_THERE" "$PARTS/src"
mount --bind "$FRONTENDS_THERE" "$PARTS/frontends"
unset PYTHON_THERE SITE_THERE SRC_THERE FRONTENDS_THERE
cd /
exec setpriv --reuid "$ACCOUNT" --regid "$ACCOUNT" --clear-groups --no-new-privs \
    --bounding-set=-all "$@"
"""


def wait_for(look, what):
    """Return what ``look`` returns as soon as that is something."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < limit, f"waited in vain for {what}; last: {found!r}"
        time.sleep(0.02)


def free_port():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A program of which output and errors go to files."""

    def __init__(self, name, command, folder, environment):
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.errors = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("ab") as out, self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment
            )
        self.pid = self._process.pid

    @property
    def is_alive(self):
        return self._process.poll() is None

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """End it as a power cut does."""
        if self.is_alive:
            self.send(signal.SIGKILL)
        self._process.wait(PATIENCE_SECONDS)

    def stop(self):
        """End it as an administrator does, and return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self):
        """Return its exit code once it has ended."""
        return self._process.wait(PATIENCE_SECONDS)

    def pause(self):
        """Have it do nothing more; when this returns, none of its threads runs."""
        self.send(signal.SIGSTOP)
        wait_for(lambda: self._states() <= {"T"}, f"{self.name} to pause")

    def resume(self):
        self.send(signal.SIGCONT)

    def _states(self):
        tasks = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return {task.read_text().rpartition(")")[2].split()[0] for task in tasks}

    @property
    def log(self):
        return (
            f"{self.out.read_text('utf-8', 'replace')}{self.errors.read_text('utf-8', 'replace')}"
        )


def memory_holds(pid, secret):
    """Say whether a process has ``secret`` anywhere in memory that it may read."""
    overlap = len(secret) - 1
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if not found or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            at, end = (int(one, 16) for one in found.groups())
            tail = b""
            while at < end:
                try:
                    memory.seek(at)
                    piece = memory.read(min(1 << 24, end - at))
                except (OSError, ValueError):
                    break  # a mapping of a device, or one that is gone meanwhile
                if not piece:
                    break
                if secret in tail + piece:
                    return True
                tail, at = piece[-overlap:], at + len(piece)
    return False


def files_that_hold(folder, secret):
    """Return the files below ``folder`` in which ``secret`` stands."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and secret in path.read_bytes()
    ]


def bare_environment(home):
    """Return the environment of a new machine: nothing of whoever runs the tests."""
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "XDG_CONFIG_HOME": f"{home}/config",
        "XDG_STATE_HOME": f"{home}/state",
        "XDG_CACHE_HOME": f"{home}/cache",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Server:
    """`backapp serve`, which may be ended and begun again at the same address."""

    def __init__(self, name, folder, port, settings="", environment=None):
        self.name, self.folder, self.port = name, folder, port
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {**bare_environment(folder / "home"), **(environment or {})}
        folder.mkdir(parents=True)
        self._settings = folder / "settings.toml"
        self._settings.write_text(settings)
        self.process = None
        self.first_link = ""

    def begin(self):
        """Start it and wait until it serves."""
        command = [sys.executable, "-m", "backapp_cli", "serve", "--json"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--config", str(self._settings)]
        already = len(self._lines())
        self.process = Process(self.name, command, self.folder / "logs", self.environment)
        said = wait_for(
            lambda: self._lines()[already:] or not self.process.is_alive, f"{self.name} to serve"
        )
        assert self.process.is_alive, self.process.log
        self.first_link = json.loads(said[0])["first_link"]
        return self

    def _lines(self):
        path = self.folder / "logs" / f"{self.name}.out"
        text = path.read_text() if path.exists() else ""
        return text.split("\n")[:-1]  # the last one may still be written

    @property
    def log(self):
        return self.process.log if self.process else ""


class Machine:
    """A machine with an agent; as an account of its own if one is named."""

    def __init__(self, name, folder, account=None):
        self.name, self.folder, self.account = name, folder, account
        self.lease = "4"
        """For how many seconds it holds a run."""
        self.environment = bare_environment(folder / "home")
        (folder / "home").mkdir(parents=True)
        self.process = None
        if account is not None:
            os.chown(folder / "home", account, account)
            self._account_can_run()
        self.own(folder)

    def own(self, *paths):
        """Give files to the machine's account."""
        for top in paths if self.account is not None else ():
            for path in (top, *top.rglob("*")):
                os.chown(path, self.account, self.account, follow_symlinks=False)

    def _account_can_run(self):
        # Neither the interpreter nor the source needs to be where others may look.
        parts = self.folder / "parts"
        parts.mkdir()
        self._there = {
            "PARTS": str(parts),
            "ACCOUNT": str(self.account),
            "PYTHON_THERE": sys.base_prefix,
            "SITE_THERE": sysconfig.get_path("purelib"),
            "SRC_THERE": str(Path(backapp_core.__file__).parents[1]),
            "FRONTENDS_THERE": str(Path(backapp_cli.__file__).parents[1]),
            "PYTHONPATH": f"{parts}/src:{parts}/frontends:{parts}/site",
            "LD_LIBRARY_PATH": f"{parts}/python/lib",
        }

    def command(self, *arguments, program=None):
        """Return command and environment of a program of this machine, BackApp if none is named."""
        if self.account is None:
            start = [program] if program else [sys.executable, "-m", "backapp_cli"]
            return [*start, *arguments], self.environment
        python = f"{self.folder}/parts/python/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        start = [program] if program else [python, "-m", "backapp_cli"]
        alone = ["unshare", "--mount", "sh", "-c", _ALONE, "sh"]
        return [*alone, *start, *arguments], {**self.environment, **self._there}

    def run(self, *arguments, program=None, given="", more=None, code=0):
        """Run a command to its end and return what it printed."""
        command, environment = self.command(*map(str, arguments), program=program)
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            env={**environment, **(more or {})},
            timeout=PATIENCE_SECONDS * 2,
            check=False,
        )
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    def enrol(self, command, restore_folder):
        """Paste the command that a server shows, and add what only the machine may grant."""
        program, *arguments = shlex.split(command)
        assert program == "backapp"
        self.run(*arguments, "--restore-folder", restore_folder)

    def begin(self, every="300"):
        """Start the agent; unless it is often in touch, it hears of everything by its socket."""
        limits = ("--every", every, "--lease", self.lease)
        command, environment = self.command("agent", "run", "--verbose", *limits)
        self.process = Process(self.name, command, self.folder / "logs", environment)
        return self

    def sheet(self, repository):
        """Return the recovery sheet as somebody reads it."""
        return Sheet(self.run("agent", "sheet", repository, "--print"))

    @property
    def log(self):
        return self.process.log if self.process else ""


class Sheet:
    """What stands on a recovery sheet."""

    def __init__(self, text):
        self.text = text
        self.password = re.search(r"^Password +(\S+)$", text, re.MULTILINE)[1]
        self.address = re.search(r"^Address +(.+)$", text, re.MULTILINE)[1]

    def command(self, program, verb, target):
        """Return the arguments of the command that is printed for a program."""
        lines = [shlex.split(one) for one in self.text.splitlines() if one.startswith("    ")]
        [found] = [one for one in lines if one[0] == program and verb in one]
        return [str(target) if one == "FOLDER" else one for one in found[1:]]
