"""What goes wrong between an agent, the server and the bucket, and what is made of it."""

import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from attrs import evolve

from backapp_core.errors import (
    AccessRefused,
    GrantRefused,
    InvalidAddress,
    LeaseLost,
    ObjectExists,
    ObjectMissing,
    RepositoryNotFound,
    RunCancelled,
    RunNotFound,
    StorageFull,
    StoreUnavailable,
    TransferCut,
    TransportUnavailable,
)
from backapp_core.ports.surroundings import CancelToken
from backapp_core.testing.fakes import FrozenClock, make_surroundings, repeatable_random_bytes
from backapp_plugins.transports.presigned import (
    KIND,
    ManagedAddress,
    open_presigned,
    parse_address,
)
from backapp_plugins.transports.presigned.transport import PresignedTransport

pytestmark = pytest.mark.thorough

ID = "0f" * 16
EXPIRED = (403, "AccessDenied")
KEY = "/bucket/folder/object"
LARGE = repeatable_random_bytes(1)(3 << 20)


def calls(issuer, what):
    return [names for kind, names in issuer.calls if kind == what]


# --- faults that pass


@pytest.mark.parametrize(
    "fault", [(503, "SlowDown"), (500, "InternalError"), (409, "OperationAborted"), "unreachable"]
)
def test_a_fault_that_passes_is_waited_for(transport, fake_s3, clock, fault):
    before = clock.monotonic_seconds()
    fake_s3.fail("PUT", fault, fault)
    assert transport.put("object", [b"body"]) == 4
    assert fake_s3.objects[KEY][0] == b"body"
    assert 0.5 < clock.monotonic_seconds() - before < 5


def test_a_fault_that_does_not_pass_is_told(transport, fake_s3):
    fake_s3.fail("PUT", *[(503, "SlowDown")] * 7)
    with pytest.raises(TransportUnavailable, match="SlowDown"):
        transport.put("object", [b"body"])
    assert fake_s3.count("PUT") == 7
    fake_s3.fail("GET", *["unreachable"] * 7)
    with pytest.raises(TransportUnavailable, match="object 'object'"):
        transport.read("object")


def test_a_body_that_arrives_damaged_is_sent_again(transport, fake_s3):
    fake_s3.fail("PUT", (400, "BadDigest"))
    transport.put("object", [b"body"])
    fake_s3.fail("PUT", *[(400, "BadDigest")] * 7)
    with pytest.raises(TransferCut, match="BadDigest"):
        transport.put("another", [b"body"])


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "QuotaExceeded"),
        (503, "StorageFull"),
        (507, "InsufficientStorage"),
        (507, "XMinioStorageFull"),
    ],
)
def test_a_full_bucket_is_told_at_once(transport, fake_s3, status, code):
    fake_s3.fail("PUT", (status, code))
    with pytest.raises(StorageFull, match=code):
        transport.put("object", [b"body"])
    assert fake_s3.count("PUT") == 1


def test_stopping_ends_the_waiting(make, fake_s3):
    cancel = CancelToken()
    cancel.cancel()
    fake_s3.fail("PUT", (503, "SlowDown"))
    with make(cancel=cancel) as transport, pytest.raises(RunCancelled):
        transport.put("object", [b"body"])
    assert fake_s3.count("PUT") == 1


# --- answers that are lost


@pytest.mark.parametrize(("fault", "answered"), [("lost", 200), ("forgotten", 500)])
def test_what_was_stored_though_the_answer_was_lost_counts(transport, fake_s3, fault, answered):
    fake_s3.fail("PUT", fault)
    assert transport.put("object", [b"body"]) == 4
    assert [status for method, _, status in fake_s3.requests if method == "PUT"] == [answered, 412]


def test_a_tag_that_is_no_hash_has_the_object_read(transport, fake_s3):
    fake_s3.fail("PUT", "lost")
    store = fake_s3.store
    fake_s3.store = lambda key, data: store(key, data, etag="opaque")
    try:
        assert transport.put("object", [b"body"]) == 4
    finally:
        fake_s3.store = store


def test_what_somebody_else_stored_meanwhile_is_not_ours(transport, fake_s3):
    fake_s3.store(KEY, b"ours")
    fake_s3.fail("PUT", "unreachable")
    with pytest.raises(ObjectExists):
        transport.put("object", [b"body"])
    assert fake_s3.objects[KEY][0] == b"ours"


