"""Pauses between attempts: longer each time, and not all at the same moment."""

from attrs import frozen

from backapp_core.ports.surroundings import Surroundings

_MOST_DOUBLINGS = 30  # a billion times the first pause; more would overflow a float some day


@frozen
class Pauses:
    """A row of pauses that double up to a longest one, with chance in each.

    Many that met the same fault at the same moment do not come back at the same moment.
    """

    first_seconds: float
    longest_seconds: float

    def seconds(self, surroundings: Surroundings, failures: int) -> float:
        """Return how long to wait after ``failures`` in a row: from a half to all of the step.

        Args:
            surroundings: Where chance comes from.
            failures: 1 or more.
        """
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        step = min(self.longest_seconds, self.first_seconds * 2.0**doublings)
        chance = int.from_bytes(surroundings.random_bytes(2)) / 0xFFFF
        return step * (0.5 + chance / 2)
