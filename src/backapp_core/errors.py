"""Every error that BackApp raises on purpose, as one tree.

::

    BackappError
        InputError          InvalidPattern, InvalidSchedule, InvalidAddress, InvalidName,
                            InvalidJob, InvalidSettings (lists every fault with its path),
                            AmbiguousSnapshot
        MissingError        SourceNotFound, RepositoryNotFound, SnapshotNotFound, PathNotFound,
                            JobNotFound, RunNotFound, AgentNotFound, UserNotFound,
                            QuestionNotFound
        ConflictError       NameTaken, RepositoryExists, RepositoryLocked, JobRunning,
                            IllegalTransition, LeaseLost, AgentRunning, StillInUse
        AccessError         NotSignedIn, NotAllowed, TokenRefused, TooManyAttempts,
                            AgentRevoked, GrantRefused
        PluginError         UnknownPlugin, DuplicatePlugin, PluginMisbehaved, PartMissing
        TransportError      ObjectMissing, ObjectExists, AccessRefused, StorageFull,
                            TransportUnavailable, TransferCut
        RepositoryError     WrongPassword, DamagedRepository, UnknownFormat
        SourceError         EntryVanished, EntryUnreadable, EntryReplaced
        TargetError         EntryNotRestored
        StoreError          StoreUnavailable, StoreTooNew
        CommandFailed
        WorkerLost
        DeliveryError
        RunCancelled

Families end in ``Error``; leaves state the fact. A message is one sentence without a full stop that
names the thing and, where there is one, the way out. Errors of the *source* concern one entry and
become events; errors of the *destination* always end a run, and so does a command whose output is
the source: a part of it is worth nothing.
"""

from collections.abc import Sequence


class BackappError(Exception):
    """Root of every error that BackApp raises on purpose."""

    @property
    def message(self) -> str:
        """The sentence shown to people."""
        return str(self.args[0]) if self.args else type(self).__name__


class InputError(BackappError):
    """Something that a person or a program handed in cannot be used; nothing was changed."""


class InvalidPattern(InputError):
    """An include or exclude pattern cannot be parsed."""


class InvalidSchedule(InputError):
    """A schedule expression or its time zone cannot be parsed."""


class InvalidAddress(InputError):
    """A repository address (URL or path) cannot be understood."""


class InvalidName(InputError):
    """A name (object, job, tag) contains what such a name may not contain."""


class InvalidJob(InputError):
    """A job or a backup request does not make sense as a whole."""


class InvalidSettings(InputError):
    """Settings are wrong; every fault is listed with its path.

    Attributes:
        faults: Pairs of path (``repositories.home.url``) and what is wrong there.
    """

    def __init__(self, source: str, faults: Sequence[tuple[str, str]]) -> None:
        self.source = source
        self.faults = tuple(faults)
        listed = "; ".join(f"{path}: {reason}" if path else reason for path, reason in self.faults)
        super().__init__(f"{source} cannot be used: {listed}")


class AmbiguousSnapshot(InputError):
    """A snapshot prefix matches several snapshots."""


class MissingError(BackappError):
    """Something that was named does not exist."""


class SourceNotFound(MissingError):
    """None of the sources to back up exists."""


class RepositoryNotFound(MissingError):
    """Nothing that any archiver recognises stands at the address."""


class SnapshotNotFound(MissingError):
    """No snapshot answers to the given name, prefix or filter."""


class PathNotFound(MissingError):
    """A snapshot does not contain the path."""


class JobNotFound(MissingError):
    """No job has this name."""


class RunNotFound(MissingError):
    """No run has this id."""


class AgentNotFound(MissingError):
    """No machine has this id or name."""


class UserNotFound(MissingError):
    """Nobody has this id or address."""


class QuestionNotFound(MissingError):
    """No question to a machine has this id, or it has expired."""


class ConflictError(BackappError):
    """What was asked collides with the present state of things."""


class NameTaken(ConflictError):
    """The name is already in use."""


class RepositoryExists(ConflictError):
    """A repository already stands at the address."""


class RepositoryLocked(ConflictError):
    """Another process holds a lock that excludes this operation."""


class JobRunning(ConflictError):
    """Another process, or another thread, runs this job at present."""


