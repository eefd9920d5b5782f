"""Open sockets: who hears of what, and what closes them."""

import asyncio
import json
import threading
from contextlib import ExitStack

import pytest
from attrs import evolve
from litestar.exceptions import WebSocketDisconnect

from backapp_core.engine.request import QuestionWish
from backapp_core.errors import InvalidSettings, StoreUnavailable
from backapp_core.events import LogLine, Recording
from backapp_core.model.users import Role
from backapp_core.model.work import QuestionKind
from backapp_core.wire import Wake
from backapp_web.hub import Hub, Subscriber

OWN = {"origin": "http://testserver.local"}
AGENT = "/api/v1/agent/socket"


def heard(socket) -> tuple[str, str]:
    message = json.loads(socket.receive_text(timeout=10))
    return message["topic"], message["subject_id"]


def heard_until(socket, last: tuple[str, str] | None) -> list[tuple[str, str]]:
    """Return what is heard until ``last``; what other tests did may still be on its way."""
    found: list[tuple[str, str]] = []
    while not found or found[-1] != last:
        found.append(heard(socket))
    return found


@pytest.fixture
def machine(ours):
    """A machine of this test's own, with a job."""
    from backapp_core.engine.configure import JobWish, RepositoryWish

    name = f"m{len(ours.store.agents.list())}"
    agent_id, key = ours.machine(name)
    wish = RepositoryWish(f"r-{name}", name, folder=f"/srv/{name}".encode())
    ours.server.add_repository(ours.tenant_id, wish)
    ours.server.add_job(ours.tenant_id, JobWish(f"j-{name}", f"r-{name}", (b"/home",)))
    return name, agent_id, ours.bearer(key)


def test_machine_hears_of_work_questions_and_the_wish_to_stop(client, ours, machine):
    name, _, headers = machine
    with client.websocket_connect(AGENT, headers=headers) as socket:
        run = ours.server.request_run(ours.tenant_id, f"j-{name}")
        heard_until(socket, ("work", run.id))
        wish = QuestionWish(f"r-{name}", QuestionKind.SNAPSHOTS, {})
        question = ours.server.ask(ours.tenant_id, wish)
        heard_until(socket, ("questions", question.id))
        known = ours.server.recognise(headers["authorization"].removeprefix("Bearer "))
        ours.server.work_of(known).claim("ab" * 16, lease_seconds=30)
        ours.server.cancel(ours.tenant_id, run.id)
        heard_until(socket, ("cancel", run.id))


def test_machine_hears_nothing_of_others(client, ours, theirs, machine):
    name, _, headers = machine
    with client.websocket_connect(AGENT, headers=headers) as socket:
        theirs.server.request_run(theirs.tenant_id, "documents")
        ours.server.request_run(ours.tenant_id, "documents")
        own = ours.server.request_run(ours.tenant_id, f"j-{name}")
        assert set(heard_until(socket, ("work", own.id))) == {("work", own.id)}


def test_page_hears_only_of_what_it_shows(client, ours, machine):
    name, _, headers = machine
    known = ours.server.recognise(headers["authorization"].removeprefix("Bearer "))
    person = ours.person(Role.VIEWER).headers | OWN
    with client.websocket_connect("/live?topics=runs", headers=person) as socket:
        ours.server.work_of(known).goodbye("ab" * 16)
        run = ours.server.request_run(ours.tenant_id, f"j-{name}")
        assert {topic for topic, _ in heard_until(socket, ("runs", run.id))} == {"runs"}
    with client.websocket_connect("/live?topics=agents", headers=person) as socket:
        ours.server.request_run(ours.tenant_id, "documents")
        ours.server.revoke(ours.tenant_id, name)
        topics = {topic for topic, _ in heard_until(socket, ("agents", known.agent.id))}
        assert topics == {"agents"}


