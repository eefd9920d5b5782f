"""What only PostgreSQL has: servers that are away, rights, passwords, and several at once."""

import json
import os
import resource
import subprocess
import sys
import threading
from queue import SimpleQueue

import psycopg
import pytest

from backapp_core.errors import InvalidAddress, StoreTooNew, StoreUnavailable
from backapp_core.events import Recording, void
from backapp_core.model.runs import RunState
from backapp_core.testing.fleet_fixtures import make_machine
from backapp_core.testing.store_contract import StoreContract
from backapp_core.testing.store_fixtures import AT, JOB, make_run
from backapp_plugins.stores.sql import open_fleet
from backapp_plugins.stores.sql.fleet import SqlFleet
from backapp_plugins.stores.sql.postgres import PostgresDatabase
from backapp_plugins.stores.sql.schema import REVISIONS
from backapp_plugins.stores.sql.tables import RUNS

pytestmark = pytest.mark.interop
WAIT_SECONDS = 60.0


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, open_at, postgres_url):
        return open_at(postgres_url)


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:",
        "postgresql://",
        "postgresql://host",
        "postgresql://host/",
        "postgresql://user:secret@host:port/db",
        "postgresql://user:secret@host/",
        "postgresql://user:secret@host/d\nb",
    ],
)
def test_address_that_names_no_database_is_refused(open_at, url):
    with pytest.raises(InvalidAddress) as caught:
        open_at(url)
    assert caught.value.message.isprintable()
    assert "secret" not in caught.value.message


# What cannot be had


@pytest.fixture
def role(postgres):
    """Make a user who has to show the password `right`."""
    name = "wary"
    [[hba]] = postgres.execute("SHOW hba_file")
    with open(hba) as file:
        before = file.read()
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'")
    with open(hba, "w") as file:
        file.write(f"local all {name} scram-sha-256\n{before}")
    postgres.execute("SELECT pg_reload_conf()")
    yield name
    with open(hba, "w") as file:
        file.write(before)
    postgres.execute("SELECT pg_reload_conf()")
    postgres.execute(f"DROP ROLE {name}")


def test_wrong_password_is_refused_in_a_sentence(open_at, postgres_url, role):
    url = postgres_url.replace("postgres:@", f"{role}:my-secret@")
    with pytest.raises(StoreUnavailable, match="refuses the password") as caught:
        open_at(url)
    assert "my-secret" not in caught.value.message
    assert caught.value.message.isprintable()


def test_user_without_rights_is_refused_in_a_sentence(open_at, postgres, postgres_url, role):
    url = postgres_url.replace("postgres:@", f"{role}:right@")
    with pytest.raises(StoreUnavailable, match="may not be changed by this user"):
        open_at(url)
    empty = postgres.url_of(postgres.new()).replace("postgres:@", f"{role}:right@")
    with pytest.raises(StoreUnavailable, match="may not be changed by this user"):
        open_at(empty)


def test_driver_may_be_named_in_the_address(open_at, postgres_url):
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    assert open_at(url).jobs.list() == []


def test_who_waits_too_long_for_others_is_told_so(open_at, postgres_url):
    store = open_at(postgres_url)
    store.runs.add(make_run())
    with psycopg.connect(postgres_url) as other, store._database.engine.connect() as one:
        one.exec_driver_sql("SET lock_timeout = '50ms'")
        one.commit()
        other.execute("SELECT id FROM runs FOR UPDATE")
        one.close()  # and is the next to be lent
        with pytest.raises(StoreUnavailable, match="is busy"):
            store.runs.move(make_run().start(at=AT), from_state=RunState.REQUESTED)
    assert store.runs.get(make_run().id) == make_run()


def test_database_that_does_not_exist_is_refused_in_a_sentence(open_at, postgres):
    with pytest.raises(StoreUnavailable, match="does not exist; create the database"):
        open_at(postgres.url_of("nowhere"))


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/db", "postgresql:///db?host=/nowhere/at/all"]
)
def test_server_that_is_not_there_is_missed_in_a_sentence(open_at, url):
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        open_at(url)


