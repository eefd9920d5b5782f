"""The object that the web door holds: what a server remembers, and one method per verb."""

import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import final

from typing_extensions import override

from backapp_core.engine import (
    chain,
    configure,
    enrol,
    invite,
    overview,
    request,
    schedule,
    sign_in,
    wish_faults,
)
from backapp_core.engine.bucket_faults import check_buckets
from backapp_core.engine.bucket_witness import BucketWitness
from backapp_core.engine.buckets import Buckets
from backapp_core.engine.configure import JobWish, RepositoryWish
from backapp_core.engine.grant import Desk
from backapp_core.engine.request import QuestionWish, RestoreWish
from backapp_core.engine.run import store_url
from backapp_core.engine.sign_in import SignedIn
from backapp_core.engine.tokens import hash_of, is_well_formed, new_id, new_token
from backapp_core.engine.wish_faults import Fault
from backapp_core.errors import InputError, QuestionNotFound
from backapp_core.manager import PluginManager
from backapp_core.model.agents import Agent, EnrolmentToken
from backapp_core.model.jobs import Job
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.runs import Run
from backapp_core.model.schedules import Schedule
from backapp_core.model.tenants import Tenant
from backapp_core.model.users import ApiToken, Invitation, Member, Role, Session, User
from backapp_core.model.work import Hold, Question
from backapp_core.ports.closing import Closing
from backapp_core.ports.fleet import Fleet, KnownAgent
from backapp_core.ports.grants import CanIssueGrants
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.tenants import TenantStore
from backapp_core.ports.work import Work
from backapp_core.settings import ServerSettings, Settings
from backapp_core.wire import API_TOKEN_PREFIX, EnrolBody


