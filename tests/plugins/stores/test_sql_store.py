import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from backapp_core.clock import SystemClock
from backapp_core.codec import event_to_plain, to_plain
from backapp_core.errors import InvalidAddress, JobNotFound, StoreTooNew, StoreUnavailable
from backapp_core.events import Level, LogLine, void
from backapp_core.model.jobs import Job
from backapp_core.model.runs import RunKind, RunState
from backapp_core.ports.stores import RunFilter
from backapp_core.testing.fleet_fixtures import make_repository
from backapp_core.testing.store_fixtures import AT, JOB, make_run
from backapp_plugins.stores.sql import open_fleet, open_store
from backapp_plugins.stores.sql.open import path_of
from backapp_plugins.stores.sql.rows import moment_to_column
from backapp_plugins.stores.sql.schema import REVISIONS
from backapp_plugins.stores.sql.sqlite import SqliteDatabase
from backapp_plugins.stores.sql.store import SqlStore
from backapp_plugins.stores.sql.tables import METADATA

PRELUDE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from backapp_core.plugin_api import *
from backapp_plugins.stores.sql import open_store
path = sys.argv[1]
AT = datetime(2026, 3, 29, 1, 2, 3, 456_789, tzinfo=UTC)
def make_run(number):
    return Run(f"{number:032x}", "home", RunState.REQUESTED, AT)
