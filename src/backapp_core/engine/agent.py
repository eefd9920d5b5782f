"""The agent of this machine, as a door holds it: it joins, works, and tells how it stands."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import final

import filelock
from attrs import frozen

from backapp_core.engine.agent_identity import Enrolment, Identity, enrol, load
from backapp_core.engine.agent_identity import store_kind as _store_kind
from backapp_core.engine.agent_limits import AgentLimits
from backapp_core.engine.agent_loop import AgentLoop
from backapp_core.engine.agent_policy import FILE, Policy, policy_text, read_policy
from backapp_core.engine.agent_repositories import AgentRepositories
from backapp_core.engine.agent_sheet import Sheet, make_sheet
from backapp_core.errors import AgentRunning, BackappError, InputError
from backapp_core.manager import PluginManager
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.names import to_line
from backapp_core.ports.closing import Closing
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.work import Work
from backapp_core.secret_files import write_private_file

_STATE = "agent"
_LOCK = "lock"


@frozen
class AgentStatus:
    """How this machine stands to its server."""

    identity: Identity
    policy: Policy
    is_running: bool
    """Whether a process of this machine works for the server."""
    trouble: str
    """Why the server cannot be asked; empty if it can."""
    repositories: tuple[ManagedRepository, ...] = ()


@final
class Agent:
    """One machine's part; what a server says of it stands in ``folder``, for its owner alone.

    Passwords of repositories and notes on runs are kept in the state folder of the surroundings.
    """

    def __init__(self, plugins: PluginManager, surroundings: Surroundings, folder: Path) -> None:
        self._plugins = plugins
        self._surroundings = surroundings
        self.folder = folder
        self._state = surroundings.state_folder / _STATE

    @property
    def policy_file(self) -> Path:
        """The file that says what this machine lets a server have it do."""
        return self.folder / FILE

    def enrol(self, url: str, token: str, policy: Policy) -> Identity:
        """Join the server at ``url``; ``policy`` is written down unless there is one.

        The machine counts as enrolled only when that is on the disk.

        Raises:
            InputError: If ``policy`` asks for something and the file says something else.
            InvalidSettings: If the file cannot be used.
            BackappError: What `agent_identity.enrol` raises.
        """
        is_there = self.policy_file.exists()
        if is_there and policy not in {Policy(), read_policy(self.policy_file)}:
            raise InputError(
                f"{to_line(str(self.policy_file))} is there and says something else about what "
                "a server may do; change or remove it, or leave the options away"
            )

        def keep_policy() -> None:
            if not self.policy_file.exists():
                write_private_file(self.policy_file, policy_text(policy))

        return enrol(self._plugins, self._surroundings, self.folder, url, token, before=keep_policy)

    def run(self, limits: AgentLimits = AgentLimits()) -> None:  # noqa: B008  # a value without state
        """Work for the server until the surroundings' cancel token is set.

        Raises:
            AgentRunning: If another process works as this machine, here or elsewhere.
            AgentRevoked: If the server took the key back.
            InputError: If the machine is not enrolled, or its folders cannot be used.
            BackappError: What else `AgentLoop.run` raises.
        """
        with self._alone(), self._working(load(self.folder)) as work:
            AgentLoop(
                self._plugins,
                self._surroundings,
                work,
                policy_file=self.policy_file,
                folder=self._state,
                limits=limits,
            ).run()

    def status(self) -> AgentStatus:
        """Say how this machine stands; asks the server.

        Raises:
            InputError: If it is not enrolled, or its folder cannot be read.
            InvalidSettings: If the policy file cannot be used.
        """
        enrolment = load(self.folder)
        policy = read_policy(self.policy_file)
        trouble = ""
        repositories: tuple[ManagedRepository, ...] = ()
        try:
            with self._working(enrolment) as work:
                repositories = tuple(work.repositories())
        except BackappError as error:
            trouble = error.message
        return AgentStatus(enrolment.identity, policy, self._is_running(), trouble, repositories)

    def sheet(self, name: str) -> Sheet:
        """Return the recovery sheet of the repository of this id or name.

        Raises:
            InputError: If the machine is not enrolled, or the repository not created yet.
            BackappError: What `make_sheet` raises.
        """
        with self._working(load(self.folder)) as work:
            return make_sheet(work, AgentRepositories(self._plugins, work, self._state), name)

    def confirm(self, sheet: Sheet) -> ManagedRepository:
        """Tell the server that somebody keeps the sheet.

        Raises:
            InputError: If the machine is not enrolled.
            BackappError: If the server fails.
        """
        with self._working(load(self.folder)) as work:
            return work.confirm_sheet(sheet.repository.id)

    def adopt(self, name: str, keys: Keys) -> ManagedRepository:
        """Keep the password of a repository that the machine before this one made.

        Args:
            name: Id or name of a repository that the server has given to this machine.
            keys: With the password of the recovery sheet, which is asked for if one is needed.

        Raises:
            InputError: If the machine is not enrolled; besides what `AgentRepositories.adopt`
                raises.
        """
        with self._working(load(self.folder)) as work:
            repositories = AgentRepositories(self._plugins, work, self._state)
            return repositories.adopt(self._surroundings, name, keys)

    @contextmanager
    def _working(self, enrolment: Enrolment) -> Generator[Work]:
        url = enrolment.identity.url
        with ExitStack() as stack:
            kind = _store_kind(self._plugins, url)
            work = kind.open_work(url, enrolment.key, self._surroundings)
            if isinstance(work, Closing):
                stack.enter_context(work)
            yield work

    @contextmanager
    def _alone(self) -> Generator[None]:
        lock = self._lock()
        try:
            self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise AgentRunning(
                f"another process of this machine works as its agent (it holds {lock.lock_file}); "
                "stop that one first"
            ) from None
        except OSError as error:
            raise InputError(
                f"the state folder {self._state} cannot be used: {error.strerror or error}"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _is_running(self) -> bool:
        lock = self._lock()
        try:
            lock.acquire(blocking=False)
        except (filelock.Timeout, OSError):
            return self._state.exists()
        lock.release()
        return False

    def _lock(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self._state / _LOCK)
