"""From announcements of the store to open sockets: who is to hear of what changed.

Announcements carry ids only, of any tenant; each is looked up once per tenant that listens, so that
nobody hears of another's. They are gathered for a moment, since a busy run announces itself often,
and after a server or a network was away all machines are back at once: of those a page is told
together, and only if it shows machines. What cannot be looked up while the store does not answer is
kept until it does: somebody may have signed out, and nothing says so a second time.
"""

import asyncio
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from attrs import define, field, frozen

from backapp_core.engine.server import Server
from backapp_core.errors import BackappError, MissingError, StoreError
from backapp_core.events import Level, LogLine
from backapp_core.model.agents import Agent
from backapp_core.model.runs import Run, RunState
from backapp_core.ports.tenants import TenantStore
from backapp_core.wire import Wake

GATHERING_SECONDS = 0.1
AGAIN_SECONDS = 2.0
"""So much later it is tried again to look up what changed."""
_MOST_WAITING = 100
_MOST_KEPT = 10_000
_MOST_AT_ONCE = 500
"""So many machines are looked up by one question."""
_AGENTS = "agents"
_ALL = "all"
_PEOPLE = "people"
_WAKING = ("work", "cancel", "questions")


@define(eq=False)
class Subscriber:
    """One open socket."""

    tenant_id: int
    loop: asyncio.AbstractEventLoop
    agent_id: str = ""
    """Of a machine; empty for a person's browser."""
    user_id: str = ""
    topics: frozenset[str] | None = None
    """What a page shows, None for everything; a machine hears what is its own."""
    token: str = field(default="", repr=False)
    messages: "asyncio.Queue[Wake | None]" = field(
        factory=lambda: asyncio.Queue[Wake | None](_MOST_WAITING)
    )
    """None: the socket is to be closed."""
    _is_over: bool = field(default=False, init=False)

    def shows(self, topic: str) -> bool:
        """Say whether it is a page that shows such things."""
        return bool(self.user_id) and (self.topics is None or topic in self.topics)

    def tell(self, wake: Wake | None) -> None:
        """Hand a message over, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._put, wake)
        except RuntimeError:
            return  # the server has stopped meanwhile

    def _put(self, wake: Wake | None) -> None:
        if self._is_over:
            return  # what is told later must not push the end out
        self._is_over = wake is None
        if self.messages.full():
            # Whoever reads so slowly looks at everything again.
            while not self.messages.empty():
                self.messages.get_nowait()
            self.messages.put_nowait(Wake(_ALL))
        self.messages.put_nowait(wake)


class Hub:
    """Hands announcements over to the sockets of this process."""

    def __init__(self, server: Server, *, again_seconds: float = AGAIN_SECONDS) -> None:
        self._server = server
        self._again_seconds = again_seconds
        self._pause_seconds = GATHERING_SECONDS
        self._failure = ""
        self._lock = threading.Condition()
        self._subscribers: set[Subscriber] = set()
        self._heard: dict[tuple[str, str], None] = {}
        self._is_stopped = False

    @contextmanager
    def listening(self) -> Generator[None]:
        """Listen to the store until left; open sockets are closed then."""
        thread = threading.Thread(target=self._hand_over, name="backapp-hub", daemon=True)
        with ExitStack() as stack:
            stack.enter_context(self._server.fleet.listen(self._hear))
            thread.start()
            try:
                yield
            finally:
                with self._lock:
                    self._is_stopped = True
                    self._lock.notify()
                thread.join()
                self.close_all()

    @contextmanager
    def subscribed(self, subscriber: Subscriber) -> Generator[Subscriber]:
        """Let a socket hear what concerns it, until left."""
        with self._lock:
            self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            with self._lock:
                self._subscribers.discard(subscriber)

    def look_again(self, subscriber: Subscriber) -> None:
        """Close a socket whose session or machine ended before it listened, and so unheard."""
        if subscriber.user_id:
            self._check_sessions([subscriber])
        else:
            store = self._server.tenant(subscriber.tenant_id)
            if store.agents.get(subscriber.agent_id).revoked_at is not None:
                subscriber.tell(None)

    def close_all(self) -> None:
        """Ask every socket to close."""
        for subscriber in self._present():
            subscriber.tell(None)

    def _hear(self, topic: str, subject_id: str) -> None:
        with self._lock:
            self._heard[topic, subject_id] = None
            self._lock.notify()

    def _present(self) -> list[Subscriber]:
        with self._lock:
            return list(self._subscribers)

    def _hand_over(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._heard or self._is_stopped)
                if self._is_stopped:
                    return
                # A moment more, for what follows at once; stopping ends it.
                self._lock.wait_for(lambda: self._is_stopped, self._pause_seconds)
            self._tell_all_heard()

    def _tell_all_heard(self) -> None:
        with self._lock:
            heard, self._heard = self._heard, {}
        agents = tuple(one for one in heard if one[0] == _AGENTS)
        parts = [agents] if agents else []
        parts += [(one,) for one in heard if one[0] != _AGENTS]
        self._pause_seconds = GATHERING_SECONDS
        failure = ""
        for number, part in enumerate(parts):
            try:
                self._tell_part(part)
            except StoreError as error:
                failure = error.message
                self._keep(one for left in parts[number:] for one in left)
                break
            except BackappError as error:
                # Something is wrong with this alone; pages find out what it is.
                failure = error.message
                self._tell_all(self._present())
        if failure and failure != self._failure:
            text = f"what changed could not be told to open pages: {failure}"
            self._server.surroundings.events(LogLine(Level.WARNING, text))
        self._failure = failure

    def _keep(self, news: Iterable[tuple[str, str]]) -> None:
        """Have what could not be looked up told later, before what is heard meanwhile."""
        self._pause_seconds = self._again_seconds
        with self._lock:
            self._heard = dict.fromkeys(news) | self._heard
            if len(self._heard) > _MOST_KEPT:
                self._heard = {(_ALL, ""): None}

    def _tell_part(self, part: tuple[tuple[str, str], ...]) -> None:
        topic, subject_id = part[0]
        if topic == _AGENTS:
            self._tell_of_agents([agent_id for _, agent_id in part])
        else:
            self._tell(topic, subject_id)

    def _tell(self, topic: str, subject_id: str) -> None:
        present = self._present()
        if topic == _ALL:
            self._tell_all(present)
            # The end of some of them may be what nobody heard of.
            self._check_sessions(one for one in present if one.user_id)
            self._tell_of_agents(list({one.agent_id for one in present if one.agent_id}))
        elif topic == _PEOPLE:
            self._check_sessions(one for one in present if one.user_id == subject_id)
        else:
            for tenant_id in {one.tenant_id for one in present}:
                own = [one for one in present if one.tenant_id == tenant_id]
                self._tell_tenant(self._server.tenant(tenant_id), own, topic, subject_id)

    def _tell_of_agents(self, ids: Sequence[str]) -> None:
        """Tell pages of all machines at once, and end what those hear whose key was taken back."""
        present = self._present()
        for tenant_id in {one.tenant_id for one in present}:
            own = [one for one in present if one.tenant_id == tenant_id]
            concerned = [one for one in own if one.agent_id in ids or one.shows(_AGENTS)]
            if not concerned:
                continue
            agents = self._server.tenant(tenant_id).agents
            found: dict[str, Agent] = {}
            for start in range(0, len(ids), _MOST_AT_ONCE):
                found |= agents.find(ids[start : start + _MOST_AT_ONCE])
            for one in concerned:
                if one.user_id and found:
                    one.tell(Wake(_AGENTS, next(iter(found)) if len(found) == 1 else ""))
                elif one.agent_id in found and found[one.agent_id].revoked_at is not None:
                    one.tell(None)

    def _tell_tenant(
        self, store: TenantStore, own: list[Subscriber], topic: str, subject_id: str
    ) -> None:
        """Look a subject up, and tell the tenant's sockets if it is the tenant's."""
        look_up = _LOOK_UPS.get(topic)
        try:
            found = look_up(store, subject_id) if look_up else None
        except MissingError:
            return
        if found is None:
            return
        for one in own:
            if one.user_id:
                if one.shows(topic):
                    one.tell(Wake(topic, subject_id))
            elif one.agent_id == found.agent_id and found.wake is not None:
                one.tell(found.wake)

    def _check_sessions(self, own: Iterable[Subscriber]) -> None:
        for one in own:
            if self._server.session(one.token) is None:
                one.tell(None)

    @staticmethod
    def _tell_all(present: list[Subscriber]) -> None:
        for one in present:
            for wake in [Wake(_ALL)] if one.user_id else [Wake(topic) for topic in _WAKING]:
                one.tell(wake)


@frozen
class _Found:
    """What a tenant has under an id."""

    agent_id: str
    wake: Wake | None = None
    """What the machine is told, None for what it knows by itself."""


def _question(store: TenantStore, question_id: str) -> _Found | None:
    question = store.questions.get(question_id)
    if question is None:
        return None
    wake = Wake("questions", question_id) if question.answer is None else None
    return _Found(question.agent_id, wake)


def _run(store: TenantStore, run_id: str) -> _Found:
    run = store.runs.get(run_id)
    return _Found(run.agent_id, _wake_for(run))


_LOOK_UPS: Mapping[str, Callable[[TenantStore, str], _Found | None]] = {
    "questions": _question,
    "runs": _run,
}


def _wake_for(run: Run) -> Wake | None:
    if run.state is RunState.REQUESTED:
        return Wake("work", run.id)
    if run.state is RunState.CANCELLED or (
        run.state is RunState.RUNNING and run.cancel_wished_at is not None
    ):
        return Wake("cancel", run.id)
    return None
