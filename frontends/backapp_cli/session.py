"""What one invocation holds: choices, output, and an engine once somebody needs it."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from backapp_cli import assemble
from backapp_cli.assemble import Choices, Secret
from backapp_cli.show import Output
from backapp_cli.signals import Stopping
from backapp_core.ports.surroundings import CancelToken

if TYPE_CHECKING:
    # Loaded when a command needs an engine; help, version and completion do without.
    from backapp_cli.progress import Shown
    from backapp_core.engine import Engine
    from backapp_core.events import Event
    from backapp_core.model.requests import BackupRequest
    from backapp_core.ports.archivers import Repository
    from backapp_core.ports.surroundings import Keys
    from backapp_core.settings import RepositorySettings, Settings


class Session:
    """Made before anything is parsed; commands receive it and ask it for what they need."""

    def __init__(self, stopping: Stopping | None = None) -> None:
        self.choices = Choices()
        self.output = Output()
        self.verbosity = 0
        self.cancel = CancelToken()
        self.stopping = stopping or Stopping()
        self.estimate: Callable[[], int] | None = None
        """Finds out how many bytes the present verb will work through, if that takes a look."""
        self._shown: Shown | None = None
        self._closing = ExitStack()

    @cached_property
    def settings(self) -> "Settings":
        """What the settings file says, and the command line instead of it.

        Raises:
            InvalidSettings: If it cannot be used; every fault is listed.
        """
        return assemble.read_settings(self.choices)

    @cached_property
    def engine(self) -> "Engine":
        """The engine, opened on first use and closed by `close`.

        Raises:
            InvalidSettings: If the settings file cannot be used.
            PluginError: If a plugin breaks its contract.
        """
        return self._closing.enter_context(
            assemble.make_engine(self.settings, events=self.hear, cancel=self.cancel)
        )

    @property
    def address(self) -> str:
        """Address or name of the repository that is meant.

        Raises:
            InputError: If none is named anywhere.
        """
        return assemble.repository_name(self.choices, self.settings)

    @property
    def shown(self) -> "Shown":
        """What draws events; made when the first one arrives."""
        if self._shown is None:
            self._shown = self._show()
        return self._shown

    def hear(self, event: "Event") -> None:
        """Take an event of the engine."""
        self.shown(event)

    def keys(
        self,
        known: "RepositorySettings",
        *,
        choices: Choices | None = None,
        is_new: bool = False,
        may_ask: bool = True,
    ) -> "Keys":
        """Return what opens the repository that ``known`` describes, as the command line chose.

        Raises:
            InputError: If a key is named that cannot be used.
        """
        from backapp_cli.passwords import keys

        choices = choices or self.choices
        return keys(
            assemble.secret(
                choices, Secret(file=known.password_file, command=known.password_command)
            ),
            assemble.identity_files(choices, known.identity_files),
            asking=self.asking,
            is_new=is_new,
            may_ask=may_ask,
        )

    @contextmanager
    def repository(
        self, *, may_ask: bool = True, sources: "BackupRequest | None" = None
    ) -> Generator["Repository"]:
        """Open the repository that is meant; ask for a password if need be and allowed.

        ``sources`` are what will be backed up to it.

        Raises:
            BackappError: As `Engine.open_repository` does.
        """
        known = self.settings.repository_at(self.address)
        with self.engine.open_repository(
            known.url, keys=self.keys(known, may_ask=may_ask), sources=sources
        ) as repository:
            yield repository

    @contextmanager
    def source(self) -> Generator["Repository"]:
        """Open the repository that is copied from.

        Raises:
            InputError: If none is named anywhere.
            BackappError: As `Engine.open_repository` does.
        """
        choices = assemble.source_choices(self.choices)
        known = self.settings.repository_at(assemble.repository_name(choices, self.settings))
        keys = self.keys(known, choices=choices)
        with self.engine.open_repository(known.url, keys=keys) as repository:
            yield repository

    def new_password(self, file: str) -> str:
        """Return a password that is being chosen: what a file holds, or what is entered twice.

        Raises:
            InputError: If the file cannot be read, or two different ones are entered.
            WrongPassword: If none can be asked for.
        """
        from backapp_cli.passwords import keys

        chosen = keys(Secret(file=file), (), asking=self.asking, is_new=True)
        return chosen.password() if chosen.password else ""

    @contextmanager
    def stoppable(self) -> Generator[None]:
        """Within this, the first signal only asks the engine to stop; for verbs that write."""
        with self.stopping.cancelling(self.cancel, self._announce):
            try:
                yield
            finally:
                self.shown.pause()

    def close(self) -> None:
        """Let go of everything; closing twice is fine."""
        if self._shown is not None:
            self._shown.pause()
        self._closing.close()

    @contextmanager
    def asking(self) -> Generator[None]:
        """Within this, the terminal belongs to a question to a person."""
        self.shown.pause()
        with self.stopping.interrupting():
            yield

    def _announce(self, text: str) -> None:
        self.shown.announce(text)

    def _show(self) -> "Shown":
        from backapp_cli import progress

        if self.output.is_json:
            return progress.AsJson(self.output, self.verbosity)
        if assemble.has_terminal(self.choices) and not self.output.is_quiet:
            return progress.OnTerminal(self.output, self.verbosity, self.estimate)
        return progress.Lines(self.output, self.verbosity)
