import pytest

from backapp_core import ForgetRequest, Retention, SnapshotFilter
from backapp_core.errors import InputError, RepositoryLocked, SnapshotNotFound

TREE = {b"/home/a": b"1"}


@pytest.fixture
def three(take):
    return [take({b"/home/a": b"%d" % number}, hostname="h") for number in range(3)]


def test_policy_keeps_what_it_wants_and_the_plan_changes_nothing(engine, repository, three):
    plan = engine.plan_forget(repository, ForgetRequest(retention=Retention(last=1)))
    assert plan.removal.remove == tuple(one.id for one in three[:2])
    assert plan.removal.keep == (three[2].id,)
    assert [decision.reasons for decision in plan.groups[0].decisions] == [("last",), (), ()]
    assert engine.snapshots(repository) == three


def test_forget_does_what_the_plan_says(engine, repository, three):
    plan = engine.plan_forget(repository, ForgetRequest(retention=Retention(last=1)))
    assert engine.forget(repository, plan) == plan.removal.remove
    assert engine.snapshots(repository) == [three[2]]


def test_groups_are_hosts_and_roots(engine, repository, take):
    for host in ("a", "b"):
        for root in ("/home", "/srv"):
            take({b"/home/x": b"", b"/srv/x": b""}, roots=[root], hostname=host)
            take({b"/home/x": b"1", b"/srv/x": b"1"}, roots=[root], hostname=host)
    plan = engine.plan_forget(repository, ForgetRequest(retention=Retention(last=1)))
    assert sorted((group.hostname, group.roots) for group in plan.groups) == [
        ("a", (b"/home",)),
        ("a", (b"/srv",)),
        ("b", (b"/home",)),
        ("b", (b"/srv",)),
    ]
    together = ForgetRequest(
        retention=Retention(last=1), groups_by_host=False, groups_by_roots=False
    )
    (group,) = engine.plan_forget(repository, together).groups
    assert (group.hostname, group.roots, group.tags) == (None, None, None)
    assert len(group.removed) == 7


def test_filter_leaves_others_alone(engine, repository, take):
    here, there = take(TREE, hostname="here"), take(TREE, hostname="there")
    newer = take(TREE, hostname="here")
    request = ForgetRequest(
        retention=Retention(last=1), snapshot_filter=SnapshotFilter(hostnames=frozenset({"here"}))
    )
    engine.forget(repository, engine.plan_forget(repository, request))
    assert here.id not in {one.id for one in engine.snapshots(repository)}
    assert {there.id, newer.id} == {one.id for one in engine.snapshots(repository)}


def test_named_snapshots_go_even_if_they_are_the_last(engine, repository, three):
    names = tuple(one.id[:16] for one in three)
    plan = engine.plan_forget(repository, ForgetRequest(snapshots=names))
    assert plan.groups == ()
    engine.forget(repository, plan)
    assert engine.snapshots(repository) == []


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (ForgetRequest(), InputError, "nothing says which snapshots stay"),
        (ForgetRequest(("latest",), Retention(last=1)), InputError, "use one of them"),
        (ForgetRequest(("ffff",)), SnapshotNotFound, "ffff"),
        (
            ForgetRequest(retention=Retention(tags=(frozenset({"x"}),))),
            InputError,
            "keeps no snapshot of host 'h'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(engine, repository, three, request_, error, text):
    with pytest.raises(error, match=text):
        engine.plan_forget(repository, request_)
    assert engine.snapshots(repository) == three


def test_policy_on_an_empty_repository_does_nothing(engine, repository):
    plan = engine.plan_forget(repository, ForgetRequest(retention=Retention(last=1)))
    assert plan.is_empty
    assert engine.forget(repository, plan) == ()


def test_prune_deletes_what_nothing_needs(engine, repository, three):
    engine.forget(repository, engine.plan_forget(repository, ForgetRequest(("latest",))))
    plan = engine.plan_prune(repository)
    assert (len(plan.objects), plan.freed_bytes, plan.kept_objects) == (1, 1, 2)
    assert engine.prune(repository, plan).objects == plan.objects
    assert engine.check(repository, read_data=True).is_clean
    assert engine.plan_prune(repository).objects == ()


def test_lock_of_another_process_is_honoured(engine, repository, three, fakes, clock):
    lock = clock.now().isoformat().encode()
    fakes.buckets["fake:memory"].store("locks/shared-other", lock, replace=False)
    plan = engine.plan_forget(repository, ForgetRequest(("latest",)))
    with pytest.raises(RepositoryLocked):
        engine.forget(repository, plan)
    assert engine.snapshots(repository) == three
    clock.advance(3600)
    engine.forget(repository, plan)
