"""What is signed for an agent, looked at in the URLs themselves; nothing is sent anywhere."""

import base64
import hashlib
import os
import re
import shutil
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backapp_core.engine.buckets import Buckets
from backapp_core.engine.grant import Desk
from backapp_core.errors import GrantRefused, LeaseLost, RepositoryNotFound, RunNotFound
from backapp_core.manager import PluginManager
from backapp_core.model.grants import WriteWish
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.work import Hold
from backapp_core.testing.fakes import FrozenClock, make_surroundings
from backapp_core.testing.fleet_fixtures import (
    OTHER_INSTANCE,
    claimed,
    let_lapse,
    make_machine,
    sees_all,
)
from backapp_core.wire import MOST_WISHES
from backapp_plugins.archivers import restic, targz
from backapp_plugins.stores.sql import open_fleet
from backapp_plugins.transports import folder, s3

BUCKET = "s3:http://127.0.0.1:9/bucket/backups"
OWN, OTHERS, LOCAL, TARGZ, FOREIGN = ("01" * 16, "02" * 16, "03" * 16, "04" * 16, "05" * 16)
RUN = "20261125T204500Z-0123456789abcdef-full"


def wish(name, body=b"content", **other):
    facts = {
        "size_bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "md5": hashlib.md5(body).hexdigest(),
    }
    return WriteWish(name, **{**facts, **other})


def named(folder_name, body=b"content", **other):
    digest = hashlib.sha256(body).hexdigest()
    start = f"{digest[:2]}/" if folder_name == "data" else ""
    return wish(f"{folder_name}/{start}{digest}", body, **other)


def repository(own_id, agent_id, address, archiver="restic", *, is_local=False):
    return ManagedRepository(
        id=own_id,
        name=f"r{own_id}",
        agent_id=agent_id,
        address=address,
        is_local=is_local,
        created_at=FrozenClock().now(),
        archiver=archiver,
    )


@pytest.fixture(scope="module")
def clock():
    return FrozenClock()


@pytest.fixture(scope="module")
def buckets(tmp_path_factory, clock):
    """Nothing in them changes, and opening a bucket takes half a second."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "owner")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield from _opened_buckets(tmp_path_factory.mktemp("buckets"), clock)


def _opened_buckets(tmp_path, clock):
    modules = {"s3": s3, "folder": folder, "restic": restic, "targz": targz}
    plugins = PluginManager([(name, "", module) for name, module in modules.items()])
    with Buckets(plugins, make_surroundings(tmp_path, clock=clock), [BUCKET, "/srv"]) as buckets:
        yield SimpleNamespace(buckets=buckets, archivers=plugins.archivers)


@pytest.fixture(scope="module")
def machines(empty_fleet_file, buckets, tmp_path_factory):
    """Two machines of one tenant and one of another, with repositories of all sorts."""
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copy(empty_fleet_file, folder / "fleet.db")
    with open_fleet(f"sqlite://{folder / 'fleet.db'}", make_surroundings(folder)) as fleet:
        yield _enrolled(fleet, buckets)


def _enrolled(fleet, buckets):
    own, other = make_machine(fleet, 1), make_machine(fleet, 2)
    stranger = make_machine(fleet, 3, tenant_id=fleet.add_tenant("another").id)
    at = buckets.buckets.address_for
    for one in (
        repository(OWN, own.id, at(BUCKET, 1, OWN)),
        repository(TARGZ, own.id, at(BUCKET, 1, TARGZ), "targz"),
        repository(OTHERS, other.id, at(BUCKET, 1, OTHERS)),
        repository(LOCAL, own.id, "/home/backups", is_local=True),
    ):
        own.store.repositories.add(one)
    for machine in (own, other, stranger):
        machine.store.holds = {}
    tenant_id = stranger.store.tenant.id
    stranger.store.repositories.add(
        repository(FOREIGN, stranger.id, at(BUCKET, tenant_id, FOREIGN))
    )
    return SimpleNamespace(fleet=fleet, own=own, other=other, stranger=stranger)


@pytest.fixture
def fresh(machines, buckets):
    """A repository for which nothing was ever signed."""
    own_id = os.urandom(16).hex()
    at = buckets.buckets.address_for(BUCKET, 1, own_id)
    machines.own.store.repositories.add(repository(own_id, machines.own.id, at))
    return own_id


def claim_of(machine, repository_id, lease_seconds=3600):
    """Have a run of a repository claimed."""
    name = f"job-{os.urandom(8).hex()}"
    job = Job(name, f"backapp:{repository_id}", (b"/home",), agent_id=machine.id)
    machine.store.jobs.add(job)
    wanted = machine.run(id=os.urandom(16).hex(), job_name=name).id
    work = machine.store.work(machine.id, sees_all)
    while (claim := claimed(work, lease_seconds=lease_seconds)).run.id != wanted:
        pass  # what another test let go
    return claim


def hold_of(machine, repository_id, lease_seconds=3600):
    claim = claim_of(machine, repository_id, lease_seconds)
    return Hold(claim.run.id, claim.fence)


class Holding:
    """A machine's desks: under a run of each of its repositories, outside of runs for others."""

    def __init__(self, machine, make):
        self._machine, self._make = machine, make

    def __getattr__(self, name):
        getattr(Desk, name)  # there is nothing else

        def ask(repository_id, *rest):
            return getattr(self._desk(repository_id), name)(repository_id, *rest)

        return ask

    def _desk(self, repository_id):
        store = self._machine.store
        if repository_id not in store.holds:
            is_own = any(
                (one.id, one.agent_id) == (repository_id, self._machine.id)
                for one in store.repositories.list()
            )
            store.holds[repository_id] = hold_of(self._machine, repository_id) if is_own else None
        return self._make(hold=store.holds[repository_id])


