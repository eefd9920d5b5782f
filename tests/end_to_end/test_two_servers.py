"""Two servers on PostgreSQL, two machines, a bucket on Ceph: the whole way, on real processes."""

import os
import shutil
import threading
from urllib.parse import urlsplit

import pytest
from story_parts import files_that_hold, free_port, memory_holds, wait_for
from story_person import Person

from backapp_core.testing.tree_facts import tree_differences

BIG_BYTES = 96 * 1024 * 1024
HELD_BYTES = 4 * 1024 * 1024
"""How much of a backup gets through before the network holds the rest."""
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


class Story:
    """Both machines fill a repository of their own in one bucket."""

    def __init__(self, house, gateway, bucket, store, accounts):
        self.house = house
        access_key, self.secret_key = gateway.owner
        self.keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        self.network = house.front(urlsplit(gateway.endpoint).port)
        self._bring_up_servers(f"s3:{self.network.url}/{bucket}", store)
        self.person = Person(self.door.url).join(self.servers[0].first_link)
        self.north, self.south = (
            self._add_machine(name, account)
            for name, account in zip(("north", "south"), accounts, strict=True)
        )

    def _bring_up_servers(self, bucket, store):
        ports = (free_port(), free_port())
        self.door = self.house.front(*ports)
        self.servers = []
        for name, port in zip(("left", "right"), ports, strict=True):
            settings = SETTINGS.format(
                folder=self.house.folder / name, store=store, url=self.door.url, bucket=bucket
            )
            server = self.house.server(name, port=port, settings=settings, environment=self.keys)
            self.servers.append(server.begin())

    def _add_machine(self, name, account):
        machine = self.house.machine(name, account)
        self.write_source(machine)
        machine.enrol(self.door.url, self.person.allow(name), machine.folder / "restored")
        machine.begin()
        self.person.add_repository(f"of-{name}", name, bucket="ours")
        self.person.add_job(name, f"of-{name}", machine.folder / "source")
        return machine

    def write_source(self, machine):
        source = machine.folder / "source"
        (source / "letters" / "old").mkdir(parents=True)
        for number in range(30):
            text = f"letter {number} from {machine.name}\n" * number
            (source / "letters" / f"{number}.txt").write_text(text)
        (source / "letters" / "old" / "first.txt").write_text(f"first of {machine.name}\n")
        (source / "link").symlink_to("letters/1.txt")
        source.chmod(0o700)
        self.write_big(machine)
        machine.own(source)

    def write_big(self, machine, size_bytes=BIG_BYTES):
        path = machine.folder / "source" / "big"
        with path.open("wb") as big:
            for _ in range(size_bytes >> 20):
                big.write(os.urandom(1 << 20))
        machine.own(path)

    def run_until_in_the_middle(self):
        """Ask north for a run, and return its id when the network holds what it sends."""
        self.write_big(self.north)
        self.network.hold_after(HELD_BYTES)
        run = self.person.run_now("north")
        wait_for(lambda: self.network.is_held, "the middle of the run")
        assert self.person.run(run)["state"] == "running"
        return run

    def check_books(self, *runs):
        """Look whether every run of north's left one snapshot, and everybody knows the same."""
        known = [one["id"] for one in self.person.snapshots("of-north")]
        there = [one["id"] for one in self.person.answer("of-north", "snapshots")]
        receipts = self.person.receipts("of-north")
        assert known == there
        assert [one["run_id"] for one in receipts] == list(runs)
        assert [one["snapshot_id"] for one in receipts] == known[::-1]
        assert all(one["objects"] > 0 for one in receipts)


@pytest.fixture
def story(house, gateway, bucket, postgres, accounts):
    database = postgres.new()
    yield Story(house, gateway, bucket, postgres.url_of(database), accounts)
    house.close()
    postgres.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.mark.interop
