"""Work on several threads, of which a bounded part is ahead of whoever takes the results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from backapp_core.plugin_api import HasFolder
from backapp_plugins.archivers.restic.place import Place

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_REMOTE_THREADS = 8
"""A distant destination is waited for most of the time."""


def working_threads(place: Place) -> int:
    """Return how many threads keep both the destination and the processor busy."""
    threads = place.surroundings.threads
    return threads if isinstance(place.transport, HasFolder) else max(threads, _REMOTE_THREADS)


def in_threads(
    place: Place, work: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Yield what ``work`` makes of each item, in their order.

    The first exception ends it, and nothing is begun after that or after the iterator is closed.

    Raises:
        RunCancelled: If the run is asked to stop.
    """
    threads = working_threads(place)
    pool = ThreadPoolExecutor(threads, "worker")
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            place.surroundings.cancel.check()
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            place.surroundings.cancel.check()
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