def test_database_of_another_program_is_left_alone(open_at, postgres):
    name = postgres.new()
    postgres.execute("CREATE TABLE songs (name TEXT)", database=name)
    with pytest.raises(StoreUnavailable, match="another program"):
        open_at(postgres.url_of(name))


def test_store_of_a_newer_program_is_refused(open_at, postgres, postgres_database, postgres_url):
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=postgres_database)
    with pytest.raises(StoreTooNew, match=r"newer BackApp.*9999"):
        open_at(postgres_url)


def test_migrations_make_the_tables_that_the_program_expects(open_at, postgres_url):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from backapp_plugins.stores.sql.tables import METADATA

    database = PostgresDatabase(postgres_url, void)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        collations = connection.exec_driver_sql(
            "SELECT DISTINCT collation_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
            " AND data_type = 'character varying'"
        )
        assert collations.scalars().all() == ["C"]
    database.close()


def test_servers_that_start_together_make_one_store(open_at, postgres):
    url = postgres.url_of(name := postgres.new())
    barrier = threading.Barrier(3)
    failures = []

    def work():
        barrier.wait(30)
        try:
            open_at(url).jobs.list()
        except BaseException as error:  # noqa: BLE001  # handed to the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    found = postgres.execute("SELECT version_num FROM alembic_version", database=name)
    assert found == [(REVISIONS[-1],)]


# Connections that are lost


def cut_connections(postgres, database):
    """Do what a restart of the server does to whoever is connected."""
    postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    )


def test_store_goes_on_after_its_connections_were_lost(
    open_at, postgres, postgres_database, postgres_url
):
    store = open_at(postgres_url)
    store.jobs.add(JOB)
    cut_connections(postgres, postgres_database)
    assert store.jobs.list() == [JOB]


def test_connection_that_is_lost_within_a_transaction_is_an_error_of_the_store(
    postgres, postgres_database, postgres_url
):
    database = PostgresDatabase(postgres_url, void)
    with pytest.raises(StoreUnavailable, match=r"lost the connection|shut down"):  # noqa: PT012,SIM117  # one claim
        with database.writing() as connection:
            connection.execute(RUNS.select())
            cut_connections(postgres, postgres_database)
            connection.execute(RUNS.select())
    with database.reading() as connection:
        assert connection.execute(RUNS.select()).all() == []
    database.close()


def test_who_listens_goes_on_after_the_connection_was_lost(
    postgres, postgres_database, postgres_url
):
    said = Recording()
    fleet = SqlFleet(PostgresDatabase(postgres_url, said))
    heard = SimpleQueue()
    with fleet.listen(lambda *news: heard.put(news)):
        cut_connections(postgres, postgres_database)
        assert heard.get(timeout=WAIT_SECONDS) == ("all", "")
        fleet.announce("runs", "1")
        assert heard.get(timeout=WAIT_SECONDS) == ("runs", "1")
        for words in ("from another program", "5", "[1]", "{}"):
            postgres.execute(f"NOTIFY backapp, '{words}'", database=postgres_database)
        fleet.announce("runs", "2")
        assert heard.get(timeout=WAIT_SECONDS) == ("runs", "2")
    fleet.close()
    assert len(said.events) == 1


def test_who_listens_connects_as_everybody_else_does(postgres_url):
    """Also with options that hold blanks."""
    said = Recording()
    url = f"{postgres_url}&options=-c%20work_mem%3D1MB%20-c%20jit%3Doff"
    fleet = SqlFleet(PostgresDatabase(url, said))
    heard = SimpleQueue()
    with fleet.listen(lambda *news: heard.put(news)):
        assert said.events == []
        fleet.announce("runs", "1")
        assert heard.get(timeout=WAIT_SECONDS) == ("runs", "1")
    fleet.close()


