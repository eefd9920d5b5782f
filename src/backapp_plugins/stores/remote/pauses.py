"""How long to wait before trying again: longer each time, and not all at the same moment."""

from attrs import frozen

from backapp_core.plugin_api import Surroundings

_SLICE_SECONDS = 0.25


@frozen
class Pauses:
    """A growing row of pauses."""

    first_seconds: float = 0.25
    longest_seconds: float = 15.0

    def seconds(self, surroundings: Surroundings, failures: int) -> float:
        """Return how long to wait after ``failures`` in a row: from a half to all of the step."""
        # Beyond 30 doublings a float would be enough for nobody's patience.
        step = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        chance = int.from_bytes(surroundings.random_bytes(2), "big") / 0xFFFF
        return step * (0.5 + chance / 2)


def wait(surroundings: Surroundings, seconds: float) -> bool:
    """Wait, and say whether it came to the end: somebody may wish to stop meanwhile."""
    left = seconds
    while left > 0:
        if surroundings.cancel.is_cancelled:
            return False
        surroundings.clock.wait(min(left, _SLICE_SECONDS))
        left -= _SLICE_SECONDS
    return not surroundings.cancel.is_cancelled