def test_without_doubt_a_name_that_is_taken_is_not_looked_at(transport, fake_s3):
    fake_s3.store(KEY, b"body")
    with pytest.raises(ObjectExists):
        transport.put("object", [b"body"])
    assert (fake_s3.count("GET"), fake_s3.count("PUT")) == (0, 1)


# --- expiry


def test_a_grant_that_expired_on_the_way_is_renewed(transport, issuer, clock, fake_s3):
    issuer.seconds = 1
    issuer.before = lambda what: clock.advance(2) if len(calls(issuer, what)) == 1 else None
    fake_s3.fail("PUT", EXPIRED)
    assert transport.put("object", [b"body"]) == 4
    assert len(calls(issuer, "writes")) == 2


def test_a_kept_grant_is_not_sent_when_it_is_nearly_over(transport, issuer, clock, fake_s3):
    transport.put("object", [b"body"])
    for advance, asked in ((0, 1), (200, 1), (99, 2), (0, 2)):
        clock.advance(advance)
        assert transport.read("object") == b"body"
        assert len(calls(issuer, "reads")) == asked
    assert fake_s3.count("GET", 403) == 0


def test_the_clock_on_the_wall_has_no_say(issuer, fake_s3, clock, tmp_path):
    """The agent's is a day ahead, or behind: what counts is the time since it asked."""
    issuer.seconds = 60
    for days in (1, -1):
        ahead = FrozenClock(clock.now() + timedelta(days=days))
        surroundings = make_surroundings(tmp_path, clock=ahead)
        with PresignedTransport(ManagedAddress(ID), issuer, surroundings) as transport:
            transport.put(f"object{days}", [b"body"])
            for _ in range(2):
                assert transport.read(f"object{days}") == b"body"
    assert (len(calls(issuer, "writes")), len(calls(issuer, "reads"))) == (2, 2)
    assert fake_s3.count("PUT", 403) + fake_s3.count("GET", 403) == 0


def test_expiry_again_and_again_is_told(transport, issuer, fake_s3):
    issuer.seconds = 1
    fake_s3.fail("PUT", *[EXPIRED] * 20)
    with pytest.raises(AccessRefused, match="clocks"):
        transport.put("object", [b"body"])
    assert fake_s3.count("PUT") <= 6


def test_a_refusal_that_is_not_about_age_is_told_at_once(transport, fake_s3):
    fake_s3.fail("PUT", EXPIRED)
    with pytest.raises(AccessRefused, match="AccessDenied"):
        transport.put("object", [b"body"])
    assert fake_s3.count("PUT") == 1


def test_thirty_percent_expired_still_come_through(transport, issuer, fake_s3):
    issuer.seconds = 1
    chance = repeatable_random_bytes(7)(200)
    names = [f"object-{number}" for number in range(60)]
    for at, name in enumerate(names):
        if chance[at] < 77:
            fake_s3.fail("PUT", EXPIRED)
        transport.put(name, [name.encode()])
    assert sorted(info.name for info in transport.list()) == sorted(names)
    assert len(calls(issuer, "writes")) <= 2 * len(names)


# --- reading


def test_a_connection_that_ends_early_is_made_again_for_the_rest(transport, fake_s3):
    fake_s3.store(KEY, LARGE)
    fake_s3.fail("GET", "cut", "cut")
    assert transport.read("object", offset=5) == LARGE[5:]
    assert fake_s3.count("GET") == 3


def test_an_object_that_is_replaced_while_it_is_read_is_cut(transport, fake_s3):
    fake_s3.store(KEY, LARGE)
    fake_s3.fail("GET", "cut")
    chunks = transport.get("object")
    assert next(chunks)
    fake_s3.store(KEY, LARGE[::-1])
    with pytest.raises(TransferCut, match="another one"):
        b"".join(chunks)


def test_a_connection_that_ends_early_for_ever_is_cut(transport, fake_s3):
    fake_s3.store(KEY, b"12345678")
    fake_s3.fail("GET", *["cut"] * 60)
    with pytest.raises(TransferCut):
        transport.read("object")