@pytest.fixture
def make_desk(buckets):
    def make_desk(machine, **others):
        return Desk(machine.store, machine.id, buckets.buckets, buckets.archivers, **others)

    return make_desk


@pytest.fixture
def desk_of(make_desk):
    def desk_of(machine, **others):
        return Holding(machine, lambda **hold: make_desk(machine, **hold, **others))

    return desk_of


@pytest.fixture
def desk(desk_of, machines):
    return desk_of(machines.own)


VALID = {
    OWN: (
        r"(config|(keys|index|snapshots|locks)/[0-9a-f]{64}"
        r"|data/(?P<start>[0-9a-f]{2})/(?P=start)[0-9a-f]{62})"
    ),
    TARGZ: (
        r"(backapp\.json|snapshots/[0-9a-f]{64}\.json|locks/[0-9a-f]{32}\.json"
        r"|(archives|manifests)/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}-(full|incr)"
        r"\.(tar|jsonl)\.gz(\.age)?)"
    ),
}


def signed_name(request, repository_id):
    """Return the object that a request is about, all of whose URL is as it must be."""
    parts = urlsplit(request.url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("http", "127.0.0.1:9", "")
    start = f"/bucket/backups/t1/{repository_id}/"
    assert parts.path.startswith(start)
    name = parts.path.removeprefix(start)
    assert unquote(name) == name
    valid = VALID.get(repository_id, VALID[OWN])
    if request.method == "GET":  # whoever opens something unknown looks for every config
        valid = rf"{valid}|config|backapp\.json"
    assert re.fullmatch(valid, name, re.ASCII)
    query = parse_qs(parts.query, strict_parsing=True)
    assert 1 <= int(query["X-Amz-Expires"][0]) <= 900
    assert {*query} - {"partNumber", "uploadId"} == {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    }
    assert query["X-Amz-SignedHeaders"] == [";".join(sorted([*request.headers, "host"]))]
    return name


def assert_pins(request, wanted):
    assert request.method == "PUT"
    assert request.headers == {
        "content-length": str(wanted.size_bytes),
        "content-md5": base64.b64encode(bytes.fromhex(wanted.md5)).decode(),
        "if-none-match": "*",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(wanted.sha256)).decode(),
        "x-amz-content-sha256": wanted.sha256,
    }


# --- what may be had


def test_what_a_run_writes_is_signed_with_size_and_hashes_pinned(desk):
    wishes = [named("data"), named("index", b"i"), named("snapshots", b"s"), named("locks", b"l")]
    granted = desk.grant_writes(OWN, wishes)
    for request, wanted in zip(granted.requests, wishes, strict=True):
        assert signed_name(request, OWN) == wanted.name
        assert_pins(request, wanted)