def test_page_of_machines_is_told_once_of_many(ours, theirs):
    """As when all are back after the network was away."""
    ids = {ours.agent_id, *(ours.machine(f"back-{number}")[0] for number in range(3))}
    hub = Hub(ours.server)

    async def heard_of(agent_ids, **shown):
        subscriber = Subscriber(ours.tenant_id, asyncio.get_running_loop(), user_id="ann", **shown)
        with hub.subscribed(subscriber):
            for agent_id in agent_ids:
                hub._hear("agents", agent_id)
            hub._tell_all_heard()
        await asyncio.sleep(0)  # what was handed over to this loop is put
        return [subscriber.messages.get_nowait() for _ in range(subscriber.messages.qsize())]

    shown = {"topics": frozenset({"agents"})}
    assert asyncio.run(heard_of({*ids, theirs.agent_id}, **shown)) == [Wake("agents")]
    one = [ours.agent_id, theirs.agent_id]
    assert asyncio.run(heard_of(one)) == [Wake("agents", ours.agent_id)]
    assert asyncio.run(heard_of([theirs.agent_id])) == []
    assert asyncio.run(heard_of(ids, topics=frozenset({"runs"}))) == []


def test_page_hears_of_its_own_tenant_only(client, ours, theirs):
    headers = ours.person(Role.VIEWER).headers | OWN
    with client.websocket_connect("/live", headers=headers) as socket:
        foreign = theirs.server.request_run(theirs.tenant_id, "documents")
        run = ours.server.request_run(ours.tenant_id, "documents")
        ids = [subject_id for _, subject_id in heard_until(socket, ("runs", run.id))]
        assert foreign.id not in ids


def test_socket_of_a_machine_closes_when_its_key_is_taken_back(client, ours, machine):
    _, agent_id, headers = machine
    with client.websocket_connect(AGENT, headers=headers) as socket:
        ours.server.revoke(ours.tenant_id, agent_id)
        with pytest.raises(WebSocketDisconnect):
            heard_until(socket, None)


@pytest.mark.parametrize("how", ["signs out", "is switched off"])
def test_socket_of_a_page_closes_when_its_person(client, ours, how):
    person = ours.somebody("socket-" + how.replace(" ", "-"), Role.VIEWER)
    user_id = person.member.user.id
    with client.websocket_connect("/live", headers=person.headers | OWN) as socket:
        if how == "signs out":
            ours.server.sign_out(person.token, user_id)
        else:
            ours.server.change_user(ours.tenant_id, user_id, is_enabled=False)
        with pytest.raises(WebSocketDisconnect):
            heard_until(socket, None)


def told(subscriber: Subscriber) -> list[Wake | None]:
    return [subscriber.messages.get_nowait() for _ in range(subscriber.messages.qsize())]


def test_whoever_reads_slowly_hears_of_the_end_all_the_same():
    async def heard_by_a_slow_one(before: int) -> list[Wake | None]:
        subscriber = Subscriber(1, asyncio.get_running_loop())
        wakes = [Wake("runs", str(number)) for number in range(500)]
        for wake in (*wakes[:before], None, *wakes):
            subscriber.tell(wake)
        await asyncio.sleep(0)
        return told(subscriber)

    assert asyncio.run(heard_by_a_slow_one(0)) == [None]
    assert asyncio.run(heard_by_a_slow_one(100)) == [Wake("all"), None]


def test_sockets_whose_end_was_missed_while_the_database_was_away_are_closed(ours):
    ids = {name: ours.machine(name)[0] for name in ("missed", "kept")}
    people = {name: ours.somebody(name, Role.VIEWER) for name in ids}
    ours.server.revoke(ours.tenant_id, "missed")
    ours.server.sign_out(people["missed"].token, people["missed"].member.user.id)

    async def heard_of_all() -> dict[str, list[Wake | None]]:
        loop, hub = asyncio.get_running_loop(), Hub(ours.server)
        found = {}
        with ExitStack() as stack:
            for name, agent_id in ids.items():
                user_id, token = people[name].member.user.id, people[name].token
                found[f"machine {name}"] = Subscriber(ours.tenant_id, loop, agent_id=agent_id)
                found[f"page {name}"] = Subscriber(
                    ours.tenant_id, loop, user_id=user_id, token=token
                )
            for one in found.values():
                stack.enter_context(hub.subscribed(one))
            hub._hear("all", "")
            hub._tell_all_heard()
        await asyncio.sleep(0)
        return {name: told(one) for name, one in found.items()}

    heard_by = asyncio.run(heard_of_all())
    assert {name for name, wakes in heard_by.items() if None in wakes} == {
        "machine missed",
        "page missed",
    }
    assert heard_by["page kept"][0] == Wake("all")
    assert heard_by["machine kept"] == [Wake(topic) for topic in ("work", "cancel", "questions")]


