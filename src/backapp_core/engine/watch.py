"""What every verb tells the witness.

A state folder that cannot be used is a warning and never stops a verb.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from backapp_core.engine.places import Places
from backapp_core.engine.witness import Vanished, Witness
from backapp_core.events import Level, LogLine
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings

_T = TypeVar("_T")
_SHOWN = 3


def compare(
    surroundings: Surroundings, repository: Repository, snapshots: Sequence[Snapshot]
) -> list[Vanished]:
    """Return the snapshots that vanished, and say so in one warning."""
    nothing: list[Vanished] = []
    vanished = _with_witness(
        surroundings, repository, lambda witness: witness.compare(snapshots), nothing
    )
    if vanished:
        surroundings.events(LogLine(Level.WARNING, _sentence(vanished)))
    return vanished


def saw(surroundings: Surroundings, repository: Repository, snapshot: Snapshot) -> None:
    """Remember ``snapshot``."""
    _with_witness(surroundings, repository, lambda witness: witness.saw(snapshot), None)


def removing(
    surroundings: Surroundings,
    repository: Repository,
    snapshot_ids: Sequence[str],
    remove: Callable[[], _T],
) -> _T:
    """Call ``remove``, which takes these snapshots away, and remember that it was us."""
    _with_witness(surroundings, repository, lambda witness: witness.will_remove(snapshot_ids), None)
    try:
        return remove()
    except Exception:
        _with_witness(
            surroundings, repository, lambda witness: witness.did_not_remove(snapshot_ids), None
        )
        raise


def meet(surroundings: Surroundings, address: str, repository: Repository) -> bool:
    """Say whether another repository was known at ``address``, in one warning as well."""
    repository_id = repository.info.id
    before = _with_places(surroundings, lambda places: places.meet(address, repository_id))
    if before:
        text = (
            f"another repository stands at {address} than before ({before[:8]} was known there, "
            f"{repository_id[:8]} is there now); if that was meant, "
            "run: backapp check --accept-missing"
        )
        surroundings.events(LogLine(Level.WARNING, text))
    return bool(before)


def know(surroundings: Surroundings, address: str, repository: Repository) -> None:
    """Remember that ``repository`` was put at ``address`` by us."""
    repository_id = repository.info.id
    _with_places(surroundings, lambda places: places.know(address, repository_id))


def accept(
    surroundings: Surroundings, repository: Repository, vanished: Sequence[Vanished]
) -> None:
    """Stop reporting ``vanished``, and know the repository where it stands."""
    ids = [one.id for one in vanished]
    _with_places(surroundings, lambda places: places.accept(repository.info.id))
    _with_witness(surroundings, repository, lambda witness: witness.will_remove(ids), None)


def describe(one: Vanished) -> str:
    """Return the facts of a vanished snapshot as people read them."""
    return f"{one.id[:8]} of {one.taken_at:%Y-%m-%d %H:%M} ({one.hostname})"


def _with_witness(
    surroundings: Surroundings,
    repository: Repository,
    question: Callable[[Witness], _T],
    otherwise: _T,
) -> _T:
    try:
        return question(Witness(surroundings.state_folder, repository.info.id))
    except (OSError, ValueError) as error:
        surroundings.events(
            LogLine(
                Level.WARNING,
                f"snapshots that vanish cannot be noticed, since the state folder "
                f"{surroundings.state_folder} cannot be used: {error}",
            )
        )
        return otherwise


def _with_places(surroundings: Surroundings, question: Callable[[Places], _T]) -> _T | None:
    try:
        return question(Places(surroundings.state_folder))
    except OSError as error:
        surroundings.events(
            LogLine(
                Level.WARNING,
                f"a repository that is put in the place of another cannot be noticed, since the "
                f"state folder {surroundings.state_folder} cannot be used: {error}",
            )
        )
        return None


def _sentence(vanished: Sequence[Vanished]) -> str:
    shown = ", ".join(describe(one) for one in vanished[:_SHOWN])
    more = f" and {len(vanished) - _SHOWN} more" if len(vanished) > _SHOWN else ""
    return (
        f"snapshots that were seen here before are gone, and not by this machine: {shown}{more}; "
        "if that was meant, run: backapp check --accept-missing"
    )
