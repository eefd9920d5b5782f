"""A bounded queue between two threads in which either side can give up."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar, final

_T = TypeVar("_T")


class ChannelClosed(Exception):
    """The receiver has given up; whatever is still sent would go nowhere."""


@final
class Channel(Generic[_T]):
    """Items from one sender to one receiver, in order, at most ``capacity`` waiting."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[_T] = deque()
        self._changed = threading.Condition()
        self._is_ended = False
        self._is_abandoned = False
        self._error: BaseException | None = None

    def send(self, item: _T) -> None:
        """Hand over an item; waits while the channel is full.

        Raises:
            ChannelClosed: If the receiver has given up.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_abandoned or len(self._items) < self._capacity)
            if self._is_abandoned:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def require_receiver(self) -> None:
        """Return if somebody still receives.

        Raises:
            ChannelClosed: If the receiver has given up.
        """
        if self._is_abandoned:
            raise ChannelClosed

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; the receiver gets ``error``, if any, at the end."""
        with self._changed:
            self._is_ended = True
            self._error = error
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that nothing more is wanted; whoever waits at either end is woken."""
        with self._changed:
            self._is_abandoned = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[_T]:
        """Receive until the end; a sender's error is raised after the items before it.

        Raises:
            ChannelClosed: If another thread has given up for the receiver.
        """
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_ended or self._is_abandoned or bool(self._items)
                )
                if self._is_abandoned:
                    raise ChannelClosed
                if self._items:
                    item = self._items.popleft()
                    self._changed.notify_all()
                elif self._error is not None:
                    raise self._error
                else:
                    return
            yield item