def test_a_backup_as_archives_is_signed_too(desk):
    wishes = [
        wish(f"archives/{RUN}.tar.gz"),
        wish(f"manifests/{RUN}.jsonl.gz.age"),
        wish(f"locks/{'0f' * 16}.json"),
        wish("backapp.json"),
        wish(f"snapshots/{hashlib.sha256(b'content').hexdigest()}.json"),
    ]
    granted = desk.grant_writes(TARGZ, wishes)
    for request, wanted in zip(granted.requests, wishes, strict=True):
        assert signed_name(request, TARGZ) == wanted.name
        assert_pins(request, wanted)


def test_reading_is_signed_for_everything_that_may_stand_there(desk):
    names = ["config", named("keys").name, named("data").name, named("locks").name]
    granted = desk.grant_reads(OWN, names)
    assert [signed_name(request, OWN) for request in granted.requests] == names
    assert {(request.method, *request.headers) for request in granted.requests} == {("GET",)}


def test_the_config_of_any_kind_may_be_looked_for_and_not_written(desk):
    (request,) = desk.grant_reads(OWN, ["backapp.json"]).requests
    assert signed_name(request, OWN) == "backapp.json"
    for call in (
        lambda: desk.grant_writes(OWN, [wish("backapp.json")]),
        lambda: desk.grant_deletes(OWN, ["backapp.json"]),
        lambda: desk.grant_reads(OWN, [f"archives/{RUN}.tar.gz"]),
    ):
        with pytest.raises(GrantRefused):
            call()


def test_grants_live_for_five_minutes_from_when_they_were_issued(desk, clock):
    granted = desk.grant_reads(OWN, ["config"])
    assert granted.issued_at == clock.now()
    assert granted.requests[0].expires_at <= clock.now() + timedelta(minutes=5)
    assert granted.requests[0].expires_at > clock.now() + timedelta(minutes=5, seconds=-1)


def test_nothing_lives_for_longer_than_fifteen_minutes(desk_of, machines, clock):
    granted = desk_of(machines.own, lifetime_seconds=86_400).grant_writes(OWN, [named("data")])
    assert granted.requests[0].expires_at <= clock.now() + timedelta(minutes=15)


def test_a_signed_request_shows_its_url_to_nobody(desk):
    granted = desk.grant_reads(OWN, ["config"])
    assert "X-Amz" not in repr(granted)


# --- config and key


def test_config_and_key_are_signed_once_and_again_for_the_same_bytes(desk, fresh):
    first = [named("keys", b"first"), wish("config", b"sealed")]
    for _ in range(2):
        assert len(desk.grant_writes(fresh, first).requests) == 2
    for other in (named("keys", b"second"), wish("config", b"other")):
        with pytest.raises(GrantRefused, match=re.escape(other.name)) as refused:
            desk.grant_writes(fresh, [other])
        assert refused.value.message.endswith("never completed, make another one for it")


def test_a_refused_batch_takes_no_init_grant(desk, fresh):
    bad = named("data", sha256="0" * 64)
    with pytest.raises(GrantRefused, match=re.escape(bad.name)):
        desk.grant_writes(fresh, [wish("config", b"sealed"), named("locks"), bad])
    assert desk.grant_writes(fresh, [wish("config", b"another")]).requests
    with pytest.raises(GrantRefused):
        desk.grant_deletes(fresh, [named("locks").name])


# --- locks


def test_own_locks_may_be_deleted_and_nothing_else(desk, fresh):
    lock = named("locks")
    desk.grant_writes(fresh, [lock, named("data")])
    (request,) = desk.grant_deletes(fresh, [lock.name]).requests
    assert (request.method, signed_name(request, fresh)) == ("DELETE", lock.name)
    foreign = named("locks", b"of somebody else").name
    for name in (foreign, named("data").name, "config", named("keys").name):
        with pytest.raises(GrantRefused, match=re.escape(name)):
            desk.grant_deletes(fresh, [lock.name, name])


def test_a_lock_of_one_machine_is_none_of_another(desk_of, machines, fresh):
    lock = named("locks")
    desk_of(machines.own).grant_writes(fresh, [lock])
    desk = desk_of(machines.other)
    with pytest.raises(RepositoryNotFound):
        desk.grant_deletes(fresh, [lock.name])
    with pytest.raises(GrantRefused):
        desk.grant_deletes(OTHERS, [lock.name])


# --- who holds the run


