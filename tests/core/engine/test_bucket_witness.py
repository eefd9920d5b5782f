"""What the server looks at before it says that a snapshot arrived."""

import hashlib
from types import SimpleNamespace

import pytest
from attrs import evolve, field, frozen

from backapp_core.engine.bucket_witness import BucketWitness
from backapp_core.engine.buckets import Buckets
from backapp_core.errors import InputError, InvalidAddress, ObjectMissing, TransportUnavailable
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.grants import ObjectSeen
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.fleet_fixtures import make_machine
from backapp_plugins.archivers import restic
from backapp_plugins.transports import folder

BUCKET = "fake:bucket"
ALL = Enforcement(create_only=True, signed_length=True, content_md5=True, sha256_checksum=False)


@frozen
class SigningTransport(MemoryTransport):
    """Counts what is read, and enforces what it is told to."""

    seen: SimpleNamespace = field(factory=SimpleNamespace)

    def get(self, name, **range_of_it):
        self.seen.read.append(name)
        return super().get(name, **range_of_it)

    def probe(self):
        self.seen.probes += 1
        return self.seen.enforces

    def _sign(self, *_, **__):
        raise AssertionError("nothing is signed here")

    sign_put = sign_get = sign_head = sign_delete = _sign


@pytest.fixture
def seen():
    return SimpleNamespace(read=[], probes=0, enforces=ALL)


@pytest.fixture
def bucket():
    return MemoryBucket()


@pytest.fixture
def plugins(bucket, seen):
    class Offer:
        @hookimpl
        def backapp_transports(self):
            kind = TransportKind(
                "fake", frozenset({"fake"}), str, str, lambda *_: SigningTransport(bucket, seen)
            )
            return [kind]

    offered = {"fake": Offer(), "restic": restic, "folder": folder}
    return PluginManager([(name, "", plugin) for name, plugin in offered.items()])


@pytest.fixture
def buckets(plugins, tmp_path):
    with Buckets(plugins, make_surroundings(tmp_path), ["fake:other", BUCKET, "/srv"]) as buckets:
        yield buckets


@pytest.fixture
def machine(fleet):
    return make_machine(fleet)


@pytest.fixture
def repository(machine, buckets):
    added = evolve(
        machine.repository,
        id="0d" * 16,
        name="in-a-bucket",
        address=buckets.address_for(BUCKET, 1, "0d" * 16),
    )
    machine.store.repositories.add(added)
    return added


@pytest.fixture
def witness(machine, buckets, plugins):
    return BucketWitness(machine.store, buckets, plugins.archivers)


@pytest.fixture
def stored(bucket, repository):
    """Store objects as an agent does, and return what it says of them."""

    def stored(*bodies, kind="index"):
        said = []
        for body in bodies:
            name = f"{kind}/{hashlib.sha256(body).hexdigest()}"
            bucket.store(f"t1/{repository.id}/{name}", body, replace=True)
            said.append(ObjectSeen(name, len(body)))
        return said

    return stored


def alter(bucket, repository, one, body):
    bucket.store(f"t1/{repository.id}/{one.name}", body, replace=True)


def test_what_is_there_is_seen_without_being_read(witness, repository, stored, seen):
    witness(repository, stored(b"one", b"two", b"three"))
    assert seen.read == []


def test_the_first_that_is_missing_is_named(witness, repository, stored, bucket):
    said = stored(*(str(number).encode() for number in range(200)))
    for one in (said[70], said[150]):
        bucket.discard(f"t1/{repository.id}/{one.name}")
    with pytest.raises(ObjectMissing, match=f"{said[70].name}' is not in the bucket"):
        witness(repository, said)


def test_another_size_is_noticed(witness, repository, stored, bucket):
    one, two = stored(b"one", b"two")
    alter(bucket, repository, two, b"longer")
    with pytest.raises(ObjectMissing, match=f"{two.name}' has 6 bytes"):
        witness(repository, [one, two])


