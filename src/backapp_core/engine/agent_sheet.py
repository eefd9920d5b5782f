"""The recovery sheet: what somebody needs who has lost the machine and the server."""

import shlex
from datetime import datetime

from attrs import field, frozen

from backapp_core.engine.agent_repositories import AgentRepositories, none_called
from backapp_core.errors import InputError, RepositoryNotFound, StoreUnavailable
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.names import to_line
from backapp_core.ports.work import Work

RESTIC = "restic"


@frozen
class Sheet:
    """Everything that opens one repository; to be printed and kept in a safe place."""

    repository: ManagedRepository
    password: str = field(repr=False)
    """Empty where the repository needs none."""

    def is_confirmed_by(self, words: str) -> bool:
        """Say whether ``words`` is the last group of the password, as somebody reads it."""
        return bool(self.password) and words.strip().lower() == self.password.split("-")[-1]

    def lines(self, *, machine: str, at: datetime) -> list[str]:
        """Return the sheet as lines of text.

        Args:
            machine: What the machine is called.
            at: When the sheet is made.
        """
        repository = self.repository
        address = to_line(repository.address)
        return [
            "BackApp recovery sheet",
            "",
            f"Repository   {repository.name}",
            f"Address      {address}",
            f"Id           {repository.repository_id or 'not created yet'}",
            f"Format       {repository.archiver}",
            f"Machine      {machine}",
            f"Printed      {at:%Y-%m-%d %H:%M} UTC",
            *([f"Password     {self.password}"] if self.password else []),
            "",
            "Whoever has this sheet can read every backup in this repository. Keep it away from",
            "the machine, and where you find it when the machine is lost.",
            "",
            *self._credentials(),
            "With BackApp, on any machine:",
            f"    backapp snapshots -r {shlex.quote(address)}",
            f"    backapp restore latest --target FOLDER -r {shlex.quote(address)}",
            *(self._with_restic(address) if repository.archiver == RESTIC else ()),
        ]

    def _credentials(self) -> list[str]:
        if self.repository.is_local:
            return [
                "The repository is a folder of that machine: without a copy of the folder this",
                "sheet opens nothing.",
                "",
            ]
        return [
            "The bucket's own credentials are needed as well; they are not on this sheet and not",
            "on that machine:",
            "    export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...",
            "",
        ]

    def _with_restic(self, address: str) -> list[str]:
        return [
            "",
            "With stock restic (0.14 or later), without BackApp:",
            f"    restic -r {_for_restic(address)} snapshots",
            f"    restic -r {_for_restic(address)} restore latest --target FOLDER",
            "",
            "Both ask for the password; it is typed with its dashes.",
        ]


def make_sheet(work: Work, repositories: AgentRepositories, name: str) -> Sheet:
    """Return the sheet of the repository of this id or name.

    Where there is no server, or no repository of that name on it any more, from what is kept here.

    Raises:
        RepositoryNotFound: If this machine has none of that name; lists those that it has.
        InputError: If it has no password yet, since nothing was backed up, or it cannot be read.
        StoreUnavailable: If the server does not answer and nothing is kept here.
    """
    repository = _described(work, repositories, name)
    password = repositories.passwords.get(repository.id)
    if password is None:
        raise InputError(
            f"repository '{repository.name}' was not created yet, so there is nothing to recover; "
            "run its first backup, then ask for the sheet"
        )
    return Sheet(repository, password)


def _described(work: Work, repositories: AgentRepositories, name: str) -> ManagedRepository:
    try:
        there = work.repositories()
    except StoreUnavailable:
        kept = repositories.kept(name)
        if kept is None:
            raise
        return kept
    found = next((one for one in there if name in {one.id, one.name}), None)
    if found is None:
        # It was removed from the server; what it holds is there all the same.
        found = repositories.kept(name)
    if found is None:
        raise RepositoryNotFound(none_called(name, there))
    return found


def _for_restic(address: str) -> str:
    """Return an address as restic writes it, for a shell."""
    if address.startswith("s3://"):
        # AWS is understood by us where no server is named, and named by restic.
        address = f"s3:s3.amazonaws.com/{address.removeprefix('s3://')}"
    return shlex.quote(address)