def changes(desk, repository_id):
    """Return every call that changes something."""
    data = named("data")
    return {
        "snapshot": lambda: desk.grant_writes(repository_id, [named("snapshots")]),
        "data": lambda: desk.grant_writes(repository_id, [data, named("index")]),
        "config": lambda: desk.grant_writes(repository_id, [wish("config")]),
        "key": lambda: desk.grant_writes(repository_id, [named("keys")]),
        "lock": lambda: desk.grant_writes(repository_id, [named("locks")]),
        "delete": lambda: desk.grant_deletes(repository_id, [named("locks").name]),
        "begin": lambda: desk.begin_upload(repository_id, data.name),
        "parts": lambda: desk.grant_parts(repository_id, data.name, "u", [data], 1),
        "complete": lambda: desk.complete_upload(repository_id, data.name, "u", [(1, "tag")]),
    }


def test_who_held_a_run_changes_nothing_once_somebody_else_took_it_over(make_desk, machines, fresh):
    machines.own.store.repositories.add_locks(fresh, [named("locks").name])
    old = claim_of(machines.own, fresh, lease_seconds=0.05)
    let_lapse(machines.fleet, old)
    work = machines.own.store.work(machines.own.id, sees_all)
    new = claimed(work, instance=OTHER_INSTANCE)
    assert new.run.id == old.run.id
    desk = make_desk(machines.own, hold=Hold(old.run.id, old.fence))
    for what, call in changes(desk, fresh).items():
        with pytest.raises(LeaseLost, match=old.run.id[:8]):
            pytest.fail(f"{what}: {call()}")
    assert len(desk.grant_reads(fresh, ["config", named("data").name]).requests) == 2
    # Nothing was recorded either: who holds it now writes the first config, and another key.
    holder = make_desk(machines.own, hold=Hold(new.run.id, new.fence))
    first = [wish("config", b"another"), named("keys", b"another"), named("snapshots")]
    assert len(holder.grant_writes(fresh, first).requests) == 3


def test_run_that_is_over_or_somebody_elses_signs_nothing(make_desk, machines, fresh):
    claim = claim_of(machines.own, fresh)
    foreign = hold_of(machines.other, OTHERS)
    machines.own.store.repositories.add_locks(fresh, [named("locks").name])
    machines.own.store.work(machines.own.id, sees_all).hand_back(claim.run.id, claim.fence)
    for hold, error in (
        (Hold(claim.run.id, claim.fence), LeaseLost),
        (foreign, RunNotFound),
        (Hold("no run", 1), RunNotFound),
    ):
        for what, call in changes(make_desk(machines.own, hold=hold), fresh).items():
            with pytest.raises(error):
                pytest.fail(f"{what}: {call()}")


def test_run_of_one_repository_writes_to_no_other(make_desk, machines, fresh):
    machines.own.store.repositories.add_locks(fresh, [named("locks").name])
    desk = make_desk(machines.own, hold=hold_of(machines.own, OWN))
    for what, call in changes(desk, fresh).items():
        with pytest.raises(GrantRefused, match="another repository"):
            pytest.fail(f"{what}: {call()}")


def test_outside_of_runs_locks_come_and_go_and_nothing_else(make_desk, machines, fresh):
    desk = make_desk(machines.own, hold=None)
    calls = changes(desk, fresh)
    (put,) = calls.pop("lock")().requests
    (delete,) = calls.pop("delete")().requests
    assert signed_name(put, fresh) == signed_name(delete, fresh) == named("locks").name
    for what, call in calls.items():
        with pytest.raises(GrantRefused, match="by runs only"):
            pytest.fail(f"{what}: {call()}")
    with pytest.raises(GrantRefused, match="by runs only"):
        desk.grant_writes(fresh, [named("locks", b"more"), named("data")])


def test_what_is_signed_is_dead_before_anybody_else_can_take_the_run_over(
    make_desk, machines, fresh, clock
):
    for lease_seconds in (1.9, 20.0, 299.5):
        claim = claim_of(machines.own, fresh, lease_seconds)
        asked_at = machines.fleet.now()
        desk = make_desk(machines.own, hold=Hold(claim.run.id, claim.fence))
        lock = named("locks", os.urandom(8))
        wishes = [named("snapshots"), named("data"), named("index"), lock]
        signed = [*desk.grant_writes(fresh, wishes).requests]
        signed += desk.grant_deletes(fresh, [lock.name]).requests
        signed += desk.grant_parts(fresh, named("data").name, "u", [named("data")], 1).requests
        left = claim.lease_until - asked_at
        assert {one.expires_at <= clock.now() + left for one in signed} == {True}