@pytest.mark.parametrize(
    "name",
    ["../0e/config", "data/ab", "index/../config", "index/" + "AB" * 32, "", "config\n"],
)
def test_a_name_that_no_such_repository_has_is_never_looked_for(witness, repository, name):
    with pytest.raises(ObjectMissing, match="is no object"):
        witness(repository, [ObjectSeen(name, 1)])


@pytest.mark.parametrize(
    "lacks",
    [{"create_only": False}, {"content_md5": False}],
    ids=["replaces", "pins no content"],
)
def test_where_a_bucket_does_not_pin_content_it_is_read_back(
    witness, repository, stored, bucket, seen, lacks
):
    seen.enforces = evolve(ALL, **lacks)
    one, two = stored(b"one", b"two")
    witness(repository, [one, two])
    assert sorted(seen.read) == sorted(f"t1/{repository.id}/{each.name}" for each in (one, two))
    alter(bucket, repository, two, b"twO")
    with pytest.raises(ObjectMissing, match=f"{two.name}' has another content"):
        witness(repository, [one, two])


def test_where_a_bucket_checks_sha256_content_is_not_read(witness, repository, stored, seen):
    seen.enforces = evolve(ALL, content_md5=False, sha256_checksum=True)
    witness(repository, stored(b"one"))
    assert seen.read == []


def test_a_config_is_named_by_nothing_and_only_measured(witness, repository, bucket, seen):
    seen.enforces = evolve(ALL, content_md5=False)
    bucket.store(f"t1/{repository.id}/config", b"sealed", replace=True)
    witness(repository, [ObjectSeen("config", 6)])
    assert seen.read == []


def test_what_a_bucket_enforces_is_found_out_once_and_recorded(
    witness, machine, repository, stored, seen, buckets
):
    said = stored(b"one")
    witness(repository, said)
    known = machine.store.repositories.get(repository.id)
    assert known.enforces == ALL
    witness(known, said)
    witness(repository, said)
    assert (seen.probes, buckets.probe(BUCKET)) == (1, ALL)


def test_what_was_recorded_is_believed(witness, repository, stored, seen):
    witness(evolve(repository, enforces=evolve(ALL, content_md5=False)), stored(b"one"))
    assert (len(seen.read), seen.probes) == (1, 0)


def test_a_folder_on_a_machine_is_looked_into_by_nobody(witness, repository, seen):
    local = evolve(repository, is_local=True, address="/home/backups")
    witness(local, [ObjectSeen("index/" + "0" * 64, 1)])
    assert seen.probes == 0


# --- where repositories stand


def test_a_repository_stands_below_the_bucket_that_it_names(buckets, repository):
    assert repository.address == f"fake:bucket/t1/{repository.id}"
    assert buckets.place_of(repository).folder == f"t1/{repository.id}/"


@pytest.mark.parametrize(
    "address", ["fake:elsewhere/t1/x", "fake:bucketeer/t1/x", "fake:bucket", "/home/backups"]
)
def test_a_repository_in_no_bucket_of_this_server_says_so(buckets, repository, address):
    with pytest.raises(TransportUnavailable, match="in-a-bucket"):
        buckets.place_of(evolve(repository, address=address))


def test_a_bucket_that_nobody_named_has_no_room(buckets):
    with pytest.raises(InvalidAddress, match="elsewhere"):
        buckets.address_for("fake:elsewhere", 1, "0d" * 16)
    with pytest.raises(InvalidAddress, match="elsewhere"):
        buckets.probe("fake:elsewhere")


def test_a_place_that_cannot_sign_holds_no_repository_of_a_machine(buckets, repository):
    with pytest.raises(InputError, match="S3"):
        buckets.place_of(evolve(repository, address=f"/srv/t1/{repository.id}"))
    with pytest.raises(InputError, match="/srv"):
        buckets.probe("/srv")
