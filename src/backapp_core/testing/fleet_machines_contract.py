"""Machines, managed repositories, runs of machines, and news: a part of `fleet_contract`."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

import pytest
from attrs import evolve

from backapp_core.errors import (
    AgentNotFound,
    IllegalTransition,
    NameTaken,
    RepositoryNotFound,
    RunNotFound,
    TokenRefused,
)
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.runs import RestoreOrder, RunKind, RunState
from backapp_core.ports.fleet import Announced, Fleet, KnownAgent
from backapp_core.ports.stores import RunFilter
from backapp_core.ports.tenants import TenantStore
from backapp_core.testing.fleet_fixtures import (
    LONG,
    OURS,
    SHORT,
    claimed,
    hash_of,
    make_enrolment,
    make_machine,
    make_question,
    make_report,
    make_repository,
    outcome_of,
    pass_time,
    sees_all,
)
from backapp_core.testing.fleet_people_contract import WithFleet
from backapp_core.testing.store_fixtures import AT, HOSTILE, make_run

MACHINE = "a" * 32
NEWS_SECONDS = 30.0
News = SimpleQueue[tuple[str, str]]


class MachinesContract(WithFleet):
    """Who may work."""

    def test_token_lets_one_machine_in(self, fleet: Fleet, ours: TenantStore) -> None:
        """Also when several use it at once."""
        token = make_enrolment(fleet)
        ours.agents.allow(token, hash_of("token"))
        assert list(ours.agents.enrolments()) == [token]
        with ThreadPoolExecutor(4) as threads:
            calls = [
                threads.submit(outcome_of, fleet.enrol, hash_of("token"), n * 32, hash_of(n))
                for n in "1234"
            ]
        joined = [call.result() for call in calls if call.result() is not TokenRefused]
        [agent] = ours.agents.list()
        assert joined == [KnownAgent(agent, OURS)]
        assert agent.name == token.agent_name
        assert list(ours.agents.enrolments()) == []

    def test_answer_that_was_lost_can_be_asked_for_again(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """With the same token, id and key, and no other."""
        ours.agents.allow(make_enrolment(fleet), hash_of("token"))
        known = fleet.enrol(hash_of("token"), MACHINE, hash_of("key"))
        assert fleet.enrol(hash_of("token"), MACHINE, hash_of("key")) == known
        for agent_id, key in ((MACHINE, "other"), ("b" * 32, "key"), ("b" * 32, "other")):
            with pytest.raises(TokenRefused, match="used"):
                fleet.enrol(hash_of("token"), agent_id, hash_of(key))
        assert fleet.recognise(hash_of("key")) == known
        assert fleet.recognise(hash_of("other")) is None

    def test_refused_token_says_why(self, fleet: Fleet, ours: TenantStore) -> None:
        soon = fleet.now() + timedelta(seconds=SHORT)
        ours.agents.allow(make_enrolment(fleet, expires_at=soon), hash_of("expired"))
        pass_time(fleet, soon)
        for token in ("expired", "unknown"):
            with pytest.raises(TokenRefused, match=token):
                fleet.enrol(hash_of(token), MACHINE, hash_of("key"))
        assert list(ours.agents.list()) == []
        assert list(ours.agents.enrolments()) == []

    def test_name_is_one_machines_until_it_is_revoked(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        first = make_enrolment(fleet, 1, agent_name="web")
        ours.agents.allow(first, hash_of("first"))
        ours.agents.allow(make_enrolment(fleet, 2, agent_name="web"), hash_of("second"))
        old = fleet.enrol(hash_of("first"), MACHINE, hash_of("key"))
        with pytest.raises(NameTaken, match="web"):
            ours.agents.allow(make_enrolment(fleet, 3, agent_name="web"), hash_of("third"))
        with pytest.raises(NameTaken, match="web"):
            fleet.enrol(hash_of("second"), "b" * 32, hash_of("other"))
        ours.agents.revoke(MACHINE)
        new = fleet.enrol(hash_of("second"), "b" * 32, hash_of("other"))
        assert ours.agents.get("web") == new.agent
        assert ours.agents.get(MACHINE).name == old.agent.name == "web"
        assert {agent.id for agent in ours.agents.list()} == {MACHINE, "b" * 32}

    def test_id_and_key_are_one_machines(self, fleet: Fleet, ours: TenantStore) -> None:
        machine = make_machine(fleet)
        ours.agents.allow(make_enrolment(fleet, 2), hash_of("token"))
        for agent_id, key in ((machine.id, "new"), ("b" * 32, machine.key)):
            with pytest.raises(NameTaken):
                fleet.enrol(hash_of("token"), agent_id, hash_of(key))
        joined = fleet.enrol(hash_of("token"), "b" * 32, hash_of("new"))
        assert joined.agent.id == "b" * 32

    def test_revoked_machine_is_known_as_such(self, fleet: Fleet, ours: TenantStore) -> None:
        """For good: doing so again changes nothing."""
        machine = make_machine(fleet)
        revoked = ours.agents.revoke(machine.id)
        assert revoked.revoked_at is not None
        pass_time(fleet, revoked.revoked_at)
        assert ours.agents.revoke(machine.id) == revoked
        assert fleet.recognise(hash_of(machine.key)) == KnownAgent(revoked, OURS)

    def test_machines_are_listed_by_name(self, fleet: Fleet, ours: TenantStore) -> None:
        machines = [make_machine(fleet, number) for number in (3, 1, 2)]
        ours.agents.revoke(machines[0].id)
        names = [agent.name for agent in ours.agents.list()]
        assert names == ["machine-1", "machine-2", "machine-3"]

    def test_unknown_machines_are_not_found(self, fleet: Fleet, ours: TenantStore) -> None:
        make_machine(fleet)
        for word in [*HOSTILE, "MACHINE-1", "machine-", "m%"]:
            assert outcome_of(ours.agents.get, word) is AgentNotFound
            assert outcome_of(ours.agents.revoke, word) is AgentNotFound


class RepositoriesContract(WithFleet):
    """What a server manages."""

    def test_repository_comes_back_equal(self, fleet: Fleet, ours: TenantStore) -> None:
        """By id and by name; all are listed by name."""
        machine = make_machine(fleet)
        folder = make_repository(machine.id, 0, address="/srv/\udcff", is_local=True)
        ours.repositories.add(folder)
        assert ours.repositories.get(folder.id) == ours.repositories.get(folder.name) == folder
        assert list(ours.repositories.list()) == [folder, machine.repository]

    def test_name_and_place_are_taken_once(self, fleet: Fleet, ours: TenantStore) -> None:
        """The same folder on another machine is another place, the same bucket is not."""
        machine, other = make_machine(fleet, 1), make_machine(fleet, 2)
        there = make_repository(machine.id, 5, address="/srv", is_local=True)
        ours.repositories.add(there)
        ours.repositories.add(evolve(there, id="6" * 32, name="six", agent_id=other.id))
        taken: tuple[dict[str, Any], ...] = (
            {"name": there.name},
            {"address": "/srv", "is_local": True},
            {"address": machine.repository.address},
            {"id": there.id},
        )
        for fields in taken:
            with pytest.raises(NameTaken):
                ours.repositories.add(evolve(make_repository(machine.id, 7), **fields))
        assert len(ours.repositories.list()) == 4

    def test_repository_is_a_machines(self, fleet: Fleet, ours: TenantStore) -> None:
        """Which is there and not revoked."""
        machine = make_machine(fleet)
        for agent_id in [*HOSTILE, "b" * 32]:
            with pytest.raises(AgentNotFound):
                ours.repositories.add(make_repository(agent_id, 7))
        ours.agents.revoke(machine.id)
        with pytest.raises(AgentNotFound):
            ours.repositories.add(make_repository(machine.id, 7))

    def test_enforcement_is_remembered(self, fleet: Fleet, ours: TenantStore) -> None:
        repository = make_machine(fleet).repository
        enforces = Enforcement(
            create_only=True, signed_length=True, content_md5=True, sha256_checksum=False
        )
        ours.repositories.record_enforcement(repository.id, enforces)
        assert ours.repositories.get(repository.id) == evolve(repository, enforces=enforces)

    def test_init_grant_is_for_the_first_bytes(self, fleet: Fleet, ours: TenantStore) -> None:
        """Again for the same ones; of many that ask at once one is told so."""
        repository = make_machine(fleet).repository
        take = ours.repositories.take_init_grant
        hashes = [hash_of(str(number)) for number in range(4)]
        with ThreadPoolExecutor(4) as threads:
            told = list(threads.map(take, [repository.id] * 4, ["config"] * 4, hashes))
        assert told.count(True) == 1
        assert [take(repository.id, "config", one) for one in hashes] == told
        assert take(repository.id, "key", hashes[told.index(False)])

    def test_own_locks_are_known(self, fleet: Fleet, ours: TenantStore) -> None:
        one, other = make_machine(fleet, 1).repository, make_machine(fleet, 2).repository
        locks = [f"locks/{hash_of(str(number))}" for number in range(3)]
        ours.repositories.add_locks(one.id, locks[:1])
        ours.repositories.add_locks(one.id, locks[:2])
        owns = ours.repositories.owns_locks
        assert owns(one.id, locks[:2])
        assert owns(one.id, [])
        assert not owns(one.id, locks)
        assert not owns(other.id, locks[:1])
        assert not any(owns(word, locks[:1]) or owns(one.id, [word]) for word in HOSTILE)

    def test_unknown_repositories_are_not_found(self, fleet: Fleet, ours: TenantStore) -> None:
        make_machine(fleet)
        repositories = ours.repositories
        for word in [*HOSTILE, "f" * 32, "REPOSITORY-1", "repository-"]:
            for call in (repositories.get, repositories.receipts, repositories.snapshots):
                assert outcome_of(call, word) is RepositoryNotFound
            assert outcome_of(repositories.add_locks, word, []) is RepositoryNotFound
            take = repositories.take_init_grant
            assert outcome_of(take, word, "config", "a" * 64) is RepositoryNotFound


class FleetRunsContract(WithFleet):
    """Runs, as a server sees them."""

    def test_run_that_waits_is_given_to_whoever_asks_again(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """Also when several ask at once; no longer once it was claimed, or has ended."""
        machine = make_machine(fleet)
        machine.job()
        runs = [make_run(number, agent_id=machine.id) for number in range(6)]
        with ThreadPoolExecutor(4) as threads:
            first, *others = threads.map(ours.runs.request, runs[:4])
        assert others == [first] * 3
        assert list(ours.runs.list(RunFilter())) == [first]
        claim = claimed(machine.store.work(machine.id, sees_all))
        assert claim.run.id == first.id
        assert ours.runs.request(runs[4]) == runs[4]
        assert ours.runs.request(runs[5]) == runs[4]
        ours.runs.wish_cancel(runs[4].id)
        assert ours.runs.request(runs[5]) == runs[5]

    def test_run_that_does_something_else_is_no_answer(
        self, fleet: Fleet, ours: TenantStore
    ) -> None:
        """Another job, machine, kind or order; what a schedule asked for does the same."""
        due = make_run(1, agent_id="a" * 32, due_at=AT)
        ours.runs.add(due)
        assert ours.runs.request(make_run(2, agent_id="a" * 32)) == due
        order = RestoreOrder(make_machine(fleet).repository.id, "5a" * 32, b"/restore")
        restore = {"job_name": "", "kind": RunKind.RESTORE, "restore": order}
        elsewhere = restore | {"restore": evolve(order, target=b"/elsewhere")}
        wanted: tuple[dict[str, Any], ...] = (
            {"agent_id": "b" * 32},
            {"job_name": "mail"},
            restore,
            elsewhere,
        )
        for number, fields in enumerate(wanted, start=3):
            run = make_run(number, **{"agent_id": "a" * 32, **fields})
            again = evolve(run, id="f" * 31 + str(number))
            assert [ours.runs.request(one) for one in (run, again)] == [run, run]
        assert len(ours.runs.list(RunFilter())) == 1 + len(wanted)

    def test_run_of_an_id_is_given_until_it_has_ended(self, ours: TenantStore) -> None:
        """To who asks for the same; a new run under that id there is none."""
        running = make_run(state=RunState.RUNNING)
        ours.runs.add(running)
        assert ours.runs.request(make_run()) == running
        with pytest.raises(NameTaken):
            ours.runs.request(make_run(job_name="mail"))
        ours.runs.move(running.fail(at=AT, error="no"), from_state=RunState.RUNNING)
        with pytest.raises(NameTaken):
            ours.runs.request(make_run())

    def test_waiting_run_is_cancelled(self, fleet: Fleet, ours: TenantStore) -> None:
        ours.runs.add(make_run())
        cancelled = ours.runs.wish_cancel(make_run().id)
        assert cancelled.ended_at is not None
        assert cancelled == make_run().cancel(at=cancelled.ended_at)
        assert ours.runs.get(make_run().id) == cancelled
        assert cancelled.ended_at <= fleet.now()

    def test_running_run_is_asked_to_stop(self, fleet: Fleet, ours: TenantStore) -> None:
        """When it was asked first is what is remembered."""
        ours.runs.add(make_run(state=RunState.RUNNING))
        wished = ours.runs.wish_cancel(make_run().id)
        assert wished.state is RunState.RUNNING
        assert wished.cancel_wished_at is not None
        pass_time(fleet, wished.cancel_wished_at)
        assert ours.runs.wish_cancel(make_run().id) == wished == ours.runs.get(wished.id)

    def test_run_that_ended_cannot_be_cancelled(self, ours: TenantStore) -> None:
        ours.runs.add(make_run(state=RunState.FAILED))
        with pytest.raises(IllegalTransition):
            ours.runs.wish_cancel(make_run().id)
        for word in [*HOSTILE, "f" * 32, make_run().id[:31]]:
            assert outcome_of(ours.runs.wish_cancel, word) is RunNotFound
            assert outcome_of(ours.runs.progress, word) is RunNotFound
            assert outcome_of(ours.runs.events_after, word, 0) is RunNotFound

    def test_new_run_has_no_progress(self, ours: TenantStore) -> None:
        ours.runs.add(make_run())
        assert ours.runs.progress(make_run().id) is None
        assert list(ours.runs.events_after(make_run().id, 0)) == []

    def test_latest_run_of_every_job_is_found(self, fleet: Fleet) -> None:
        """Of two at the same moment that with the greater id; none of a job that was removed.

        A restore is no run of a job, also of the only one that fills its repository.
        """
        machine = make_machine(fleet)
        for name in ("home", "idle", "mail", "removed"):
            machine.job(name)
        asked = ((1, "home", 9), (2, "home", 5), (3, "mail", 1), (4, "mail", 1))
        for number, name, second in asked:
            machine.run(number, job_name=name, requested_at=AT + timedelta(seconds=second))
        machine.run(5, job_name="removed")
        machine.store.jobs.remove("removed")
        order = RestoreOrder(machine.repository.id, "5a" * 32, b"/restore")
        machine.run(60, job_name="", kind=RunKind.RESTORE, restore=order)
        found = machine.store.runs.latest_of_jobs([job.name for job in machine.store.jobs.list()])
        assert {name: int(run.id, 16) for name, run in found.items()} == {"home": 1, "mail": 4}

    def test_what_a_claim_changed_is_what_filters_see(self, fleet: Fleet) -> None:
        machine = make_machine(fleet)
        machine.job()
        machine.run()
        claim = claimed(machine.store.work(machine.id, sees_all))
        runs = machine.store.runs
        assert list(runs.list(RunFilter(state=RunState.RUNNING))) == [claim.run]
        assert list(runs.list(RunFilter(state=RunState.REQUESTED))) == []
        ended = claim.run.fail(at=AT, error="no")
        runs.move(ended, from_state=RunState.RUNNING)
        assert list(runs.list(RunFilter(state=RunState.FAILED))) == [ended]


class AnnouncementsContract(WithFleet):
    """What servers tell one another."""

    def test_whoever_listens_hears(self, fleet: Fleet) -> None:
        """All of them, also when one fails, whatever the words are made of."""
        heard: list[News] = [SimpleQueue(), SimpleQueue()]

        def fail(topic: str, subject_id: str) -> None:
            heard[1].put((topic, subject_id))
            raise RuntimeError("I am deaf")

        with fleet.listen(into(heard[0])), fleet.listen(fail):
            fleet.announce("runs", "'\0\ud800é")
            fleet.announce("agents", "2")
            for queue in heard:
                assert queue.get(timeout=NEWS_SECONDS) == ("runs", "'\0\ud800é")
                assert queue.get(timeout=NEWS_SECONDS) == ("agents", "2")

    def test_news_that_are_too_long_stop_nothing(self, fleet: Fleet) -> None:
        heard: News = SimpleQueue()
        with fleet.listen(into(heard)):
            fleet.announce("runs", "x" * 100_000)
            fleet.announce("runs", "1")
            first = heard.get(timeout=NEWS_SECONDS)
            assert first in {("runs", "x" * 100_000), ("all", "")}
            assert heard.get(timeout=NEWS_SECONDS) == ("runs", "1")

    def test_changes_announce_themselves(self, fleet: Fleet) -> None:
        """And what was refused does not."""
        heard: News = SimpleQueue()
        with fleet.listen(into(heard)):
            machine = make_machine(fleet)
            machine.job()
            run = machine.run()
            with pytest.raises(NameTaken):
                machine.run()
            work = machine.store.work(machine.id, sees_all)
            work.hello(make_report(), alive_seconds=LONG)
            claim = claimed(work)
            work.report(run.id, claim.fence, [])
            machine.store.runs.wish_cancel(run.id)
            work.finish(claim.fence, claim.run.cancel(at=AT))
            question = make_question(fleet, machine)
            machine.store.questions.ask(question)
            fleet.announce("end", "")
            found: list[tuple[str, str]] = []
            while (one := heard.get(timeout=NEWS_SECONDS)) != ("end", ""):
                found.append(one)
        assert found == [
            ("agents", machine.id),
            ("runs", run.id),
            ("agents", machine.id),
            *[("runs", run.id)] * 4,
            ("questions", question.id),
        ]


def into(heard: News) -> Announced:
    """Return a listener that puts what it hears into a queue."""

    def put(topic: str, subject_id: str) -> None:
        heard.put((topic, subject_id))

    return put