def test_snapshot_is_not_signed_for_who_holds_the_run_for_less_than_a_second(
    make_desk, machines, fresh, clock
):
    """All else is, and lives for no more than that second."""
    hold = hold_of(machines.own, fresh, 0.9)
    desk = make_desk(machines.own, hold=hold)
    wishes = [named("data"), named("locks", b"short")]
    signed = desk.grant_writes(fresh, wishes).requests
    assert {one.expires_at <= clock.now() + timedelta(seconds=1) for one in signed} == {True}
    with pytest.raises(LeaseLost, match="not held long enough"):
        desk.grant_writes(fresh, [named("snapshots")])


# --- what is refused


@pytest.mark.parametrize(
    "repository_id", [OTHERS, LOCAL, FOREIGN, "06" * 16, f"r{OWN}", "", "../" + OWN]
)
def test_other_repositories_are_there_for_nobody(desk, repository_id):
    lock = named("locks")
    calls = [
        lambda: desk.grant_reads(repository_id, ["config"]),
        lambda: desk.grant_writes(repository_id, [lock]),
        lambda: desk.grant_deletes(repository_id, [lock.name]),
        lambda: desk.list_objects(repository_id, ""),
        lambda: desk.begin_upload(repository_id, named("data").name),
        lambda: desk.grant_parts(repository_id, named("data").name, "u", [named("data")], 1),
        lambda: desk.complete_upload(repository_id, named("data").name, "u", [(1, "tag")]),
        lambda: desk.abandon_upload(repository_id, named("data").name, "u"),
    ]
    for call in calls:
        with pytest.raises(RepositoryNotFound):
            call()


@pytest.mark.parametrize(
    ("folder_name", "most_bytes"),
    [("keys", 64 << 10), ("locks", 64 << 10), ("snapshots", 16 << 20), ("data", 5 << 30)],
)
def test_sizes_are_limited(desk, folder_name, most_bytes):
    desk.grant_writes(OWN, [named(folder_name, size_bytes=most_bytes)])
    if most_bytes < 5 << 30:  # more is no wish at all
        with pytest.raises(GrantRefused, match=f"{most_bytes + 1} bytes"):
            desk.grant_writes(OWN, [named(folder_name, b"x", size_bytes=most_bytes + 1)])


def test_a_large_config_is_refused(desk):
    with pytest.raises(GrantRefused, match="config"):
        desk.grant_writes(OWN, [wish("config", size_bytes=(1 << 20) + 1)])


@pytest.mark.parametrize("folder_name", ["keys", "data", "index", "snapshots", "locks"])
def test_an_object_whose_name_is_not_its_hash_is_refused(desk, folder_name):
    other = named(folder_name, sha256=hashlib.sha256(b"other").hexdigest())
    with pytest.raises(GrantRefused, match=re.escape(other.name)):
        desk.grant_writes(OWN, [other])


def test_too_many_at_once_are_refused(desk):
    assert len(desk.grant_reads(OWN, ["config"] * MOST_WISHES).requests) == MOST_WISHES
    with pytest.raises(GrantRefused, match="501"):
        desk.grant_reads(OWN, ["config"] * (MOST_WISHES + 1))
    with pytest.raises(GrantRefused, match="501"):
        desk.grant_writes(OWN, [named("data")] * (MOST_WISHES + 1))
    with pytest.raises(GrantRefused, match="501"):
        desk.grant_deletes(OWN, [named("locks").name] * (MOST_WISHES + 1))


def test_only_content_is_sent_in_parts(desk):
    for name in ("config", named("keys").name, named("snapshots").name, named("locks").name):
        calls = [
            lambda name=name: desk.begin_upload(OWN, name),
            lambda name=name: desk.grant_parts(OWN, name, "u", [wish(name)], 1),
            lambda name=name: desk.complete_upload(OWN, name, "u", [(1, "tag")]),
            lambda name=name: desk.abandon_upload(OWN, name, "u"),
        ]
        for call in calls:
            with pytest.raises(GrantRefused, match=re.escape(name)):
                call()


def test_parts_are_signed_with_their_numbers(desk):
    name = f"archives/{RUN}.tar.gz"
    parts = [wish(name, b"one"), wish(name, b"two")]
    granted = desk.grant_parts(TARGZ, name, "up/load~1", parts, 7)
    for number, (request, part) in enumerate(zip(granted.requests, parts, strict=True), 7):
        assert signed_name(request, TARGZ) == name
        query = parse_qs(urlsplit(request.url).query)
        assert (query["partNumber"], query["uploadId"]) == ([str(number)], ["up/load~1"])
        assert request.headers["content-length"] == str(part.size_bytes)
        assert request.headers["x-amz-content-sha256"] == part.sha256