def test_story_of_two_machines_two_servers_and_a_bucket(story, postgres):  # noqa: PLR0915  # from beginning to end
    person, north, south = story.person, story.north, story.south

    # Both at once; what they save goes past the servers.
    runs = [person.run_now("north"), person.run_now("south")]
    first, of_south = map(person.completed, runs)
    check_that_bytes_stay_off_the_servers(story, saved=2 * BIG_BYTES)
    check_that_nobody_holds_the_others_secret(story, postgres)

    # A second run adds only what changed.
    (north.folder / "source" / "letters" / "new.txt").write_text("news\n")
    north.own(north.folder / "source" / "letters" / "new.txt")
    second = person.completed(person.run_now("north"))
    assert second["counts"]["files_new"] == 1
    assert second["counts"]["files_unmodified"] == first["counts"]["files_new"]
    assert second["counts"]["stored_bytes"] < 100_000

    # A server dies in the middle: the other one carries on.
    third = story.run_until_in_the_middle()
    story.servers[0].process.kill()
    story.network.release()
    person.completed(third)
    story.servers[0].begin()
    story.check_books(first["id"], second["id"], third)

    # The bucket cannot be reached for a while.
    fourth = story.run_until_in_the_middle()
    story.network.cut()
    wait_for(lambda: story.network.refused >= 8, "somebody to try in vain")
    story.network.mend()
    person.completed(fourth)
    story.check_books(first["id"], second["id"], third, fourth)

    # Somebody cancels.
    cancelled = story.run_until_in_the_middle()
    person.cancel(cancelled)
    story.network.release()
    assert person.end_of(cancelled)["state"] == "cancelled"
    story.check_books(first["id"], second["id"], third, fourth)

    # The machine loses power.
    fifth = story.run_until_in_the_middle()
    north.process.kill()
    story.network.release()
    north.begin()
    person.completed(fifth)
    story.check_books(first["id"], second["id"], third, fourth, fifth)

    # Each machine shows what only it can read, and gets it back.
    for machine, run in ((north, fifth), (south, of_south["id"])):
        snapshot = person.run(run)["snapshot_id"]
        check_looking_and_restoring(story, machine, snapshot)

    recover(story)


@pytest.mark.slow
def test_gigabyte_goes_past_the_servers(story):
    story.write_big(story.north, 1 << 30)
    story.person.completed(story.person.run_now("north"))
    check_that_bytes_stay_off_the_servers(story, saved=1 << 30)


@pytest.mark.slow
def test_bucket_that_is_away_for_a_minute_is_waited_for(story):
    run = story.run_until_in_the_middle()
    story.network.cut()
    threading.Event().wait(60)
    assert story.network.refused > 0
    story.network.mend()
    story.person.completed(run)
    story.check_books(run)


def check_that_bytes_stay_off_the_servers(story, saved):
    """Hold what went over the network against what was saved."""
    accounts = story.network.bytes_by_account
    by_servers = accounts[os.geteuid()]
    by_machines = sum(accounts[one.account] for one in (story.north, story.south))
    assert by_machines > saved
    assert by_servers + by_machines == story.network.bytes  # nobody else is on the way
    assert story.door.bytes + by_servers < saved / 100


def check_that_nobody_holds_the_others_secret(story, postgres):
    """Search for the bucket's key where machines are, for passwords where servers are."""
    key = story.secret_key.encode()
    assert all(memory_holds(one.process.pid, key) for one in story.servers)  # it can be found
    for machine in (story.north, story.south):
        password = machine.sheet(f"of-{machine.name}").password.encode()
        assert files_that_hold(machine.folder / "home", password)
        assert not files_that_hold(machine.folder / "home", key)
        assert not files_that_hold(machine.folder / "logs", key)
        assert not memory_holds(machine.process.pid, key)
        with open(f"/proc/{machine.process.pid}/environ", "rb") as environment:
            assert key not in environment.read()
        for server in story.servers:
            assert not memory_holds(server.process.pid, password)
            assert not files_that_hold(server.folder, password)
        assert not files_that_hold(postgres.folder, password)


def check_looking_and_restoring(story, machine, snapshot):
    person, repository = story.person, f"of-{machine.name}"
    source = machine.folder / "source"
    nodes = person.answer(
        repository, "list-folder", snapshot_id=snapshot, folder=f"{source}/letters"
    )
    assert {"old", "1.txt"} <= {node["name"] for node in nodes}
    nodes = person.answer(repository, "search", snapshot_id=snapshot, pattern="FIRST.*")
    assert [node["path"] for node in nodes] == [f"{source}/letters/old/first.txt"]
    some = machine.folder / "restored" / "some"
    person.completed(person.restore(machine.name, snapshot, some, f"{source}/letters/old"))
    assert [one.name for one in some.rglob("*") if one.is_file()] == ["first.txt"]
    everything = machine.folder / "restored" / "all"
    person.completed(person.restore(machine.name, snapshot, everything))
    assert tree_differences(source, everything / str(source)[1:]) == []


def recover(story):
    """Get all of it back on another machine, with the sheets and the bucket's own keys."""
    restic = shutil.which("restic")
    for machine in (story.north, story.south):
        sheet = machine.sheet(f"of-{machine.name}")
        fresh = story.house.machine(f"instead-of-{machine.name}")
        secrets = {
            **story.keys,
            "RESTIC_PASSWORD": sheet.password,
            "BACKAPP_PASSWORD": sheet.password,
        }
        source = machine.folder / "source"
        for name, program in (("backapp", None), ("restic", restic)):
            target = fresh.folder / name
            fresh.run(*sheet.command(name, "restore", target), program=program, more=secrets)
            assert tree_differences(source, target / str(source)[1:]) == []
        fresh.run("-r", sheet.address, "check", "--read-data", program=restic, more=secrets)