def test_reads_are_asked_for_ahead_of_need(transport, issuer, fake_s3):
    names = [f"index/{number:03}" for number in range(120)]
    for name in names:
        fake_s3.store(f"/bucket/folder/{name}", name.encode())
    assert [info.name for info in transport.list("index/")] == names
    for name in names:
        assert transport.read(name) == name.encode()
    asked = calls(issuer, "reads")
    assert len(asked) <= 4
    assert sorted(name for batch in asked for name in batch) == names  # none twice, none in vain


# --- grants


@pytest.mark.parametrize("lost", [LeaseLost, RunNotFound])
def test_run_that_is_somebody_elses_is_refused_in_the_servers_words(transport, issuer, lost):
    """And is not asked for again and again."""

    def refuse(_what):
        raise lost("run 01234567 was taken over by somebody else")

    issuer.before = refuse
    for act in (
        lambda: transport.put("a/new", [b"x"]),
        lambda: transport.put("a/large", [b"x" * (2 << 20)]),
        lambda: transport.delete("a/lock"),
    ):
        with pytest.raises(AccessRefused, match="run 01234567 was taken over by somebody else"):
            act()
    assert len(issuer.calls) == 2


def test_threads_ask_together(make, issuer, fake_s3):
    begun, go_on = threading.Event(), threading.Event()

    def hold_the_first(what):
        if what == "writes" and not begun.is_set():
            begun.set()
            assert go_on.wait(20)

    issuer.before = hold_the_first
    with make() as transport, ThreadPoolExecutor(9) as pool:
        first = pool.submit(transport.put, "first", [b"1"])
        assert begun.wait(20)
        others = [pool.submit(transport.put, f"other-{n}", [b"1"]) for n in range(8)]
        gathering = transport._grants._writes
        while len(gathering._queue) < 8:
            assert not first.done()
        go_on.set()
        assert [one.result(20) for one in [first, *others]] == [1] * 9
    assert [len(batch) for batch in calls(issuer, "writes")] == [1, 8]


def test_a_refusal_concerns_those_who_are_to_blame(make, issuer):
    begun, go_on = threading.Event(), threading.Event()

    def refuse(what):
        if what != "writes":
            return
        if not begun.is_set():
            begun.set()
            assert go_on.wait(20)
        if any(wish.name == "bad" for wish in issuer.calls[-1][1]):
            raise GrantRefused("'bad' is no object")

    issuer.before = refuse
    with make() as transport, ThreadPoolExecutor(4) as pool:
        first = pool.submit(transport.put, "first", [b"1"])
        assert begun.wait(20)
        bad, good = (pool.submit(transport.put, name, [b"1"]) for name in ("bad", "good"))
        while len(transport._grants._writes._queue) < 2:
            assert not first.done()
        go_on.set()
        assert (first.result(20), good.result(20)) == (1, 1)
        with pytest.raises(AccessRefused, match="'bad' is no object"):
            bad.result(20)


@pytest.mark.parametrize(
    "error", [GrantRefused("not this one"), RepositoryNotFound("no such repository")]
)
def test_what_the_issuer_refuses_is_refused(transport, issuer, error):
    def refuse(_what):
        raise error

    issuer.before = refuse
    acts = [
        lambda: transport.put("object", [b"body"]),
        lambda: transport.put("large", [LARGE]),
        lambda: transport.read("object"),
        lambda: transport.stat("object"),
        lambda: transport.delete("object"),
        lambda: [*transport.list()],
    ]
    for act in acts:
        with pytest.raises(AccessRefused, match=error.message):
            act()


@pytest.mark.parametrize(
    "answer",
    [
        lambda one: (),
        lambda one: (one, one),
        lambda one: (evolve(one, method="DELETE"),),
        lambda one: (evolve(one, url="file:///etc/passwd"),),
        lambda one: (evolve(one, url="http://[broken/"),),
        lambda one: (evolve(one, url="nothing"),),
        lambda one: (evolve(one, headers={"content-length": "4\r\nx: y"}),),
    ],
)
def test_an_issuer_that_answers_nonsense_is_told_so(transport, issuer, fake_s3, answer):
    sign = issuer.grant_writes

    def grant_writes(repository_id, wishes):
        granted = sign(repository_id, wishes)
        return evolve(granted, requests=answer(granted.requests[0]))

    issuer.grant_writes = grant_writes
    with pytest.raises(TransportUnavailable):
        transport.put("object", [b"body"])
    assert fake_s3.requests == []