surroundings = Surroundings(cache_folder=Path("/nowhere"), state_folder=Path("/nowhere"))
"""


def child(code, path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, str(path), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, *, within_seconds=90):
    out, err = process.communicate(timeout=within_seconds)
    assert process.returncode == 0, err
    return out


def sql(path, statement):
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


# Addresses and files


@pytest.mark.parametrize(
    "url", ["sqlite:///a/b.db", "sqlite:////a/b.db", "sqlite:/a/b.db", "SQLite:///a/b.db"]
)
def test_every_spelling_of_an_absolute_path_means_that_path(url):
    assert path_of(url) == Path("/a/b.db")


def test_path_is_taken_as_it_stands():
    assert path_of("sqlite:///a/100%20 #1/ü.db") == Path("/a/100%20 #1/ü.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:b.db",
        "sqlite:./b.db",
        "sqlite://host/b.db",
        "sqlite:///:memory:",
        "sqlite::memory:",
        "mysql:///b",
        "sqlite:///b.db?mode=ro",
        "sqlite:///a\0b",
        "sqlite:///a\nb",
        "sqlite:///\ud800",
    ],
)
def test_address_that_names_no_absolute_path_is_refused(open_at, url):
    with pytest.raises(InvalidAddress) as caught:
        open_at(url)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_file_and_folders_are_for_their_owner_only(open_at, tmp_path, mask):
    path = tmp_path / "one" / "two" / "backapp.db"
    before = os.umask(mask)
    try:
        store = open_at(path)
        store.jobs.add(JOB)
        modes = {
            found.name: stat.S_IMODE(found.stat().st_mode)
            for found in [path.parent.parent, path.parent, *path.parent.iterdir()]
        }
    finally:
        os.umask(before)
    assert modes == {
        "one": 0o700,
        "two": 0o700,
        "backapp.db": 0o600,
        "backapp.db-wal": 0o600,
        "backapp.db-shm": 0o600,
    }


def test_store_is_found_again_in_the_same_file(open_at, path):
    with open_at(path) as store:
        store.jobs.add(JOB)
        store.runs.add(make_run())
    again = open_at(path)
    assert again.jobs.list() == [JOB]
    assert again.runs.get(make_run().id) == make_run()


def test_commits_wait_for_the_disk_and_references_are_checked(open_at, path):
    open_at(path)
    database = SqliteDatabase(path, SystemClock(), void)
    with database.reading() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert asked == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 15000,
    }


# What cannot be a store


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def scribble(path):
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def make_foreign(path):
    path.unlink()
    sql(path, "CREATE TABLE songs (name TEXT)")


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_fifo(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda path: path.write_bytes(b"hello, this is no database" * 100),
            "is not an SQLite database",
        ),
        (lambda path: path.write_bytes(os.urandom(8192)), "is not an SQLite database"),
        (cut, "is damaged"),
        (scribble, "is damaged|does not answer|another program"),
        (make_foreign, "is a database of another program"),
        (make_folder, "is not a regular file"),
        (make_fifo, "is not a regular file"),
    ],
)
def test_what_is_no_store_is_refused_in_a_sentence(open_at, path, damage, said):
    with open_at(path) as store:
        store.jobs.add(JOB)
    damage(path)
    with pytest.raises(StoreUnavailable, match=said) as caught:
        open_at(path).jobs.list()
    assert str(path) in caught.value.message
    assert caught.value.message.isprintable()


def test_damage_that_shows_later_is_an_error_of_the_store(open_at, path):
    with open_at(path) as store:
        store.jobs.add(JOB)
        for number in range(200):
            store.runs.add(make_run(number, error="x" * 1000))
    [(page,)] = sql(path, "SELECT rootpage FROM sqlite_master WHERE name = 'runs'")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    store = open_at(path)
    with pytest.raises(StoreUnavailable, match="is damaged"):
        store.runs.list(RunFilter(limit=1000))
    assert store.jobs.list() == [JOB]


@pytest.mark.parametrize("body", ["{}", "no json", "[]", '{"name": 5}'])
def test_row_that_this_program_cannot_read_is_an_error_of_the_store(open_at, path, body):
    store = open_at(path)
    store.jobs.add(JOB)
    store.runs.add(make_run())
    store.runs.add_events(make_run().id, [(AT, LogLine(Level.INFO, "hello"))])
    for table in ("jobs", "runs", "run_events"):
        sql(path, f"UPDATE {table} SET body = '{body}'")
    for read in (
        store.jobs.list,
        lambda: store.runs.get(make_run().id),
        lambda: store.runs.events(make_run().id),
    ):
        with pytest.raises(StoreUnavailable, match="cannot be read") as caught:
            read()
        assert caught.value.message.isprintable()


def in_child_as_nobody(work):
    """Run ``work`` in a forked child without rights and return what it says."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"nothing was raised"
        try:
            os.setgid(65534)
            os.setuid(65534)
            work()
        except BaseException as error:  # noqa: BLE001  # the child must end here, whatever happens
            said = f"{type(error).__name__}: {error}".encode()
        finally:
            os.write(writer, said)
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(pid, 0)
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights to lack some")
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "said"),
    [
        (0o700, 0o600, "cannot be opened: Permission denied"),
        (0o755, 0o600, "cannot be opened; it and its folder must be readable and writable"),
        (0o755, 0o644, "may not be written|cannot be opened"),
    ],
)
def test_store_without_rights_is_refused_in_a_sentence(
    open_at, tmp_path, folder_mode, file_mode, said
):
    import tempfile

    # pytest's folders are closed to others already.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state" / "backapp.db"
        Path(folder).chmod(0o755)
        open_at(path).close()
        path.parent.chmod(folder_mode)
        path.chmod(file_mode)
        answer = in_child_as_nobody(lambda: open_at(path).jobs.add(JOB))
    kind, _, message = answer.partition(": ")
    assert kind == "StoreUnavailable", answer
    import re

    assert re.search(said, message)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights to lack some")
def test_folder_that_may_not_be_written_is_refused_in_a_sentence(open_at):
    answer = in_child_as_nobody(lambda: open_at(Path("/usr/backapp-state/backapp.db")))
    assert answer.startswith(
        "StoreUnavailable: the store /usr/backapp-state/backapp.db cannot be opened"
    )


