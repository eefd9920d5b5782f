"""The story, wherever it plays: from the first link to a machine that gets everything back."""

import shutil
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from story_parts import wait_for
from story_stages import BIG_BYTES

from backapp_core.testing.tree_facts import tree_differences

ZONE = "Asia/Tokyo"
FILES = 33
"""How many a machine has at first."""


def tell(stage, person):
    """Tell it up to where somebody loses a machine; return the runs that north completed."""
    stage.set_up(person)
    due = have_something_saved_soon(stage)
    first, second, *others = save_twice(stage)
    books = [first, second, watch_how_it_gets_on(stage)]
    cancel(stage, books)
    lose_a_server(stage, books)
    if stage.network:
        lose_the_bucket(stage, books)
    shut_the_machine_down(stage, books)
    lose_power(stage, books)
    for machine, run in zip(stage.machines, [books[-1], *others], strict=True):
        look_and_restore(person, machine, run)
    see_what_its_schedule_did(stage, due)
    return books


def have_something_saved_soon(stage):
    """Make a job that is due within two minutes, and once a day; return when."""
    machine = stage.machines[-1]
    due = (datetime.now(UTC) + timedelta(seconds=90)).replace(second=0, microsecond=0)
    there = due.astimezone(ZoneInfo(ZONE))
    place = stage.place(machine, "on-time")
    stage.person.add_repository("on-time", machine.name, **place)
    stage.person.add_job(
        *("on-time", "on-time", machine.folder / "source" / "letters"),
        schedule=f"{there.minute} {there.hour} * * *",
        time_zone=ZONE,
    )
    return due


def see_what_its_schedule_did(stage, due):
    """Look for the run that nobody asked for, of which there is one, whoever noticed it."""
    [run] = wait_for(lambda: stage.facts.runs("on-time"), "what is due")
    assert stage.person.why(run["id"]) == "by its schedule"
    stage.person.completed(run["id"])
    [run] = stage.facts.runs("on-time")
    assert datetime.fromisoformat(run["due_at"]) == due


def save_twice(stage):
    """Have all save at the same time, and north again; return its two runs and the others'."""
    person, north = stage.person, stage.north
    asked = [person.run_now(machine.name) for machine in stage.machines]
    first, *others = map(person.completed, asked)
    assert first["counts"]["files_new"] == FILES
    stage.look_into_everything()
    news = north.folder / "source" / "letters" / "new.txt"
    news.write_text("news\n")
    north.own(news)
    second = person.completed(person.run_now("north"))
    assert second["counts"]["files_new"] == 1
    assert second["counts"]["files_unmodified"] == FILES
    assert second["counts"]["stored_bytes"] < 100_000
    return [one["id"] for one in (first, second, *others)]


def watch_how_it_gets_on(stage):
    """See figures of a run grow on a page that nobody loads again; return the run."""
    person = stage.person
    run = stage.middle(4 * BIG_BYTES)
    shown = []
    while len(shown) < 3:
        if seen := person.sees_progress(beyond=shown[-1] if shown else ()):
            shown.append(seen)
            person.picture("progress")
        stage.let_some_through()
    assert len({rate for _, rate in shown}) > 1, shown
    stage.let_go()
    person.completed(run)
    person.picture("completed")
    return run


def cancel(stage, books):
    run = stage.middle()
    stage.person.cancel(run)
    stage.person.picture("being-cancelled")
    stage.let_go()
    stage.person.end_of(run, "cancelled")
    stage.check_books(*books)


def lose_a_server(stage, books):
    """It dies in the middle: whoever watches sees another one, or the same again, carry on."""
    books.append(stage.middle())
    stage.lose_server()
    stage.person.completed(books[-1])
    stage.server_is_back()
    stage.check_books(*books)


def lose_the_bucket(stage, books):
    """It cannot be reached for a while."""
    books.append(stage.middle())
    stage.network.cut()
    wait_for(lambda: stage.network.refused >= 8, "somebody to try in vain")
    stage.network.mend()
    stage.person.completed(books[-1])
    stage.check_books(*books)


def shut_the_machine_down(stage, books):
    """It hands back what it was doing, and takes that up again when it is there."""
    books.append(stage.middle())
    stage.end_machine()
    stage.person.sees_that_it_waits_for("north")
    stage.person.picture("handed-back")
    stage.north.begin()
    stage.person.completed(books[-1])
    stage.check_books(*books)


def lose_power(stage, books):
    """The machine is gone from one moment to the next, and carries on when it is back."""
    books.append(stage.middle())
    stage.north.process.kill()
    stage.let_go()
    stage.north.begin()
    stage.person.completed(books[-1])
    stage.check_books(*books)


def look_and_restore(person, machine, run):
    source, restored = machine.folder / "source", machine.folder / "restored"
    assert {"old/", "script", "1.txt"} <= person.names_in(run, source / "letters")
    assert person.search(run, "FIRST.*") == [f"{source}/letters/old/first.txt"]
    some = restored / "some"
    person.completed(person.restore(run, some, source / "letters", "old", "1.txt"))
    found = {path.name for path in some.rglob("*") if path.is_file()}
    assert found == {"first.txt", "1.txt"}
    person.picture("restored")
    person.completed(person.restore(run, restored / "all"))
    assert tree_differences(source, restored / "all" / str(source)[1:]) == []


def recover(stage):
    """Get everything back elsewhere, with the sheets and what opens the place they name."""
    restic = shutil.which("restic")
    for machine in stage.machines:
        sheet = machine.sheet(f"of-{machine.name}")
        fresh = stage.house.machine(f"instead-of-{machine.name}")
        password = {"RESTIC_PASSWORD": sheet.password, "BACKAPP_PASSWORD": sheet.password}
        secrets = {**stage.keys, **password}
        source = machine.folder / "source"
        for name, program in (("backapp", None), ("restic", restic)):
            target = fresh.folder / name
            fresh.run(*sheet.command(name, "restore", target), program=program, more=secrets)
            assert tree_differences(source, target / str(source)[1:]) == []
        address = sheet.address
        fresh.run("-r", address, "check", "--read-data", program=restic, more=secrets)