@pytest.fixture
def many_open_files():
    """As many as a server of a thousand machines has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for one in opened:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_open_files")
def test_server_with_a_thousand_open_connections_still_hears(open_at, postgres_url):
    fleet = open_at(postgres_url, open_fleet)
    heard = SimpleQueue()
    with fleet.listen(lambda *news: heard.put(news)):
        fleet.announce("runs", "1")
        assert heard.get(timeout=WAIT_SECONDS) == ("runs", "1")


def test_announcing_into_a_server_that_is_away_raises_nothing():
    fleet = SqlFleet(PostgresDatabase("postgresql:///db?host=/nowhere", void))
    fleet.announce("runs", "1")
    with fleet.listen(lambda *news: None):
        pass
    fleet.close()


def test_news_reach_other_servers(open_at, postgres_url):
    one, other = open_at(postgres_url, open_fleet), open_at(postgres_url, open_fleet)
    heard = SimpleQueue()
    with other.listen(lambda *news: heard.put(news)), one.hold_alone(), other.hold_alone():
        one.tenant(1).runs.add(make_run())
        assert heard.get(timeout=WAIT_SECONDS) == ("runs", make_run().id)


# Several at once


def test_transaction_that_was_given_up_for_another_is_made_again(open_at, postgres_url):
    """As after a deadlock; the second time in a row it is an error."""
    import sqlalchemy as sa

    store = open_at(postgres_url)
    to_raise = []

    def fail(connection, cursor, statement, *rest):
        if statement.startswith("INSERT INTO jobs") and to_raise:
            cursor.execute(to_raise.pop())

    sa.event.listen(store._database.engine, "before_cursor_execute", fail)
    deadlock = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"
    to_raise[:] = [deadlock]
    store.jobs.add(JOB)
    assert store.jobs.list() == [JOB]
    to_raise[:] = [deadlock, deadlock]
    with pytest.raises(StoreUnavailable, match="others changed the same"):
        store.jobs.add(JOB)
    assert to_raise == []


CLAIMS = """
import json, sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from backapp_core.plugin_api import *
from backapp_plugins.stores.sql import open_fleet
surroundings = Surroundings(cache_folder=Path("/nowhere"), state_folder=Path("/nowhere"))
with open_fleet(sys.argv[1], surroundings) as fleet:
    work = fleet.tenant(1).work(sys.argv[2], lambda *seen: None)
    sys.stdin.readline()
    def claim(_):
        found = []
        while (claim := work.claim("1" * 32, lease_seconds=600)) is not None:
            found.append(claim.run.id)
        return found
    with ThreadPoolExecutor(4) as threads:
        print(json.dumps([one for found in threads.map(claim, range(4)) for one in found]))
"""


def test_two_servers_give_each_of_200_runs_to_one(open_at, postgres_url):
    fleet = open_at(postgres_url, open_fleet)
    machine = make_machine(fleet)
    for number in range(200):
        machine.job(f"job-{number}")
        machine.run(number, job_name=f"job-{number}")
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS, postgres_url, machine.id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for server in servers:
        server.stdin.write("\n")
        server.stdin.flush()
    ids = [one for server in servers for one in json.loads(server.communicate(timeout=100)[0])]
    assert len(ids) == len(set(ids)) == 200


def test_run_that_is_held_by_a_transaction_is_passed_over(open_at, postgres_url):
    """Nobody waits for a server that died half way."""
    fleet = open_at(postgres_url, open_fleet)
    machine = make_machine(fleet)
    for number in (1, 2):
        machine.job(f"job-{number}")
        machine.run(number, job_name=f"job-{number}")
    with psycopg.connect(postgres_url) as other:
        other.execute(f"SELECT id FROM runs WHERE id = '{1:032x}' FOR UPDATE")
        claim = machine.store.work(machine.id, lambda *seen: None).claim(
            "1" * 32, lease_seconds=600
        )
        assert claim.run.job_name == "job-2"