@pytest.mark.parametrize(
    ("upload", "part_name", "first"),
    [
        ("", None, 1),
        ("line\nbreak", None, 1),
        ("u" * 1025, None, 1),
        ("u", f"manifests/{RUN}.jsonl.gz", 1),
        ("u", None, 0),
        ("u", None, 10_001),
    ],
)
def test_parts_of_something_else_are_refused(desk, upload, part_name, first):
    name = f"archives/{RUN}.tar.gz"
    with pytest.raises(GrantRefused, match=re.escape(name)):
        desk.grant_parts(TARGZ, name, upload, [wish(part_name or name)], first)


@pytest.mark.parametrize("prefix", ["data", "../", "/", "data/../keys/", "data//", ".hidden/"])
def test_what_is_no_folder_is_not_listed(desk, prefix):
    with pytest.raises(GrantRefused):
        desk.list_objects(OWN, prefix)


@pytest.mark.parametrize("after", ["line\nbreak", "\ud800", "x" * 1025])
def test_a_listing_goes_on_only_after_what_a_page_can_end_with(desk, after):
    with pytest.raises(GrantRefused, match="after"):
        desk.list_objects(OWN, "data/", after)


# --- whatever is asked for

fine_names = st.sampled_from(
    [
        "config",
        *(named(one).name for one in ("data", "keys", "index", "locks", "snapshots")),
        f"archives/{RUN}.tar.gz",
        f"locks/{'0f' * 16}.json",
    ]
)
odd_names = st.lists(
    st.sampled_from(
        [
            *("config", "data", "keys", "locks", "snapshots", "archives", "backapp.json"),
            *("/", "//", "..", ".", "%2F", "%2e%2e", "\\", "\0", "\n", "?", "#", "ab"),
            *(OTHERS, f"../{OTHERS}", "t2", hashlib.sha256(b"content").hexdigest()),
            *("\u2024\u2024", "\uff0e", "e\u0301", RUN, ".tar.gz", ".json"),
        ]
    )
    | st.text(max_size=3),
    max_size=7,
).map("".join)
names = st.one_of(*[fine_names] * 6, odd_names)
wishes_of = st.builds(
    WriteWish,
    names,
    size_bytes=st.sampled_from([7] * 5 + [0, 64 << 10, (64 << 10) + 1, (16 << 20) + 1, 5 << 30]),
    sha256=st.sampled_from([hashlib.sha256(body).hexdigest() for body in [b"content"] * 4 + [b""]]),
    md5=st.just("0" * 32),
)
ids = st.sampled_from([OWN] * 12 + [TARGZ] * 4 + [OTHERS, LOCAL, FOREIGN, f"../{OTHERS}", ""])


@given(
    repository_id=ids,
    wishes=st.lists(wishes_of, min_size=1, max_size=3),
    reads=st.lists(names, min_size=1, max_size=3),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_url_ever_leaves_the_repository(desk, repository_id, wishes, reads):
    """Whoever asks whatever: what is signed is exactly what was asked for, within the rules."""
    calls = [
        (reads, lambda: desk.grant_reads(repository_id, reads)),
        (reads, lambda: desk.grant_deletes(repository_id, reads)),
        ([one.name for one in wishes], lambda: desk.grant_writes(repository_id, wishes)),
        (
            [one.name for one in wishes],
            lambda: desk.grant_parts(repository_id, wishes[0].name, "u", wishes, 1),
        ),
    ]
    for asked, call in calls:
        try:
            granted = call()
        except (GrantRefused, RepositoryNotFound):
            continue
        assert repository_id in {OWN, TARGZ}
        assert [signed_name(one, repository_id) for one in granted.requests] == asked
    for name, one in zip([one.name for one in wishes], wishes, strict=True):
        digest = re.fullmatch(r"(?:[a-z/]+/)?(?:../)?([0-9a-f]{64})(?:\.json)?", name)
        try:
            (request,) = desk.grant_writes(repository_id, [one]).requests
        except (GrantRefused, RepositoryNotFound):
            continue
        assert_pins(request, one)
        assert digest is None or digest[1] == one.sha256
