"""Locks of the memory archiver, ``locks/<exclusive or shared>-<random>``."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta

from backapp_core.errors import ObjectMissing, RepositoryLocked
from backapp_core.ports.lock_waits import once_free
from backapp_core.ports.surroundings import Surroundings
from backapp_core.ports.transports import Transport

_LOCK_LIFE = timedelta(minutes=30)


@contextmanager
def hold(
    transport: Transport, surroundings: Surroundings, *, is_exclusive: bool
) -> Generator[None]:
    """Hold a lock; it is never refreshed.

    Raises:
        RepositoryLocked: If another one excludes it, after waiting as long as is wished.
    """
    word = "exclusive" if is_exclusive else "shared"

    def take() -> None:
        own = f"locks/{word}-{surroundings.random_bytes(8).hex()}"
        with ExitStack() as attempt:
            attempt.callback(transport.delete, own)
            transport.put(own, [surroundings.clock.now().isoformat().encode()])
            for info in transport.list("locks/"):
                concerns_us = is_exclusive or info.name.startswith("locks/exclusive-")
                if (
                    info.name != own
                    and concerns_us
                    and _is_fresh(transport, surroundings, info.name)
                ):
                    raise RepositoryLocked(
                        f"another process uses the repository ({info.name}); try again later"
                    )
            stack.push(attempt.pop_all())

    with ExitStack() as stack:
        once_free(surroundings, take)
        yield


def _is_fresh(transport: Transport, surroundings: Surroundings, lock: str) -> bool:
    try:
        written_at = datetime.fromisoformat(transport.read(lock).decode())
    except ObjectMissing:
        return False
    return surroundings.clock.now() - written_at < _LOCK_LIFE
