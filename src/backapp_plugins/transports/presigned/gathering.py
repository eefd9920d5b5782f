"""One question for many: whoever comes first asks for all that wait."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from backapp_core.plugin_api import GrantRefused

_Wish = TypeVar("_Wish")
_Answer = TypeVar("_Answer")


class _Waiting(Generic[_Wish, _Answer]):
    def __init__(self, wish: _Wish) -> None:
        self.wish = wish
        self.answers: list[_Answer] = []
        """The one answer, once it is there."""
        self.error: Exception | None = None

    @property
    def is_over(self) -> bool:
        return bool(self.answers) or self.error is not None


class Gathering(Generic[_Wish, _Answer]):
    """Asks one question at a time, with the wishes of all threads that wait meanwhile.

    Threads that come while a question is under way are the next question together. So nobody waits
    for company, and the more there is to ask the fewer questions there are for each.
    """

    def __init__(self, ask: Callable[[Sequence[_Wish]], Sequence[_Answer]], *, most: int) -> None:
        """Ask by ``ask``, which answers each of at most ``most`` wishes, in their order."""
        self._ask = ask
        self._most = most
        self._mutex = threading.Lock()
        self._asking = threading.Lock()
        self._queue: list[_Waiting[_Wish, _Answer]] = []

    def get(self, wish: _Wish) -> _Answer:
        """Return the answer to a wish; what asking raises passes through.

        A refusal concerns those alone who are to blame: each wish of a question that was refused is
        asked by itself.

        Raises:
            GrantRefused: If this wish was refused.
        """
        own: _Waiting[_Wish, _Answer] = _Waiting(wish)
        with self._mutex:
            self._queue.append(own)
        while not own.is_over:
            with self._asking:
                if not own.is_over:
                    self._answer_next(own)
        if own.error is not None:
            raise own.error
        return own.answers[0]

    def _answer_next(self, own: _Waiting[_Wish, _Answer]) -> None:
        with self._mutex:
            batch, self._queue = self._queue[: self._most], self._queue[self._most :]
        try:
            self._answer(batch)
        except GrantRefused as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:
                self._answer_one(one)
        except Exception as error:  # noqa: BLE001  # each who waits raises it
            for one in batch:
                one.error = error
        except BaseException:
            # This thread is to end, which is none of the others' business.
            with self._mutex:
                self._queue = [one for one in batch if one is not own] + self._queue
            raise

    def _answer_one(self, one: _Waiting[_Wish, _Answer]) -> None:
        try:
            self._answer([one])
        except Exception as error:  # noqa: BLE001  # whose it is gets it; others are still to come
            one.error = error

    def _answer(self, batch: Sequence[_Waiting[_Wish, _Answer]]) -> None:
        answers = self._ask([one.wish for one in batch])
        for one, answer in zip(batch, answers, strict=True):
            one.answers.append(answer)
