"""Changes the tags of snapshots that exist."""

from collections.abc import Sequence

from attrs import frozen

from backapp_core.engine import watch
from backapp_core.errors import InputError, InvalidName
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings


@frozen
class Retagged:
    """A snapshot before and after; its id may have changed."""

    before: Snapshot
    after: Snapshot


def tag(
    surroundings: Surroundings,
    repository: Repository,
    snapshots: Sequence[Snapshot],
    *,
    add: Sequence[str],
    remove: Sequence[str],
    replace: Sequence[str] | None,
) -> list[Retagged]:
    """Give ``snapshots`` other tags; those that have them already are left alone and not returned.

    Args:
        surroundings: Where the snapshots seen before are remembered.
        repository: Holds them.
        snapshots: Which.
        add: Tags to add.
        remove: Tags to take away.
        replace: Tags to have instead of all others; None leaves them.

    Raises:
        InputError: If nothing is asked for, or ``replace`` comes with something else.
        InvalidName: If a tag is empty, or holds a comma or an unprintable character.
        RepositoryLocked: If another process excludes this.
        TransportError: If the destination fails.
    """
    if replace is not None and (add or remove):
        raise InputError("tags are either set, or added and removed; not both")
    if replace is None and not add and not remove:
        raise InputError("no tag was given to add, remove or set")
    for one in (*add, *remove, *(replace or ())):
        check_tag(one)
    done: list[Retagged] = []
    for snapshot in snapshots:
        surroundings.cancel.check()
        base = set(snapshot.tags) if replace is None else set(replace)
        wanted = tuple(sorted((base | set(add)) - set(remove)))
        if wanted != snapshot.tags:
            done.append(_retag(surroundings, repository, snapshot, wanted))
    return done


def check_tag(name: str) -> None:
    """Refuse what is no tag.

    Raises:
        InvalidName: If it is empty, or holds a comma or an unprintable character.
    """
    if not name.strip() or "," in name or not name.isprintable():
        raise InvalidName(f"{name!a} is no tag; tags are printable, not empty, and hold no comma")


def _retag(
    surroundings: Surroundings,
    repository: Repository,
    snapshot: Snapshot,
    wanted: tuple[str, ...],
) -> Retagged:
    after = watch.removing(
        surroundings, repository, (snapshot.id,), lambda: repository.retag(snapshot, wanted)
    )
    watch.saw(surroundings, repository, after)
    return Retagged(snapshot, after)
