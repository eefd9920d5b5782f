"""Opens the repositories that this machine fills for a server, with the passwords it keeps."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

from attrs import evolve

from backapp_core.codec import from_plain, to_plain
from backapp_core.engine import agent_creation, opening
from backapp_core.engine.addresses import parse_address
from backapp_core.engine.agent_passwords import FOLDER as PASSWORDS
from backapp_core.engine.agent_passwords import Passwords
from backapp_core.engine.opening import Opened
from backapp_core.errors import (
    InputError,
    InvalidAddress,
    InvalidSettings,
    RepositoryError,
    RepositoryExists,
    RepositoryNotFound,
    WrongPassword,
)
from backapp_core.manager import PluginManager
from backapp_core.model.managed_repositories import SCHEME, ManagedRepository
from backapp_core.model.names import to_line
from backapp_core.ports.grants import HasGrants
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.work import Work
from backapp_core.secret_files import write_private_file


@final
class AgentRepositories:
    """Opens repositories; what it knows of them stays in the state folder."""

    def __init__(self, plugins: PluginManager, work: Work, folder: Path) -> None:
        """Keep passwords and descriptions in ``folder``."""
        self._plugins = plugins
        self._work = work
        self.folder = folder
        self.passwords = Passwords(folder / PASSWORDS)
        self._kept = folder / "repositories"
        self._creating = threading.Lock()

    def open(self, surroundings: Surroundings, repository: ManagedRepository) -> Opened:
        """Open a repository that was created before.

        Raises:
            WrongPassword: If this machine has not the password.
            RepositoryNotFound: If another stands there, or none.
            BackappError: What `opening.open_repository` raises.
        """
        password = self.passwords.get(repository.id)
        return self._opened_as_known(
            surroundings, repository, lambda: self._needed(repository, password)
        )

    def adopt(self, surroundings: Surroundings, name: str, keys: Keys) -> ManagedRepository:
        """Keep the password of a repository that another machine made, and return it.

        It is kept if it opens the repository; where none is needed, none is asked for.

        Raises:
            RepositoryNotFound: If this machine has no repository of this id or name.
            InputError: If its password is here already, or the repository is not created yet.
            BackappError: What `open` raises, such as `WrongPassword`.
        """
        there = self._work.repositories()
        repository = next((one for one in there if name in {one.id, one.name}), None)
        if repository is None:
            raise RepositoryNotFound(none_called(name, there))
        if repository.initialised_at is None:
            raise InputError(
                f"repository '{repository.name}' was not created yet; its first backup does that"
            )
        path = self.passwords.path(repository.id)
        if path.exists():
            raise InputError(
                f"this machine has the password of '{repository.name}' already, in {path}"
            )
        typed: list[str] = []

        def asked() -> str:
            if keys.password is None:
                raise WrongPassword(f"repository '{name}' needs a password; see its recovery sheet")
            if not typed:
                typed.append(keys.password().strip())
            return typed[0]

        self._opened_as_known(surroundings, repository, asked).repository.close()
        if typed:
            write_private_file(path, f"{typed[0]}\n")
        self.keep(repository)
        return repository

    def _opened_as_known(
        self,
        surroundings: Surroundings,
        repository: ManagedRepository,
        password: Callable[[], str],
    ) -> Opened:
        """Open the very repository that the server knows.

        Raises:
            RepositoryNotFound: If another stands there, or none.
            BackappError: What `opening.open_repository` raises.
        """
        try:
            opened = self._opened(surroundings, repository, password)
        except RepositoryNotFound as error:
            if not repository.repository_id:
                raise
            # Not to be made anew: it may stand on a share that is not mounted.
            raise RepositoryNotFound(
                f"repository '{repository.name}' does not stand at {to_line(repository.address)} "
                "any more; see whether the disk, the share or the bucket that it is in is there"
            ) from error
        found = opened.repository.info.id
        if repository.repository_id and found != repository.repository_id:
            opened.repository.close()
            raise RepositoryNotFound(
                f"another repository stands where '{repository.name}' was: it is {found[:8]}, and "
                f"{repository.repository_id[:8]} is meant"
            )
        return opened

    def open_or_create(self, surroundings: Surroundings, repository: ManagedRepository) -> Opened:
        """Open a repository; create it, and tell the server so, if that was not done before.

        The password is on this machine's disk before anything is created.

        Raises:
            BackappError: What opening and creating raise.
        """
        if repository.initialised_at is None:
            # Two runs may be the first at once; the later one finds what the other created.
            with self._creating:
                repository = self._work.repository(repository.id)
                if repository.initialised_at is None:
                    return self._created(surroundings, repository)
        opened = self.open(surroundings, repository)
        self.keep(repository)
        agent_creation.forget(self._new_file(repository))
        return opened

    def keep(self, repository: ManagedRepository) -> None:
        """Remember what the server says of a repository, for when there is no server.

        Raises:
            InputError: If that cannot be written.
        """
        if self.kept(repository.id) != repository:
            self.passwords.path(repository.id)  # whether that is an id at all
            path = self._kept / f"{repository.id}.json"
            write_private_file(path, json.dumps(to_plain(repository)))

    def kept(self, name: str) -> ManagedRepository | None:
        """Return what is remembered of the repository of this id or name."""
        for path in sorted(self._kept.glob("*.json")):
            try:
                plain = json.loads(path.read_bytes())
                found = from_plain(plain, ManagedRepository, source=f"the record {path}")
            except (OSError, ValueError, InvalidSettings):
                continue  # it is a copy; the server has the original
            if name in {found.id, found.name}:
                return found
        return None

    def _created(self, surroundings: Surroundings, repository: ManagedRepository) -> Opened:
        opened = self._new(surroundings, repository)
        try:
            created = self._work.report_created(repository.id, opened.repository.info.id)
            self.keep(created)
            agent_creation.forget(self._new_file(repository))
        except BaseException:
            opened.repository.close()
            raise
        return opened

    def _new(self, surroundings: Surroundings, repository: ManagedRepository) -> Opened:
        password = self.passwords.get_or_make(repository.id, surroundings.random_bytes)
        try:
            agent_creation.store_new(
                *(self._plugins, self._around(surroundings), address_of(repository)),
                archiver=repository.archiver,
                keys=Keys(password=lambda: password),
                file=self._new_file(repository),
            )
        except RepositoryExists as error:
            return self._taken_over(surroundings, repository, error)
        return self.open(surroundings, repository)

    def _taken_over(
        self, surroundings: Surroundings, repository: ManagedRepository, refusal: RepositoryExists
    ) -> Opened:
        """Open what stands in the place of a new repository, if it is this machine's own.

        So it is where a server has forgotten what it was told, as after it was restored itself.

        Raises:
            RepositoryExists: If it is another's, or only a part of a repository.
        """
        known = self.passwords.get(repository.id)
        was_asked: list[bool] = []

        def password() -> str:
            was_asked.append(True)
            return self._needed(repository, known)

        another = RepositoryExists(
            f"{refusal.message}, and it is not what this machine made for '{repository.name}'; "
            "remove it if nobody needs it, or make the repository in another place"
        )
        try:
            opened = self._opened(surroundings, repository, password)
        except (RepositoryError, RepositoryNotFound) as error:
            raise another from error
        info, kept = opened.repository.info, self.kept(repository.id)
        is_known = kept is not None and kept.repository_id == info.id
        # Nobody else has the password; what opens without one may be anybody's.
        if info.archiver == repository.archiver and (was_asked or is_known):
            return opened
        opened.repository.close()
        raise another from refusal

    def _opened(
        self,
        surroundings: Surroundings,
        repository: ManagedRepository,
        password: Callable[[], str],
    ) -> Opened:
        around, address = self._around(surroundings), address_of(repository)
        return opening.open_repository(self._plugins, around, address, Keys(password=password))

    def _new_file(self, repository: ManagedRepository) -> Path:
        """Return the file that holds what is stored to make a repository, until it is made."""
        return self.folder / "new" / f"{repository.id}.json"

    def _around(self, surroundings: Surroundings) -> Surroundings:
        if surroundings.grants is not None or not isinstance(self._work, HasGrants):
            return surroundings
        return evolve(surroundings, grants=self._work.grants_for(None))  # to look, in no run

    def _needed(self, repository: ManagedRepository, password: str | None) -> str:
        if password is None:
            raise WrongPassword(
                f"this machine does not have the password of repository '{repository.name}'; "
                f"type it from the recovery sheet: backapp agent adopt {repository.name}"
            )
        return password


def address_of(repository: ManagedRepository) -> str:
    """Return the address by which this machine opens a repository.

    Raises:
        InvalidAddress: If it is said to be a folder of this machine and is none.
    """
    if not repository.is_local:
        return f"{SCHEME}:{repository.id}"
    address = parse_address(repository.address)
    if address.scheme or not Path(address.text).is_absolute():
        raise InvalidAddress(
            f"repository '{repository.name}' is to be a folder of this machine, and "
            f"{to_line(repository.address)} is no absolute path"
        )
    return address.text


def none_called(name: str, there: Sequence[ManagedRepository]) -> str:
    """Return the sentence that this machine fills no repository called so."""
    names = ", ".join(one.name for one in there) or "none"
    return f"this machine fills no repository called '{to_line(name)}'; it fills: {names}"
