"""Where the story plays: servers, machines and repositories, and ways to stop in the middle."""

import os
import signal
from abc import ABC, abstractmethod
from types import MappingProxyType

from story_parts import wait_for

BIG_BYTES = 96 << 20
"""Enough that a backup of it is far from its end where it is stopped."""
STEP_BYTES = 16 << 20


class Stage(ABC):
    """Machines with a tree each; the first one is the one that everything befalls."""

    network = None
    """What lies before a bucket, if there is one."""
    keys = MappingProxyType({})
    """What somebody needs for the place of the repositories, besides a sheet."""
    servers = machines = ()

    def set_up(self, person):
        """Have ``person`` be the first one who comes, who then lets every machine fill a place."""
        self.person, self.facts = person.join(self.servers[0].first_link), person.program
        for machine in self.machines:
            self._write_source(machine)
            machine.enrol(person.allow(machine.name), machine.folder / "restored")
            machine.begin()
            person.sees_machine(machine.name)
        for machine in self.machines:
            repository = f"of-{machine.name}"
            person.add_repository(repository, machine.name, **self.place(machine, repository))
            person.add_job(machine.name, repository, machine.folder / "source")
        return self

    @property
    def north(self):
        return self.machines[0]

    def _write_source(self, machine):
        source = machine.folder / "source"
        (source / "letters" / "old").mkdir(parents=True)
        for number in range(30):
            text = f"letter {number} from {machine.name}\n" * number
            (source / "letters" / f"{number}.txt").write_text(text)
        (source / "letters" / "old" / "first.txt").write_text(f"first of {machine.name}\n")
        (source / "letters" / "script").write_text("#!/bin/sh\n")
        (source / "letters" / "script").chmod(0o750)
        (source / "link").symlink_to("letters/1.txt")
        source.chmod(0o700)
        self.write_big(machine)
        machine.own(source)

    def write_big(self, machine, size_bytes=BIG_BYTES):
        """Give a machine so much that is new."""
        path = machine.folder / "source" / "big"
        with path.open("wb") as big:
            for _ in range(size_bytes >> 20):
                big.write(os.urandom(1 << 20))
        machine.own(path)

    # --- of every stage

    @abstractmethod
    def place(self, machine, repository):
        """Return where a repository stands, in words of the form."""

    @abstractmethod
    def middle(self, size_bytes=BIG_BYTES):
        """Ask north for a run, and return its id when it cannot go on in the middle of it."""

    @abstractmethod
    def let_some_through(self):
        """Let what is stopped in the middle go on a little."""

    @abstractmethod
    def let_go(self):
        """Let it go on."""

    def look_into_everything(self):  # noqa: B027  # not every stage has more to look into
        """Hold against each other what every part has, once all machines have saved theirs."""

    # --- what befalls

    def lose_server(self):
        """A server dies; it comes back while nobody else is there, or else only in the end."""
        self.servers[0].process.kill()
        self.let_go()
        if len(self.servers) == 1:
            self.servers[0].begin()

    def server_is_back(self):
        if not self.servers[0].process.is_alive:
            self.servers[0].begin()
        assert self.servers[0].first_link == ""

    def end_machine(self):
        """End north's agent as an administrator does, in the middle of what it does."""
        self.north.process.send(signal.SIGTERM)
        self.wait_until_it_hears()
        self.let_go()
        assert self.north.process.wait() == 0

    def wait_until_it_hears(self):  # noqa: B027  # not everywhere there is anything to wait for
        """Return when north knows of a signal, or cannot do anything before it does."""

    def check_books(self, *runs):
        """Look whether every run of north's left one snapshot, and everybody knows the same."""
        known = [one["id"] for one in self.facts.snapshots("of-north")]
        there = [one["id"] for one in self.facts.answer("of-north", "snapshots")]
        receipts = self.facts.receipts("of-north")
        assert known == there
        assert [one["run_id"] for one in receipts] == list(runs)
        assert [one["snapshot_id"] for one in receipts] == known[::-1]


class BucketStage(Stage):
    """Repositories in a bucket, behind a network that can be held and cut."""

    def place(self, machine, repository):
        return {"bucket": "ours"}

    def middle(self, size_bytes=BIG_BYTES):
        self.write_big(self.north, size_bytes)
        self.network.hold_after(STEP_BYTES // 4)
        run = self.person.run_now("north")
        wait_for(lambda: self.network.is_held, "the middle of the run")
        assert self.facts.run(run)["state"] == "running"
        return run

    def let_some_through(self):
        self.network.release()
        self.network.hold_after(STEP_BYTES)
        wait_for(lambda: self.network.is_held, "some more of the run")

    def let_go(self):
        self.network.release()

    def wait_until_it_hears(self):
        wait_for(lambda: "stopping cleanly" in self.north.log, "north to hear of the signal")

    def check_books(self, *runs):
        super().check_books(*runs)
        assert all(one["objects"] > 0 for one in self.facts.receipts("of-north"))


class FolderStage(Stage):
    """Repositories in folders of the machine, which stands still in the middle."""

    def place(self, machine, repository):
        return {"folder": machine.folder / repository}

    def stored(self, kind):
        """Return the files of a kind in north's repository."""
        folder = self.north.folder / "of-north" / kind
        return {path for path in folder.rglob("*") if path.is_file()}

    def middle(self, size_bytes=BIG_BYTES):
        self.write_big(self.north, size_bytes)
        self.north.process.pause()
        run = self.person.run_now("north")
        self.let_some_through()
        return run

    def let_some_through(self):
        packs, snapshots = self.stored("data"), self.stored("snapshots")
        self.north.process.resume()
        wait_for(lambda: self.stored("data") - packs, "another pack")
        self.north.process.pause()
        assert self.stored("snapshots") == snapshots, "it was done before it was stopped"
        [run] = [one for one in self.facts.runs("north") if one["state"] == "running"]
        assert run["cancel_wished_at"] is None

    def let_go(self):
        if self.north.process.is_alive:
            self.north.process.resume()

    def check_books(self, *runs):
        super().check_books(*runs)
        assert len(self.stored("snapshots")) == len(runs)