def test_file_where_a_folder_should_be_is_refused(open_at, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        open_at(tmp_path / "file" / "backapp.db")


def test_full_disk_is_an_error_of_the_store_and_loses_nothing(open_at, path):
    store = open_at(path)
    store.jobs.add(JOB)
    database = store._database
    with database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    sa.event.listen(
        database.engine,
        "checkout",
        lambda connection, *rest: connection.execute(f"PRAGMA max_page_count={pages}").close(),
    )
    with pytest.raises(StoreUnavailable, match="no space left"):
        store.runs.add(make_run(error="x" * 100_000))
    assert store.jobs.list() == [JOB]
    assert store.runs.list(RunFilter()) == []


@pytest.mark.parametrize("left_bytes", [0, 16 << 10, 32 << 10])
@pytest.mark.parametrize("is_new", [True, False])
def test_store_on_a_full_disk_names_the_disk(
    mount_small, surroundings, empty_file, left_bytes, is_new
):
    """When it is made, opened, or first written."""
    disk = mount_small(1 << 20)
    if not is_new:
        shutil.copy(empty_file, disk / "b.db")
    (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - left_bytes))

    def use():
        with closing(open_store(f"sqlite://{disk}/b.db", surroundings)) as store:
            store.jobs.add(JOB)

    with pytest.raises(StoreUnavailable) as refusal:
        use()
    assert refusal.value.message == (
        f"the store {disk}/b.db cannot be written: no space left on the disk that {disk} is on"
    )


# Versions


def test_store_of_a_newer_program_is_refused_and_untouched(open_at, path):
    open_at(path).close()
    sql(path, "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match=r"newer BackApp.*9999"):
        open_at(path)
    assert path.read_bytes() == before


def test_interrupt_during_a_migration_is_no_error_of_the_store(tmp_path):
    """The library closes the connection that a statement was interrupted on."""
    database = SqliteDatabase(tmp_path / "backapp.db", SystemClock(), void)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    def migrate():
        with database.migrating() as connection:
            sa.event.listen(connection, "before_cursor_execute", interrupt)
            connection.execute(sa.text("CREATE TABLE half (done INTEGER)"))

    with pytest.raises(KeyboardInterrupt):
        migrate()
    with database.reading() as connection:
        assert connection.execute(sa.text("PRAGMA foreign_keys")).scalar_one() == 1
        assert database.table_names(connection) == set()
    database.close()


def test_known_revisions_are_those_of_the_migrations():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "backapp_plugins.stores.sql:migrations")
    script = ScriptDirectory.from_config(config)
    assert (
        tuple(revision.revision for revision in reversed(list(script.walk_revisions())))
        == REVISIONS
    )


