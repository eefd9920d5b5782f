"""One server on SQLite, one machine, a repository in a folder: the whole way, on real processes."""

import os
import shutil
from datetime import timedelta

import pytest
from attrs import evolve
from story_parts import PATIENCE_SECONDS, wait_for
from story_person import EMAIL, PASSWORD, Person

from backapp_core.assembly import assemble_server
from backapp_core.model.schedules import Schedule
from backapp_core.settings import Settings
from backapp_core.testing.tree_facts import tree_differences

BIG_BYTES = 128 * 1024 * 1024
"""Enough that a backup of it does not end between two looks at the repository."""
SETTINGS = """\
state_folder = "{folder}/state"
cache_folder = "{folder}/cache"
[server]
tick_seconds = 0.2
"""

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


class Story:
    """One job that fills one repository."""

    def __init__(self, house):
        self.folder = house.folder
        self.source, self.repository = house.folder / "source", house.folder / "repository"
        self.restored = house.folder / "restored"
        self.settings = SETTINGS.format(folder=house.folder / "server")
        self.server = house.server("server", settings=self.settings).begin()
        self.person = Person(self.server.url).join(self.server.first_link)
        self.machine = house.machine("pluto")
        self.write_source()
        self.machine.enrol(self.server.url, self.person.allow("pluto"), self.restored)
        self.machine.begin()
        self.person.add_repository("documents", "pluto", folder=str(self.repository))
        self.person.add_job("nightly", "documents", self.source)

    def write_source(self):
        (self.source / "letters" / "old").mkdir(parents=True)
        for number in range(40):
            (self.source / "letters" / f"{number}.txt").write_text(f"letter {number}\n" * number)
        (self.source / "letters" / "old" / "first.txt").write_text("the first\n")
        (self.source / "link").symlink_to("letters/1.txt")
        (self.source / "letters" / "script").write_text("#!/bin/sh\n")
        (self.source / "letters" / "script").chmod(0o750)

    def write_big(self, size_bytes=BIG_BYTES):
        with (self.source / "big").open("wb") as big:
            for _ in range(size_bytes >> 20):
                big.write(os.urandom(1 << 20))

    def stored(self, folder):
        return {path for path in (self.repository / folder).rglob("*") if path.is_file()}

    def run_until_in_the_middle(self):
        """Ask for a run, and return its id when the machine stands still in the middle of it."""
        self.write_big()
        packs, snapshots = self.stored("data"), self.stored("snapshots")
        run = self.person.run_now("nightly")
        wait_for(lambda: self.stored("data") - packs, "the first pack of what is new")
        self.machine.process.pause()
        assert self.stored("snapshots") == snapshots, "the backup was done before it was stopped"
        assert self.person.run(run)["state"] == "running"
        return run

    def check_books(self, *runs):
        """Look whether every run left one snapshot, and everybody knows the same ones."""
        known = [one["id"] for one in self.person.snapshots("documents")]
        there = [one["id"] for one in self.person.answer("documents", "snapshots")]
        receipts = self.person.receipts("documents")
        assert known == there
        assert len(self.stored("snapshots")) == len(runs)
        assert [one["run_id"] for one in receipts] == list(runs)
        assert [one["snapshot_id"] for one in receipts] == known[::-1]


def test_story_of_one_machine_with_a_repository_in_a_folder(house):  # noqa: PLR0915  # from beginning to end
    story = Story(house)
    person = story.person

    # The first run saves everything, the second what changed.
    first = person.completed(person.run_now("nightly"))
    assert first["counts"]["files_new"] == 42
    (story.source / "letters" / "new.txt").write_text("news\n")
    second = person.completed(person.run_now("nightly"))
    counts = second["counts"]
    assert (counts["files_new"], counts["files_unmodified"]) == (1, 42)
    assert counts["stored_bytes"] < first["counts"]["stored_bytes"]

    # The machine, which alone has the key, says what is in a snapshot.
    letters = f"{story.source}/letters"
    nodes = person.answer(
        "documents", "list-folder", snapshot_id=second["snapshot_id"], folder=letters
    )
    assert {"old", "new.txt", "1.txt"} <= {node["name"] for node in nodes}
    nodes = person.answer(
        "documents", "search", snapshot_id=second["snapshot_id"], pattern="first.*"
    )
    assert [node["path"] for node in nodes] == [f"{letters}/old/first.txt"]

    # What is asked back comes back: a folder of it, and all of it.
    some, everything = story.restored / "some", story.restored / "all"
    person.completed(
        person.restore("nightly", second["snapshot_id"], some, f"{letters}/old", letters + "/1.txt")
    )
    found = {path.name for path in some.rglob("*") if path.is_file()}
    assert found == {"first.txt", "1.txt"}
    person.completed(person.restore("nightly", second["snapshot_id"], everything))
    assert tree_differences(story.source, everything / str(story.source)[1:]) == []

    # Somebody cancels in the middle.
    cancelled = story.run_until_in_the_middle()
    person.cancel(cancelled)
    story.machine.process.resume()
    assert person.end_of(cancelled)["state"] == "cancelled"
    story.check_books(first["id"], second["id"])

    # The machine loses power in the middle, and carries the run on when it is back.
    third = story.run_until_in_the_middle()
    story.machine.process.kill()
    story.machine.begin()
    person.completed(third)
    story.check_books(first["id"], second["id"], third)

    # So does the server, while the machine goes on.
    fourth = story.run_until_in_the_middle()
    story.server.process.kill()
    story.machine.process.resume()
    story.server.begin()
    assert story.server.first_link == ""
    person.completed(fourth)
    story.check_books(first["id"], second["id"], third, fourth)

    # What was due while there was no server is made up for, once.
    story.machine.process.stop()
    story.server.process.stop()
    due_while_away(story)
    story.server.begin()
    story.machine.begin()
    [scheduled] = wait_for(
        lambda: [one for one in person.runs("nightly") if one["due_at"]], "what was due"
    )
    person.completed(scheduled["id"])
    story.check_books(first["id"], second["id"], third, fourth, scheduled["id"])
    assert len([one for one in person.runs("nightly") if one["due_at"]]) == 1

    # With nothing but the sheet and the folder, somebody else has all of it back.
    recover(house, story)