def test_what_can_never_be_stored_is_told_at_once(transport, fake_s3):
    fake_s3.fail("PUT", (400, "EntityTooLarge"))
    with pytest.raises(AccessRefused, match="EntityTooLarge"):
        transport.put("object", [b"body"])
    assert fake_s3.count("PUT") == 1


def test_an_issuer_that_does_not_answer_is_waited_for(transport, issuer, clock):
    left = iter(range(3))

    def be_away(_what):
        if next(left, None) is not None:
            raise StoreUnavailable("the server does not answer")

    issuer.before = be_away
    before = clock.monotonic_seconds()
    assert transport.put("object", [b"body"]) == 4
    assert clock.monotonic_seconds() > before + 1


def test_an_issuer_that_never_answers_is_told(transport, issuer):
    def be_away(_what):
        raise StoreUnavailable("the server does not answer")

    issuer.before = be_away
    with pytest.raises(TransportUnavailable, match="the server does not answer"):
        transport.put("object", [b"body"])
    with pytest.raises(TransportUnavailable):
        [*transport.list()]


# --- parts


def test_a_large_object_is_sent_in_parts_and_is_one(transport, fake_s3, issuer):
    assert transport.put("object", [LARGE[:1000], LARGE[1000:]], size_bytes=len(LARGE)) == 3 << 20
    assert fake_s3.objects[KEY][0] == LARGE
    assert len(calls(issuer, "parts")) == 12
    assert fake_s3.uploads == {}


@pytest.mark.parametrize("fault", [(503, "SlowDown"), "lost", "unreachable"])
def test_a_part_is_sent_again(transport, fake_s3, fault):
    fake_s3.fail("PUT", fault)
    transport.put("object", iter([LARGE]))
    assert fake_s3.objects[KEY][0] == LARGE


def test_an_upload_that_fails_leaves_no_parts(transport, fake_s3):
    fake_s3.fail("PUT", *[(503, "SlowDown")] * 7)
    with pytest.raises(TransportUnavailable):
        transport.put("object", [LARGE])
    assert (fake_s3.objects, fake_s3.uploads) == ({}, {})


def test_a_large_object_does_not_replace_one(transport, fake_s3):
    fake_s3.store(KEY, b"ours")
    with pytest.raises(ObjectExists):
        transport.put("object", [LARGE])
    assert (fake_s3.objects[KEY][0], fake_s3.uploads) == (b"ours", {})


# --- secrets and addresses


def test_no_message_and_no_log_holds_a_signature(transport, fake_s3, caplog):
    caplog.set_level(logging.DEBUG)
    fake_s3.fail("PUT", *["unreachable"] * 7)
    with pytest.raises(TransportUnavailable) as lost:
        transport.put("object", [b"body"])
    fake_s3.fail("PUT", EXPIRED)
    with pytest.raises(AccessRefused) as refused:
        transport.put("object", [b"body"])
    with pytest.raises(ObjectMissing):
        transport.read("object")
    said = f"{lost.value} {refused.value} {caplog.text}"
    assert "HTTP Request: PUT" in said
    assert "X-Amz-Signature" not in said


def test_an_address_is_the_id_of_a_repository():
    settings = parse_address(f"backapp:{'0f' * 16}")
    assert (settings.repository_id, settings.text) == ("0f" * 16, f"backapp:{'0f' * 16}")
    for address in ("backapp:", "backapp:home", f"backapp:{'0F' * 16}", f"backapp://{'0f' * 16}"):
        with pytest.raises(InvalidAddress, match="32 hex"):
            parse_address(address)


def test_without_an_agent_nobody_signs(tmp_path):
    settings = KIND.parse(f"backapp:{'0f' * 16}")
    with pytest.raises(AccessRefused, match="agent"):
        open_presigned(settings, make_surroundings(tmp_path))


def test_exactly_what_was_signed_is_sent(transport, fake_s3, issuer):
    transport.put("object", [b"body"])
    ((wish,),) = calls(issuer, "writes")
    assert (wish.size_bytes, wish.sha256) == (4, hashlib.sha256(b"body").hexdigest())
    assert fake_s3.requests == [("PUT", KEY, 200)]