class IllegalTransition(ConflictError):
    """A run cannot move from its present state to the one asked for."""


class LeaseLost(ConflictError):
    """A run was taken over by somebody else meanwhile, or has ended; what it did does not count."""


class AgentRunning(ConflictError):
    """Another process works with the key of this machine at present."""


class StillInUse(ConflictError):
    """Something cannot be removed, since something else needs it; the message names what."""


class AccessError(BackappError):
    """Somebody may not do what was asked for; nothing was changed."""


class NotSignedIn(AccessError):
    """Nobody is signed in, or e-mail address and password do not belong together."""


class NotAllowed(AccessError):
    """Whoever is signed in may not do this."""


class TokenRefused(AccessError):
    """A token, link or key is unknown, used or expired; the message says which."""


class TooManyAttempts(AccessError):
    """Too many wrong passwords in a short time.

    Attributes:
        wait_seconds: After how long it may be tried again.
    """

    def __init__(self, message: str, *, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


class AgentRevoked(AccessError):
    """The key of this machine was taken back, or never was one."""


class GrantRefused(AccessError):
    """An agent asked for something that it may not do to a bucket."""


class PluginError(BackappError):
    """A plugin is missing or breaks its contract."""


class UnknownPlugin(PluginError):
    """No plugin offers a kind of this name."""


class DuplicatePlugin(PluginError):
    """Two plugins offer a kind of the same role and name."""


class PluginMisbehaved(PluginError):
    """A plugin raised while loading, or a hook returned what it may not return."""


class PartMissing(PluginError):
    """An optional part of BackApp is not installed; the message names the extra to install."""


class TransportError(BackappError):
    """Objects could not be moved or looked at; the destination's fault.

    Attributes:
        is_retryable: Whether trying again, unchanged, may succeed. For programs that schedule work;
            the engine itself does not read it.
    """

    is_retryable: bool = False


class ObjectMissing(TransportError):
    """No object has this name."""


class ObjectExists(TransportError):
    """An object of this name exists and replacing it was not asked for."""


class AccessRefused(TransportError):
    """The destination refuses the operation (rights, credentials, read-only)."""


class StorageFull(TransportError):
    """The destination has no room left."""


class TransportUnavailable(TransportError):
    """The destination cannot be reached at present."""

    is_retryable = True


class TransferCut(TransportError):
    """A transfer ended early or delivered other bytes than were asked for."""

    is_retryable = True


class RepositoryError(BackappError):
    """A repository exists but cannot be used as it is."""


class WrongPassword(RepositoryError):
    """No given password or identity opens the repository."""


class DamagedRepository(RepositoryError):
    """Stored bytes are missing or differ from what was recorded when they were written."""


class UnknownFormat(RepositoryError):
    """The repository was written in a format or version that this program does not know."""


class SourceError(BackappError):
    """One entry of the source could not be read; the run goes on and counts it.

    The message is the reason alone: whoever asked knows which entry it was, and names it.
    """


class EntryVanished(SourceError):
    """The entry disappeared between being listed and being read."""


class EntryUnreadable(SourceError):
    """The entry may not or cannot be read."""


class EntryReplaced(SourceError):
    """Something of another type took the entry's place between being listed and being read."""


class TargetError(BackappError):
    """The place of a restore cannot be written as asked."""


class EntryNotRestored(TargetError):
    """One entry could not be restored; the restore goes on, lists it and fails at the end."""


class StoreError(BackappError):
    """The store that remembers jobs and runs cannot be used."""


class StoreUnavailable(StoreError):
    """The store cannot be opened or does not answer."""


class StoreTooNew(StoreError):
    """The store was written by a newer BackApp."""


class CommandFailed(BackappError):
    """A command whose output was to be backed up did not run to a good end; nothing was saved."""


class WorkerLost(BackappError):
    """A further process of the same run ended before it was done; nothing was published."""


class DeliveryError(BackappError):
    """A notification was not delivered.

    Attributes:
        is_retryable: Whether the same notification may be tried again later.
    """

    def __init__(self, message: str, *, is_retryable: bool = False) -> None:
        self.is_retryable = is_retryable
        super().__init__(message)


class RunCancelled(BackappError):
    """The run was asked to stop and did."""