class Failing:
    """A server of which something fails as long as it is to, and whatever else goes on."""

    def __init__(self, server, error=None):
        self.server, self.error = server, error
        self.failed = threading.Event()
        self.surroundings = evolve(server.surroundings, events=Recording())

    @property
    def said(self):
        return [event.text for event in self.surroundings.events.of(LogLine)]

    def __getattr__(self, name):
        return getattr(self.server, name)

    def fail(self):
        if self.error is not None:
            self.failed.set()
            raise self.error

    def tenant(self, tenant_id):
        self.fail()
        return self.server.tenant(tenant_id)

    def session(self, token):
        self.fail()
        return self.server.session(token)


def signed_out(ours, name):
    """Return what a page has of somebody who has just gone."""
    person = ours.somebody(name, Role.VIEWER)
    ours.server.sign_out(person.token, person.member.user.id)
    return {"user_id": person.member.user.id, "token": person.token}


AWAY = StoreUnavailable("the database is locked")


def test_what_changed_while_the_store_did_not_answer_is_told_once_it_does(ours):
    """As on SQLite, where nobody says afterwards that something may have been missed."""
    failing = Failing(ours.server, AWAY)
    hub, gone = Hub(failing), signed_out(ours, "gone")
    run = ours.server.request_run(ours.tenant_id, "documents")
    agent_id, _ = ours.machine("unheard")
    news = {("people", gone["user_id"]), ("runs", run.id), ("agents", agent_id)}

    async def heard_by_a_page() -> tuple[list[Wake | None], ...]:
        loop = asyncio.get_running_loop()
        page = Subscriber(ours.tenant_id, loop, user_id="ann", token="")
        out = Subscriber(ours.tenant_id, loop, topics=frozenset(), **gone)
        found = []
        with hub.subscribed(page), hub.subscribed(out):
            for one in news:
                hub._hear(*one)
            for error in (AWAY, AWAY, None):
                failing.error = error
                hub._tell_all_heard()
                await asyncio.sleep(0)
                found.append([told(page), told(out)])
        return found

    *before, (page, out) = asyncio.run(heard_by_a_page())
    assert before == [[[], []]] * 2
    assert {(wake.topic, wake.subject_id) for wake in page} == news - {("people", gone["user_id"])}
    assert out == [None]
    assert len(failing.said) == 1, "it is said once"


def test_store_that_answers_again_is_noticed_although_nothing_else_happens(ours):
    failing = Failing(ours.server, AWAY)
    gone = signed_out(ours, "gone-unheard")

    async def heard_by_a_page() -> Wake | None:
        out = Subscriber(ours.tenant_id, asyncio.get_running_loop(), **gone)
        hub = Hub(failing, again_seconds=0.01)
        with hub.listening(), hub.subscribed(out):
            hub._hear("people", gone["user_id"])
            await asyncio.to_thread(failing.failed.wait, 30)
            failing.error = None
            return await asyncio.wait_for(out.messages.get(), 30)

    assert asyncio.run(heard_by_a_page()) is None