@final
class Server(Closing):
    """Every verb of a server, on a store that is opened when it is first needed; from any thread.

    Made by `backapp_core.assembly.assemble_server`. What a verb raises stands in the module of that
    verb; everything is a `BackappError`.
    """

    def __init__(
        self, settings: Settings, surroundings: Surroundings, plugins: PluginManager
    ) -> None:
        self.all_settings = settings
        self.surroundings = surroundings
        self.plugins = plugins
        self._fleet: Fleet | None = None
        self._lock = threading.Lock()
        self._buckets = Buckets(plugins, surroundings, [*settings.server.buckets.values()])

    # --- what it stands on

    @property
    def settings(self) -> ServerSettings:
        """What the settings say of servers."""
        return self.all_settings.server

    @property
    def fleet(self) -> Fleet:
        """What it remembers; opened, and created if need be, on first use."""
        with self._lock:
            if self._fleet is None:
                url = store_url(self.surroundings, self.all_settings)
                kind = self.plugins.store_for(url.partition(":")[0].partition("+")[0])
                self._fleet = kind.open_fleet(url, self.surroundings)
            return self._fleet

    @override
    def close(self) -> None:
        """Close the store if it was opened; closing twice is fine."""
        with self._lock:
            fleet, self._fleet = self._fleet, None
        self._buckets.close()
        if fleet is not None:
            fleet.close()

    def check_buckets(self) -> None:
        """Refuse settings that name a bucket in which no repository could ever stand."""
        check_buckets(self.plugins, self.surroundings, self.settings.buckets)

    def hold_alone(self) -> AbstractContextManager[None]:
        """Be the only server on the store, where its kind allows no more than one."""
        return self.fleet.hold_alone()

    def tenant(self, tenant_id: int) -> TenantStore:
        """Return what one tenant owns."""
        return self.fleet.tenant(tenant_id)

    # --- people

    def first_link(self) -> str:
        """Return the token for the first administrator; empty if there are accounts."""
        return invite.first_link(self.fleet, self.surroundings)

    def sign_in(
        self, email: str, password: str, *, client: str, former_token: str = ""
    ) -> SignedIn:
        """Check a password and open a new session; see `engine.sign_in`."""
        return sign_in.sign_in(
            self.fleet,
            self.surroundings,
            self.settings,
            email,
            password,
            client=client,
            former_token=former_token,
        )

    def sign_out(self, token: str, user_id: str) -> None:
        """End a session."""
        sign_in.sign_out(self.fleet, token, user_id)

    def session(self, token: str) -> tuple[Session, User] | None:
        """Return whose session a browser shows, None if it is over."""
        return self.fleet.session(hash_of(token), idle_seconds=self.settings.idle_seconds)

    def api_token(self, token: str) -> Member | None:
        """Return for whom a program acts that shows ``token``, None if it is not good."""
        if not is_well_formed(token, API_TOKEN_PREFIX):
            return None
        found = self.fleet.api_token(hash_of(token))
        return found[1] if found else None

    def change_password(
        self, member: Member, former: str, chosen: str, *, keep_token: str, client: str
    ) -> None:
        """Change somebody's own password; other sessions end."""
        sign_in.change_password(
            self.fleet, member, former, chosen, keep_token=keep_token, client=client
        )

    def invite(self, inviter: Member, role: Role, email: str = "") -> tuple[str, Invitation]:
        """Let one person make an account; return the token, shown once, and what is kept."""
        return invite.invite(self.fleet, self.surroundings, inviter, role, email)

    def invitation(self, token: str) -> Invitation:
        """Return the invitation behind a link if it can still be used."""
        return invite.invitation_of(self.fleet, token)

    def join(self, token: str, *, email: str, name: str, password: str) -> SignedIn:
        """Make an account for whoever holds an invitation, and let them in."""
        member = invite.join(
            self.fleet, self.surroundings, token, email=email, name=name, password=password
        )
        return sign_in.open_session(self.fleet, self.surroundings, self.settings, member)

    def check_registration(self) -> None:
        """Refuse whoever has no invitation, where one is needed."""
        invite.check_registration(self.fleet, self.settings)

    def register(self, *, email: str, name: str, password: str) -> SignedIn:
        """Make an account where anybody may, and let them in."""
        member = invite.register(
            self.fleet, self.surroundings, self.settings, email=email, name=name, password=password
        )
        return sign_in.open_session(self.fleet, self.surroundings, self.settings, member)

    def change_user(
        self,
        tenant_id: int,
        user_id: str,
        *,
        name: str | None = None,
        role: Role | None = None,
        is_enabled: bool | None = None,
    ) -> User:
        """Change what is known of a user; None leaves it as it is."""
        return invite.change_user(
            self.fleet, tenant_id, user_id, name=name, role=role, is_enabled=is_enabled
        )

    def add_api_token(
        self, member: Member, name: str, expires_at: datetime | None
    ) -> tuple[str, ApiToken]:
        """Let a program act for somebody; return the token, shown once, and what is kept.

        Raises:
            InvalidName: If ``name`` cannot be one.
            InputError: If it would be of no use to anybody.
        """
        now = self.fleet.now()
        if expires_at is not None and expires_at <= now:
            raise InputError("the token would have expired before it was made; name a later moment")
        token = new_token(self.surroundings, API_TOKEN_PREFIX)
        kept = ApiToken(
            id=new_id(self.surroundings),
            user_id=member.user.id,
            name=invite.check_person_name(name),
            created_at=now,
            expires_at=expires_at,
        )
        self.tenant(member.tenant_id).users.add_api_token(kept, hash_of(token))
        return token, kept

    # --- machines

    def allow_agent(self, member: Member, agent_name: str) -> tuple[str, EnrolmentToken]:
        """Let one machine join; return the token, shown once, and what is kept."""
        return enrol.allow(self.fleet, self.surroundings, member, agent_name)

    def enrol(self, body: EnrolBody) -> tuple[KnownAgent, Tenant]:
        """Let a machine join that shows a token; return it and its tenant."""
        known = enrol.enrol(self.fleet, body)
        return known, self.tenant(known.tenant_id).tenant

    def recognise(self, key: str) -> KnownAgent:
        """Return the machine whose key is shown."""
        return enrol.recognise(self.fleet, key)

    def revoke(self, tenant_id: int, name: str) -> Agent:
        """Take a machine's key back for good."""
        return enrol.revoke(self.fleet, tenant_id, name)

    def remove_agent(self, tenant_id: int, name: str) -> Agent:
        """Take a machine whose key was taken back off the lists."""
        return enrol.remove(self.fleet, tenant_id, name)

    def is_online(self, agent: Agent, *, at: datetime | None = None) -> bool:
        """Say whether a machine was in touch lately.

        Args:
            agent: The machine.
            at: Now, by the store's clock, for who looks at many; None asks the store.
        """
        within = timedelta(seconds=self.settings.alive_seconds)
        return agent.is_online(at=at or self.fleet.now(), within=within)

    def work_of(self, known: KnownAgent) -> Work:
        """Return what a machine may ask for."""
        store = self.tenant(known.tenant_id)
        witness = BucketWitness(store, self._buckets, self.plugins.archivers)
        return store.work(known.agent.id, witness)

    def lease_seconds(self, wished: float) -> float:
        """Return how long a run is left to a machine that wishes for so long."""
        return enrol.at_most(wished, self.settings.lease_seconds, "lease_seconds")

    def alive_seconds(self, wished: float) -> float:
        """Return how long a process counts as alive that wishes for so long."""
        return enrol.at_most(wished, self.settings.alive_seconds, "alive_seconds")

    def grants_of(self, known: KnownAgent, hold: Hold | None) -> CanIssueGrants:
        """Return what signs for a machine, under the run that it names or outside of any."""
        store = self.tenant(known.tenant_id)
        return Desk(store, known.agent.id, self._buckets, self.plugins.archivers, hold=hold)

    # --- everything at once

    def overview(self, tenant_id: int) -> overview.Overview:
        """Return what is wrong and what happens now."""
        return overview.overview(
            self.tenant(tenant_id), at=self.fleet.now(), alive_seconds=self.settings.alive_seconds
        )

    def check_chain(self, tenant_id: int, repository: str) -> chain.Chain:
        """Look whether a repository's receipts are a chain; takes some seconds for 100,000."""
        return chain.check_chain(self.fleet, self.tenant(tenant_id), repository)

    # --- what is backed up

    def repository_faults(self, tenant_id: int, wish: RepositoryWish) -> list[Fault]:
        """Return everything that is wrong with a repository that somebody wants."""
        store = self.tenant(tenant_id)
        return wish_faults.repository_faults(self.settings, self.plugins, store, wish)

    def job_faults(self, tenant_id: int, wish: JobWish, *, is_new: bool) -> list[Fault]:
        """Return everything that is wrong with a job that somebody wants."""
        return wish_faults.job_faults(
            self.fleet,
            self.surroundings,
            self.plugins,
            self.tenant(tenant_id),
            wish=wish,
            is_new=is_new,
        )

    def add_repository(self, tenant_id: int, wish: RepositoryWish) -> ManagedRepository:
        """Make room for a repository."""
        return configure.add_repository(
            self.fleet,
            self.surroundings,
            self.plugins,
            self.settings,
            self.tenant(tenant_id),
            wish=wish,
            buckets=self._buckets,
        )

    def remove_repository(self, tenant_id: int, name: str) -> ManagedRepository:
        """Take a repository off the lists; nothing that it holds is deleted."""
        return configure.remove_repository(self.tenant(tenant_id), name)

    def hand_over(self, tenant_id: int, repository: str, agent: str) -> ManagedRepository:
        """Let another machine use a repository whose own machine is lost."""
        return configure.hand_over(self.tenant(tenant_id), repository, agent)

    def add_job(self, tenant_id: int, wish: JobWish) -> Job:
        """Remember a new job."""
        return configure.add_job(
            self.fleet, self.surroundings, self.plugins, self.tenant(tenant_id), wish=wish
        )

    def replace_job(self, tenant_id: int, wish: JobWish) -> Job:
        """Put a job in the place of the one of the same name."""
        return configure.replace_job(
            self.fleet, self.surroundings, self.plugins, self.tenant(tenant_id), wish=wish
        )

    def next_due(
        self, job: Job, *, count: int = 5, after: datetime | None = None
    ) -> list[datetime]:
        """Return when a job is due next after a moment; None: after now, by the store's clock."""
        return configure.next_due(self.plugins, job, after=after or self.fleet.now(), count=count)

    def preview(self, wished: Schedule, *, count: int = 5) -> list[datetime]:
        """Return the next due moments of a schedule that is being made."""
        return schedule.next_moments(self.plugins, wished, after=self.fleet.now(), count=count)

    def described(self, wished: Schedule) -> str:
        """Return a schedule in words."""
        return schedule.scheduler_of(self.plugins, wished).description

    def timetable(self) -> schedule.Timetable:
        """Return what requests runs that are due; for one thread."""
        return schedule.Timetable(self.fleet, self.surroundings, self.plugins)

    # --- runs

    def request_run(self, tenant_id: int, job_name: str, *, once: str = "") -> Run:
        """Ask for a run now; the one that waits already is enough. See `request.request_run`."""
        store = self.tenant(tenant_id)
        return request.request_run(self.fleet, self.surroundings, store, job_name, once=once)

    def request_restore(self, tenant_id: int, wish: RestoreWish) -> Run:
        """Ask for a restore; the same one that waits already is enough."""
        return request.request_restore(self.fleet, self.surroundings, self.tenant(tenant_id), wish)

    def cancel(self, tenant_id: int, run_id: str) -> Run:
        """Cancel a run that waits, or ask the machine to stop a running one."""
        return request.cancel(self.fleet, self.tenant(tenant_id), run_id)

    def ask(self, tenant_id: int, wish: QuestionWish) -> Question:
        """Ask the machine that holds a repository's key."""
        return request.ask(self.fleet, self.surroundings, self.tenant(tenant_id), wish)

    def question(self, tenant_id: int, question_id: str) -> Question:
        """Return a question, with its answer once there is one.

        Raises:
            QuestionNotFound: If there is none of this id, or it has expired.
        """
        question = self.tenant(tenant_id).questions.get(question_id)
        if question is None:
            raise QuestionNotFound("there is no such question, or nobody answered it in time")
        return question