def test_person_watches_and_cancels_runs_in_a_browser(house, chromium):
    story = Story(house)
    complaints = []
    page = sign_in(story, chromium, complaints)

    # What is pressed begins, is seen while it goes on, and ends, all on one page.
    run = press_run_now(story, page)
    stop_where_something_was_reported(story, run)
    progress = page.get_by_role("region", name="Progress")
    progress.get_by_role("progressbar").wait_for()
    assert progress.get_by_text("Nothing was reported yet").count() == 0
    story.machine.process.resume()
    page.get_by_role("heading", level=1).get_by_text("completed").wait_for()
    page.get_by_text("New files").wait_for()
    assert page.evaluate("window.isLoadedOnce")
    assert story.person.run(run)["state"] == "completed"

    # So does what is cancelled there.
    page.goto(f"{story.server.url}/jobs/nightly")
    cancelled = press_run_now(story, page)
    stop_where_something_was_reported(story, cancelled)
    page.get_by_role("button", name="Cancel").click()
    wait_for(lambda: story.person.run(cancelled)["cancel_wished_at"], "the wish to cancel")
    story.machine.process.resume()
    page.get_by_role("heading", level=1).get_by_text("cancelled").wait_for()
    assert story.person.end_of(cancelled)["state"] == "cancelled"
    page.context.close()
    assert complaints == []
    story.check_books(run)


def sign_in(story, chromium, complaints):
    """Return the job's page; whatever the browser objects to is added to ``complaints``."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{story.server.url}/jobs/nightly")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    return page


def press_run_now(story, page):
    """Press the button, and return the id of the run whose page that leads to."""
    # So much that the first word of progress is far from the end.
    story.write_big(6 * BIG_BYTES)
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")
    page.evaluate("window.isLoadedOnce = true")
    return page.url.rpartition("/")[2]


def stop_where_something_was_reported(story, run):
    """Have the machine stand still in the middle of a run of which the server knows something."""

    def reported():
        found = story.person.ask("GET", f"/runs/{run}")
        return found["progress"] and found["progress"]["bytes_done"]

    wait_for(reported, "progress")
    story.machine.process.pause()
    assert story.person.run(run)["state"] == "running", "it was done before it was stopped"


def due_while_away(story):
    """Give the job a schedule whose last moment passed after the server had ended."""
    plain = Settings.parse(
        {"state_folder": f"{story.folder}/server/state", "cache_folder": f"{story.folder}/c"}
    )
    with assemble_server(plain) as server:
        [tenant] = server.fleet.tenants()
        store = server.fleet.tenant(tenant.id)
        job = store.jobs.get("nightly")
        now = server.fleet.now()
        schedule = Schedule(f"0 {(now.hour + 12) % 24} * * *")
        store.jobs.replace(evolve(job, schedule=schedule, due_after=now - timedelta(days=1)))


def recover(house, story):
    sheet = story.machine.sheet("documents")
    fresh = house.machine("fresh")
    password = {"RESTIC_PASSWORD": sheet.password, "BACKAPP_PASSWORD": sheet.password}
    for program in ("backapp", "restic"):
        target = fresh.folder / program
        arguments = sheet.command(program, "restore", target)
        own = None if program == "backapp" else shutil.which(program)
        fresh.run(*arguments, program=own, more=password)
        assert tree_differences(story.source, target / str(story.source)[1:]) == []
    where = ("-r", str(story.repository))
    fresh.run(*where, "check", "--read-data", program=shutil.which("restic"), more=password)