def test_news_that_cannot_be_read_keep_no_other_from_being_told(ours):
    failing = Failing(ours.server)
    gone = signed_out(ours, "gone-with-others")

    def tenant(tenant_id):
        raise InvalidSettings("a run", [("state", "is none")])

    failing.tenant = tenant

    async def heard_by_a_page() -> list[Wake | None]:
        out = Subscriber(ours.tenant_id, asyncio.get_running_loop(), **gone)
        hub = Hub(failing)
        with hub.subscribed(out):
            hub._hear("runs", "ab" * 16)
            hub._hear("people", gone["user_id"])
            hub._tell_all_heard()
            await asyncio.sleep(0)
        return told(out)

    assert asyncio.run(heard_by_a_page()) == [Wake("all"), None]


def test_more_news_than_can_be_kept_are_told_as_such(ours):
    failing = Failing(ours.server, AWAY)

    async def heard_by_a_page() -> list[Wake | None]:
        page = Subscriber(ours.tenant_id, asyncio.get_running_loop(), user_id="ann", token="")
        hub = Hub(failing)
        with hub.subscribed(page):
            for number in range(20_000):
                hub._hear("runs", f"{number:032x}")
            hub._tell_all_heard()
            failing.error = None
            hub._tell_all_heard()
            await asyncio.sleep(0)
        return told(page)

    assert asyncio.run(heard_by_a_page()) == [Wake("all"), None]


def test_any_number_of_machines_is_looked_up_a_part_at_a_time(ours):
    asked: list[int] = []

    class Agents:
        def find(self, ids):
            asked.append(len(ids))
            return ours.store.agents.find(ids)

    class Store:
        agents = Agents()

    failing = Failing(ours.server)
    failing.tenant = lambda tenant_id: Store()
    ids = [f"{number:032x}" for number in range(1200)]

    async def heard_by_a_page() -> list[Wake | None]:
        page = Subscriber(ours.tenant_id, asyncio.get_running_loop(), user_id="ann")
        hub = Hub(failing)
        with hub.subscribed(page):
            for one in (ours.agent_id, *ids):
                hub._hear("agents", one)
            hub._tell_all_heard()
            await asyncio.sleep(0)
        return told(page)

    assert asyncio.run(heard_by_a_page()) == [Wake("agents", ours.agent_id)]
    assert sum(asked) == 1201
    assert max(asked) <= 500


def test_socket_that_listens_only_after_its_end_is_closed(ours):
    _, key = ours.machine("late")
    known = ours.server.recognise(key)
    person = ours.somebody("late", Role.VIEWER)
    user_id = person.member.user.id

    async def heard_when_looked_at(**who: str) -> list[Wake | None]:
        subscriber = Subscriber(ours.tenant_id, asyncio.get_running_loop(), **who)
        Hub(ours.server).look_again(subscriber)
        await asyncio.sleep(0)
        return told(subscriber)

    for who, end in (
        ({"agent_id": known.agent.id}, lambda: ours.server.revoke(ours.tenant_id, "late")),
        (
            {"user_id": user_id, "token": person.token},
            lambda: ours.server.sign_out(person.token, user_id),
        ),
    ):
        assert asyncio.run(heard_when_looked_at(**who)) == []
        end()
        assert asyncio.run(heard_when_looked_at(**who)) == [None]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.org",
        "null",
        "http://testserver.local.evil.org",
        "http://testserver",
        None,
    ],
)
def test_socket_is_opened_by_our_own_pages_only(client, ours, origin):
    headers = ours.person(Role.ADMIN).headers | ({"origin": origin} if origin else {})
    with (
        pytest.raises(WebSocketDisconnect) as refusal,
        client.websocket_connect("/live", headers=headers),
    ):
        raise AssertionError
    assert refusal.value.code == 4403


def test_key_in_the_address_opens_nothing(client, ours):
    address = f"{AGENT}?token={ours.agent_key}&authorization=Bearer%20{ours.agent_key}"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(address):
        raise AssertionError


def test_whoever_talks_into_a_socket_is_shown_out(client, agent):
    with client.websocket_connect(AGENT, headers=agent) as socket:
        socket.send_text("hello")
        with pytest.raises(WebSocketDisconnect) as end:
            heard(socket)
        assert end.value.code == 1008
