"""Several users of one place take turns, operation by operation, as a seed says.

Every actor is a function on a thread of its own that reaches the place by a transport of its own.
Only the actor whose turn it is gets anything done there; who comes next, and for how many
operations, is drawn from the seed, so that a seed that fails fails again::

    turns = Turns(seed)
    outcomes = turns.run({
        "writer": lambda: back_up(turns.reach("writer", inner)),
        "pruner": lambda: clean_up(turns.reach("pruner", inner)),
    })
"""

import random
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import final

from typing_extensions import override

from backapp_core.ports.transports import Body, ObjectInfo, Transport

_TURNS = (1, 1, 1, 2, 3, 5, 8, 13, 40)
"""How many operations an actor does before another may come; mostly few, sometimes all it has."""

_AWKWARDNESS = 0.3


@final
class Turns:
    """Whose turn it is."""

    def __init__(
        self,
        seed: int,
        *,
        between: Callable[[random.Random, Sequence[tuple[str, str]]], None] | None = None,
        is_awkward: Callable[[str, str], bool] = lambda _verb, _name: False,
    ) -> None:
        """Draw everything from ``seed``.

        Args:
            seed: Says who comes when.
            between: Called whenever the turn goes over, with what some wait to do: methods of the
                transport and names of objects.
            is_awkward: Says of a method of the transport and the name of an object whether it is an
                awkward moment to be interrupted just before that; then it often happens.
        """
        self._chance = random.Random(seed)  # noqa: S311  # being repeatable is what a test wants
        self._between = between
        self._is_awkward = is_awkward
        self._changed = threading.Condition()
        self._working: list[str] = []
        self._turn = ""
        self._left = 0
        self._about_to: list[tuple[str, str]] = []
        self.log: list[tuple[str, str, str]] = []
        """What was done: actor, method of the transport, name of the object."""

    def reach(self, actor: str, inner: Transport) -> Transport:
        """Return the way by which ``actor`` comes to the place."""
        return _InTurns(self, actor, inner)

    def run(self, actors: Mapping[str, Callable[[], object]]) -> Mapping[str, BaseException | None]:
        """Let all actors work until each has ended; return by what error, None if by none."""
        outcomes: dict[str, BaseException | None] = dict.fromkeys(actors)

        def work(name: str, action: Callable[[], object]) -> None:
            try:
                action()
            except BaseException as error:  # noqa: BLE001  # whoever asked looks at it
                outcomes[name] = error
            finally:
                with self._changed:
                    self._working.remove(name)
                    if self._turn == name:
                        self._pass_on()

        threads = [threading.Thread(target=work, args=one, name=one[0]) for one in actors.items()]
        with self._changed:
            self._working = list(actors)
            self._pass_on()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    @contextmanager
    def turn(self, actor: str, verb: str, name: str) -> Generator[None]:
        """Wait until it is the turn of ``actor``, and do one operation."""
        with self._changed:
            self._about_to.append((verb, name))
            self._await(actor)
            if self._is_awkward(verb, name) and self._chance.random() < _AWKWARDNESS:
                self._pass_on(giving_way=actor)
                self._await(actor)
            self.log.append((actor, verb, name))
            try:
                yield
            finally:
                self._about_to.remove((verb, name))
                self._left -= 1
                if self._left <= 0 and self._working:
                    self._pass_on()

    def _await(self, actor: str) -> None:
        while self._turn != actor and actor in self._working:
            self._changed.wait()

    def _pass_on(self, *, giving_way: str = "") -> None:
        if self._between is not None:
            self._between(self._chance, tuple(self._about_to))
        others = [one for one in self._working if one != giving_way] or self._working
        self._turn = self._chance.choice(others) if others else ""
        self._left = max(_TURNS) if giving_way else self._chance.choice(_TURNS)
        self._changed.notify_all()


class _InTurns(Transport):
    def __init__(self, turns: Turns, actor: str, inner: Transport) -> None:
        self._turns = turns
        self._actor = actor
        self._inner = inner

    @property
    @override
    def address(self) -> str:
        return self._inner.address

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        whole = [bytes(part) for part in body]  # it may need others of this actor
        with self._turns.turn(self._actor, "put", name):
            return self._inner.put(name, whole, size_bytes=size_bytes, replace=replace)

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        with self._turns.turn(self._actor, "get", name):
            return iter(list(self._inner.get(name, offset=offset, length_bytes=length_bytes)))

    @override
    def read(self, name: str, *, offset: int = 0, length_bytes: int | None = None) -> bytes:
        with self._turns.turn(self._actor, "read", name):
            return self._inner.read(name, offset=offset, length_bytes=length_bytes)

    @override
    def stat(self, name: str) -> ObjectInfo:
        with self._turns.turn(self._actor, "stat", name):
            return self._inner.stat(name)

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._turns.turn(self._actor, "list", prefix):
            return iter([*self._inner.list(prefix)])

    @override
    def delete(self, name: str) -> None:
        with self._turns.turn(self._actor, "delete", name):
            self._inner.delete(name)

    @override
    def prepare(self) -> None:
        self._inner.prepare()

    @override
    def close(self) -> None:
        self._inner.close()
