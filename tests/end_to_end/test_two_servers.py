"""Two servers on PostgreSQL, two machines, a bucket on Ceph: the whole way, on real processes."""

import os
import threading
from urllib.parse import urlsplit

import pytest
from story_parts import files_that_hold, free_port, memory_holds
from story_person import Person
from story_stages import BIG_BYTES, BucketStage
from story_told import recover, tell

SETTINGS = """\
state_folder = "{folder}/state"
cache_folder = "{folder}/cache"
store = "{store}"
[server]
tick_seconds = 0.2
public_url = "{url}"
[server.buckets]
ours = "{bucket}"
"""

pytestmark = [pytest.mark.timeout(900)]


class TwoServers(BucketStage):
    """Both machines, of different accounts, fill a repository of their own in one bucket."""

    def __init__(self, house, gateway, bucket, postgres, database, accounts):
        self.house, self.postgres = house, postgres
        access_key, self.secret_key = gateway.owner
        self.keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        self.network = house.front(urlsplit(gateway.endpoint).port)
        ports = (free_port(), free_port())
        self.door = house.front(*ports)
        store, bucket = postgres.url_of(database), f"s3:{self.network.url}/{bucket}"
        self.servers = []
        for name, port in zip(("left", "right"), ports, strict=True):
            settings = SETTINGS.format(
                folder=house.folder / name, store=store, url=self.door.url, bucket=bucket
            )
            server = house.server(name, port=port, settings=settings, environment=self.keys)
            self.servers.append(server.begin())
        names = ("north", "south")
        self.machines = [house.machine(*one) for one in zip(names, accounts, strict=True)]

    def look_into_everything(self):
        check_that_bytes_stay_off_the_servers(self, saved=2 * BIG_BYTES)
        check_that_nobody_holds_the_others_secret(self)


@pytest.fixture
def stage(house, gateway, bucket, postgres, accounts):
    database = postgres.new()
    yield TwoServers(house, gateway, bucket, postgres, database, accounts)
    house.close()
    postgres.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.mark.interop
def test_story_of_two_machines_two_servers_and_a_bucket(stage, visitor):
    tell(stage, visitor(stage.door.url, width=1280, scheme="light"))
    recover(stage)


@pytest.mark.slow
def test_gigabyte_goes_past_the_servers(stage):
    person = stage.set_up(Person(stage.door.url)).person
    stage.write_big(stage.north, 1 << 30)
    person.completed(person.run_now("north"))
    check_that_bytes_stay_off_the_servers(stage, saved=1 << 30)


@pytest.mark.slow
def test_bucket_that_is_away_for_a_minute_is_waited_for(stage):
    person = stage.set_up(Person(stage.door.url)).person
    run = stage.middle()
    stage.network.cut()
    threading.Event().wait(60)
    assert stage.network.refused > 0
    stage.network.mend()
    person.completed(run)
    stage.check_books(run)


def check_that_bytes_stay_off_the_servers(stage, saved):
    """Hold what went over the network against what was saved."""
    accounts = stage.network.bytes_by_account
    by_servers = accounts[os.geteuid()]
    by_machines = sum(accounts[one.account] for one in stage.machines)
    assert by_machines > saved
    assert by_servers + by_machines == stage.network.bytes  # nobody else is on the way
    assert stage.door.bytes + by_servers < saved / 100


def check_that_nobody_holds_the_others_secret(stage):
    """Search for the bucket's key where machines are, for passwords where servers are."""
    key = stage.secret_key.encode()
    assert all(memory_holds(one.process.pid, key) for one in stage.servers)  # it can be found
    for machine in stage.machines:
        password = machine.sheet(f"of-{machine.name}").password.encode()
        assert files_that_hold(machine.folder / "home", password)
        assert not files_that_hold(machine.folder / "home", key)
        assert not files_that_hold(machine.folder / "logs", key)
        assert not memory_holds(machine.process.pid, key)
        with open(f"/proc/{machine.process.pid}/environ", "rb") as environment:
            assert key not in environment.read()
        for server in stage.servers:
            assert not memory_holds(server.process.pid, password)
            assert not files_that_hold(server.folder, password)
        assert not files_that_hold(stage.postgres.folder, password)