def test_migrations_make_the_tables_that_the_program_expects(open_at, path, tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    open_at(path).close()
    migrated = sa.create_engine(f"sqlite:///{path}")
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    # What alembic does not compare: constraints, their names and columns.
    created = sa.create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    METADATA.create_all(created)
    for table in METADATA.tables:
        for ask in (
            "get_pk_constraint",
            "get_unique_constraints",
            "get_foreign_keys",
            "get_indexes",
        ):
            found = [getattr(sa.inspect(engine), ask)(table) for engine in (migrated, created)]
            assert normalized(found[0]) == normalized(found[1])
    migrated.dispose()
    created.dispose()


def normalized(found):
    return sorted(
        json.dumps(one, sort_keys=True, default=str)
        for one in (found if isinstance(found, list) else [found])
    )


def test_first_migration_makes_one_tenant(open_at, path):
    open_at(path)
    assert sql(path, "SELECT id, name FROM tenants") == [(1, "default")]


def test_store_of_the_first_version_is_brought_up_to_date(open_at, path):
    """Its jobs, runs and events are what they were."""
    path.parent.mkdir()
    upgrade(path, "0001")
    job = JOB
    started = make_run(2).start(at=AT)
    runs = [make_run(1, due_at=AT), started]
    for run in runs:
        plain = to_plain(run)
        for name in ("kind", "restore", "agent_id", "cancel_wished_at"):
            del plain[name]
        write(
            path,
            "INSERT INTO runs VALUES (1, ?, ?, ?, ?, ?, ?)",
            (
                run.id,
                run.job_name,
                run.state.value,
                moment_to_column(run.requested_at),
                None if run.due_at is None else moment_to_column(run.due_at),
                json.dumps(plain),
            ),
        )
    write(path, "INSERT INTO jobs VALUES (1, 'home', ?)", (json.dumps(to_plain(job)),))
    line = LogLine(Level.INFO, "hello")
    write(
        path,
        "INSERT INTO run_events VALUES (1, ?, 1, ?, ?)",
        (started.id, moment_to_column(AT), json.dumps(event_to_plain(line))),
    )
    store = open_at(path)
    assert store.jobs.list() == [job]
    assert store.runs.list(RunFilter()) == runs[::-1]
    assert store.runs.events(started.id) == [(AT, line)]
    assert sql(path, "PRAGMA foreign_key_check") == []


def test_what_lists_go_by_is_taken_from_what_an_earlier_version_kept(open_at, path):
    path.parent.mkdir()
    upgrade(path, "0002")
    machine = "a" * 32
    write(
        path,
        "INSERT INTO agents (tenant_id, id, name, key_hash, enrolled_at)"
        " VALUES (1, ?, 'm', 'h', 1)",
        (machine,),
    )
    vault = make_repository(machine, 1)
    for one in (vault, make_repository(machine, 2, sheet_confirmed_at=AT)):
        row = (one.id, one.name, machine, one.address, json.dumps(to_plain(one)))
        write(path, "INSERT INTO repositories VALUES (1, ?, ?, ?, ?, ?)", row)
    jobs = [
        Job(name, address, (b"/",))
        for name, address in (("a", f"backapp:{vault.id}"), ("b", "/srv/backapp:"))
    ]
    for job in jobs:
        row = (job.name, json.dumps(to_plain(job)))
        write(path, "INSERT INTO jobs VALUES (1, ?, ?)", row)
    store = open_at(path, open_fleet).tenant(1)
    assert list(store.jobs.filling(vault.id, limit=9)) == jobs[:1]
    standing = store.repositories.standing(limit=9)
    assert (standing.all, standing.protected, standing.unprotected) == (2, 1, (vault,))


def test_restore_of_an_earlier_version_names_its_repository(open_at, path):
    """As the machine that began it said, or else its job; what neither knows stays unknown."""
    path.parent.mkdir()
    upgrade(path, "0003")
    order = {"snapshot_id": "5a" * 32, "target": "/restore", "paths": []}
    known = (("begun", "c" * 32), ("home", ""), ("removed", ""))
    for number, (job, repository_id) in enumerate(known, start=1):
        run = make_run(number, job_name=job, kind=RunKind.RESTORE)
        write(
            path,
            "INSERT INTO runs (tenant_id, id, job_name, state, requested_at, body, kind,"
            " repository_id) VALUES (1, ?, ?, 'requested', ?, ?, 'restore', ?)",
            (run.id, job, number, json.dumps(to_plain(run) | {"restore": order}), repository_id),
        )
    write(
        path,
        "INSERT INTO jobs (tenant_id, name, body, repository_id) VALUES (1, 'home', '{}', ?)",
        ("d" * 32,),
    )
    found = open_at(path, open_fleet).tenant(1).runs.list(RunFilter())
    assert [(run.job_name, run.restore.repository_id) for run in reversed(found)] == [
        *(("", "c" * 32), ("", "d" * 32), ("", "")),
    ]
    assert {run.restore.target for run in found} == {b"/restore"}


def upgrade(path, revision):
    """Make the tables of an earlier version."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "backapp_plugins.stores.sql:migrations")
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def write(path, statement, values):
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(statement, values)
    finally:
        connection.close()


def test_tenants_do_not_see_one_another(open_at, path):
    store = open_at(path)
    sql(path, "INSERT INTO tenants VALUES (2, 'other')")
    other = SqlStore(store._database, 2)
    store.jobs.add(JOB)
    store.runs.add(make_run(due_at=AT))
    store.runs.add_events(make_run().id, [(AT, LogLine(Level.INFO, "ours"))])
    assert other.jobs.list() == []
    assert other.runs.list(RunFilter()) == []
    with pytest.raises(JobNotFound):
        other.jobs.remove(JOB.name)
    other.jobs.add(JOB)
    other.runs.add(make_run(due_at=AT))
    assert other.runs.events(make_run().id) == []
    other.jobs.remove(JOB.name)
    assert store.jobs.list() == [JOB]


def test_opening_a_store_that_is_up_to_date_leaves_alembic_out(open_at, path):
    open_at(path).close()
    code = """
store = open_store("sqlite://" + path, surroundings)
store.jobs.list()
print("alembic" in sys.modules, "cattrs" in sys.modules)
"""
    assert finish(child(code, path)).split() == ["False", "False"]


@pytest.mark.parametrize(
    "run_filter",
    [
        RunFilter(),
        RunFilter(job_name="home"),
        RunFilter(state=RunState.RUNNING),
        RunFilter(before_id=make_run().id),
        RunFilter(before_id=make_run().id, job_name="home"),
        RunFilter(job_name="home", state=RunState.RUNNING),
        RunFilter(agent_id="a" * 32),
        RunFilter(agent_id="a" * 32, state=RunState.RUNNING, before_id=make_run().id),
        RunFilter(since=AT, until=AT),
        RunFilter(agent_id="a" * 32, since=AT),
    ],
)
def test_listing_runs_uses_an_index_and_sorts_nothing(open_at, path, run_filter):
    store = open_at(path)
    store.runs.add(make_run())
    plans = []

    def explain(connection, cursor, statement, parameters, *rest):
        if statement.startswith("SELECT"):
            plans.extend(
                row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            )

    sa.event.listen(store._database.engine, "before_cursor_execute", explain)
    store.runs.list(run_filter)
    store.runs.get("0000")
    assert plans
    assert all(plan.startswith("SEARCH") for plan in plans)


# Many at once


def test_processes_that_start_together_make_one_store(path):
    code = """
sys.stdin.readline()
store = open_store("sqlite://" + path, surroundings)
store.runs.add(make_run(int(sys.argv[2])))
print(len(store.jobs.list()))
"""
    processes = [child(code, path, number) for number in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        finish(process)
    assert sql(path, "SELECT count(*) FROM runs") == [(4,)]
    assert sql(path, "SELECT count(*) FROM tenants") == [(1,)]
    assert sql(path, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_threads_that_open_together_make_one_store(open_at, path):
    barrier = threading.Barrier(4)
    failures = []

    def work():
        barrier.wait(30)
        try:
            open_at(path).jobs.list()
        except BaseException as error:  # noqa: BLE001  # handed to the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sql(path, "SELECT count(*) FROM tenants") == [(1,)]


WRITERS = """
from concurrent.futures import ThreadPoolExecutor
store = open_store("sqlite://" + path, surroundings)
first, count = int(sys.argv[2]), int(sys.argv[3])
def work(thread):
    for number in range(count):
        run = make_run(first + thread * 1000 + number)
        store.runs.add(run)
        store.runs.move(run.start(at=AT), from_state=RunState.REQUESTED)
        store.runs.add_events(run.id, [(AT, LogLine(Level.INFO, str(step))) for step in range(5)])
        store.runs.list(RunFilter(limit=5))
with ThreadPoolExecutor(8) as threads:
    list(threads.map(work, range(8)))
"""


def write_from_everywhere(path, count, *, within_seconds=90):
    with ExitStack() as stack:
        processes = []
        for number in range(2):
            process = stack.enter_context(child(WRITERS, path, number * 100_000, count))
            stack.callback(process.kill)  # harmless to one that has ended
            processes.append(process)
        for process in processes:
            finish(process, within_seconds=within_seconds)
    assert sql(path, "SELECT count(*) FROM runs WHERE state = 'running'") == [(16 * count,)]
    assert sql(path, "SELECT count(*), max(sequence) FROM run_events") == [(80 * count, 5)]
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


def test_eight_threads_in_each_of_two_processes_write_without_an_error(path):
    write_from_everywhere(path, 3)


@pytest.mark.slow
def test_eight_threads_in_each_of_two_processes_write_much_without_an_error(path):
    write_from_everywhere(path, 200, within_seconds=900)


ENDLESS = """
store = open_store("sqlite://" + path, surroundings)
first = int(sys.argv[2])
for number in range(first, first + 100_000):
    run = make_run(number)
    store.runs.add(run)
    store.runs.move(run.start(at=AT), from_state=RunState.REQUESTED)
    store.runs.add_events(run.id, [(AT, LogLine(Level.INFO, "x" * 2000))])
    print(number, flush=True)
"""


def kill_while_writing(path, rounds, open_at):
    acknowledged = 0
    for turn in range(rounds):
        process = child(ENDLESS, path, turn * 100_000)
        numbers = [int(process.stdout.readline()) for _ in range(3 + turn % 7)]
        # The file is copied while it is written, as a snapshot of the disk would find it, and then
        # the writer dies.
        process.send_signal(signal.SIGKILL)
        numbers += [int(line) for line in process.stdout if line.endswith("\n")]
        process.communicate()
        acknowledged += len(numbers)
        assert sql(path, "PRAGMA integrity_check") == [("ok",)]
        store = open_at(path)
        for number in numbers:
            run = make_run(number)
            assert store.runs.get(run.id) == run.start(at=AT)
            assert len(store.runs.events(run.id)) == 1
        store.close()
    assert acknowledged >= 3 * rounds


def test_writer_that_is_killed_loses_nothing_acknowledged(path, open_at):
    kill_while_writing(path, 2, open_at)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_writer_that_is_killed_a_hundred_times_loses_nothing_acknowledged(path, open_at):
    kill_while_writing(path, 100, open_at)


def test_copy_of_the_files_between_two_writes_holds_what_was_acknowledged(path, open_at, tmp_path):
    """As after a power cut: only what the process had made durable, with the log not yet merged."""
    store = open_at(path)
    for number in range(20):
        store.runs.add(make_run(number))
        folder = tmp_path / f"copy-{number}"
        shutil.copytree(path.parent, folder)
        (folder / "backapp.db-shm").unlink()
        with open_at(folder / path.name) as copy:
            assert len(copy.runs.list(RunFilter(limit=100))) == number + 1
    assert store.runs.get(make_run(19).id).requested_at == datetime(
        2026, 3, 29, 1, 2, 3, 456_789, tzinfo=UTC
    )


def test_writer_that_waits_too_long_is_told_that_the_store_is_busy(open_at, path):
    store = open_at(path)
    sa.event.listen(
        store._database.engine,
        "checkout",
        lambda connection, *rest: connection.execute("PRAGMA busy_timeout=50").close(),
    )
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="is busy"):
        store.jobs.add(JOB)
    assert store.jobs.list() == []
    other.execute("ROLLBACK")
    other.close()
    store.jobs.add(JOB)


def test_all_who_open_one_file_claim_jobs_in_the_same_folder(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "jobs.sqlite")
    stores = [
        SqlStore(SqliteDatabase(tmp_path / name, SystemClock(), void))
        for name in ("jobs.sqlite", "link", "other")
    ]
    direct, linked, other = [store.claims_folder for store in stores]
    assert direct == linked == tmp_path.resolve() / "jobs.sqlite-claims"
    assert other != direct
    for store in stores:
        store.close()


# Servers


def test_second_server_on_one_file_is_refused(open_at, path, tmp_path):
    """Also one in this process, or that comes by another link, until the first has gone."""
    fleet = open_at(path, open_fleet)
    (tmp_path / "link").symlink_to(path)
    assert not fleet.is_shared
    with fleet.hold_alone():
        for where in (path, tmp_path / "link"):
            with (
                pytest.raises(StoreUnavailable, match="another server uses the store"),
                open_at(where, open_fleet).hold_alone(),
            ):
                pass
    with open_at(path, open_fleet).hold_alone():
        pass


HOLD = """
from backapp_plugins.stores.sql import open_fleet, open_store
with open_fleet("sqlite://" + path, surroundings).hold_alone():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_server_that_was_killed_does_not_stand_in_the_way(open_at, path):
    fleet = open_at(path, open_fleet)
    process = child(HOLD, path)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StoreUnavailable), fleet.hold_alone():
        pass
    process.kill()
    process.communicate()
    with fleet.hold_alone():
        pass


def test_news_of_what_was_taken_back_are_not_told(open_at, path):
    heard = []
    fleet = open_at(path, open_fleet)
    with fleet.listen(lambda *news: heard.append(news)):
        with pytest.raises(ZeroDivisionError), fleet._database.writing() as connection:  # noqa: PT012  # one claim
            fleet._database.announce(connection, "runs", "1")
            raise ZeroDivisionError
        fleet.announce("runs", "2")
    assert heard == [("runs", "2")]
