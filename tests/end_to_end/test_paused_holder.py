"""A machine that sleeps for longer than it holds a run stores nothing more of it when it wakes up.

Two processes work with one machine's key, as after a virtual machine was copied: one is stopped in
the middle of a backup, the other takes the run over and finishes it, and the first goes on.
"""

import os
import random
import shutil
import threading
from urllib.parse import urlsplit

import pytest
from story_parts import free_port, wait_for
from story_person import Person
from story_wire import Tap

SETTINGS = """\
state_folder = "{folder}/state"
cache_folder = "{folder}/cache"
[server]
tick_seconds = 0.2
public_url = "{url}"
[server.buckets]
ours = "{bucket}"
"""
SNAPSHOT_WISH = rb'"name": ?"snapshots/[0-9a-f]{64}", ?"size_bytes": ?[0-9]+, ?"sha256"'
SNAPSHOT_PUT = rb"^PUT /[^ ]*/snapshots/[0-9a-f]{64}\?"
BIG_BYTES = 4 << 20
LONGEST_BACKUP_SECONDS = 1.5

pytestmark = [pytest.mark.timeout(7200)]


class Story:
    """One repository in a bucket, one machine, and its twin."""

    def __init__(self, house, gateway, bucket):
        self.gateway, self.bucket = gateway, bucket
        keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), gateway.owner, strict=True))
        self.trap = ""
        """At which moment the machine is stopped: ``asked`` or ``answered``; empty for none."""
        self.sprung, self.released = threading.Event(), threading.Event()
        self.answers, self.stored = [], []
        port = free_port()
        network = Tap(urlsplit(gateway.endpoint).port, SNAPSHOT_PUT, answered=self.stored.append)
        door = Tap(port, SNAPSHOT_WISH, self._asked, self._answered)
        house.fronts += [network, door]
        settings = SETTINGS.format(
            folder=house.folder, url=door.url, bucket=f"s3:{network.url}/{bucket}"
        )
        self.server = house.server("server", port=port, settings=settings, environment=keys)
        self.server.begin()
        self.person = Person(self.server.url).join(self.server.first_link)
        self.machine, self.twin = house.machine("pluto"), house.machine("twin")
        self.source = house.folder / "source"
        self.source.mkdir()
        self._bring_up()

    def _bring_up(self):
        person, machine = self.person, self.machine
        machine.enrol(person.allow("pluto"), machine.folder / "restored")
        self.repository = person.add_repository("documents", "pluto", bucket="ours")
        person.add_job("nightly", "documents", self.source)
        self.write_big()
        machine.begin(every="0.5")
        person.completed(person.run_now("nightly"))
        machine.process.stop()
        shutil.copytree(machine.folder / "home", self.twin.folder / "home", dirs_exist_ok=True)
        machine.begin(every="0.5")

    def write_big(self):
        (self.source / "big").write_bytes(os.urandom(BIG_BYTES))

    def _asked(self):
        if self.trap == "asked":
            self._spring()
            self.released.wait()

    def _answered(self, status):
        if self.trap == "answered":
            self._spring()
        self.answers.append(status)

    def _spring(self):
        self.trap = ""
        self.machine.process.pause()
        self.sprung.set()

    def objects(self):
        pages = self.gateway.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def snapshots(self):
        return {one.rpartition("/")[2] for one in self.objects() if "/snapshots/" in one}

    def stop_in_the_middle(self, moment):
        """Return a run that the machine holds, stopped: by the trap, or else by chance."""
        self.sprung.clear()
        self.released.clear()
        self.answers.clear()
        self.write_big()
        self.trap = "" if moment == "by chance" else moment
        run = self.person.run_now("nightly")
        if self.trap:
            wait_for(self.sprung.is_set, f"the machine to be {moment}")
            return run
        wait_for(lambda: self.person.run(run)["state"] == "running", f"run {run} to begin")
        threading.Event().wait(random.uniform(0, LONGEST_BACKUP_SECONDS))
        self.machine.process.pause()
        return run

    def let_the_twin_finish(self, run):
        self.twin.begin(every="0.5")
        done = self.person.completed(run)
        assert self.twin.process.stop() == 0
        return done

    def wake_up(self, run):
        """Let the machine go on; return when it is done with the run, with what it said last."""
        self.stored.clear()
        self.machine.process.resume()
        self.released.set()
        begin = f"run {run[:8]} of job nightly: "

        def last():
            said = [one for one in self.machine.log.splitlines() if begin in one]
            return said[-1].partition(begin)[2] if said and "begins" not in said[-1] else ""

        return wait_for(last, "the machine to settle the run")


@pytest.fixture
def story(house, gateway, bucket):
    return Story(house, gateway, bucket)


def check_round(story, moment):
    """Stop the machine once, and say whether it held the run when it was stopped."""
    run = story.stop_in_the_middle(moment)
    done = story.let_the_twin_finish(run)
    objects, snapshots = story.objects(), story.snapshots()
    said = story.wake_up(run)
    assert story.snapshots() == snapshots, f"stored by who had lost the run, which was {moment}"
    assert done["snapshot_id"] in snapshots
    assert story.person.run(run) == done
    receipts = story.person.receipts("documents")
    assert [one["snapshot_id"] for one in receipts if one["run_id"] == run] == [done["snapshot_id"]]
    if moment == "by chance":
        return said == "is held by this process no longer"
    # Nothing else was stored either, and nothing deleted: not even a lock.
    assert said == "is held by this process no longer"
    assert story.objects() == objects
    if moment == "asked":
        assert story.answers[-1] == 409  # the server, to the question that slept
        assert story.stored == []
    else:
        assert story.stored == [403]  # the bucket, to what was signed before
    return True


@pytest.mark.interop
def test_holder_that_slept_stores_nothing_when_it_wakes_up(story):
    for moment in ("answered", "asked"):
        assert check_round(story, moment)
    # It goes on as if nothing had been, and takes its lock away that it could not take away then.
    story.person.completed(story.person.run_now("nightly"))
    assert not [one for one in story.objects() if "/locks/" in one]


@pytest.mark.slow
def test_holder_that_sleeps_a_hundred_times_never_publishes(story):
    lost = 0
    while lost < 100:
        moment = ("answered", "asked", "by chance")[lost % 3]
        lost += check_round(story, moment)
    story.person.completed(story.person.run_now("nightly"))
    sheet = story.machine.sheet("documents")
    restic = shutil.which("restic")
    secrets = {**story.server.environment, "RESTIC_PASSWORD": sheet.password}
    story.machine.run("-r", sheet.address, "check", program=restic, more=secrets)
