"""Which share of the stored data a check reads."""

from collections.abc import Callable, Mapping

from attrs import frozen

from backapp_core.errors import InputError

_MOST_PARTS = 256
_WHOLE_PERCENT = 100
_ID_BYTES = 32


@frozen
class DataSubset:
    """A share of the stored objects; what is said of it holds all at once, and of nothing is all.

    Reading one of twelve parts each month reads everything within a year. A percentage or an amount
    is drawn at random, anew each time.
    """

    part: int = 1
    """Which of the `parts`, from 1; an object is always in the same one."""
    parts: int = 1
    percent: float = _WHOLE_PERCENT
    """So many of the objects, but at least one."""
    most_bytes: int | None = None
    """No more than so many bytes, but at least one object; None means any number."""

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.part <= self.parts <= _MOST_PARTS:
            raise InputError(
                f"there is no part {self.part} of {self.parts}; "
                f"choose one of at most {_MOST_PARTS} parts, as in 1/12"
            )
        if not 0 < self.percent <= _WHOLE_PERCENT:
            raise InputError(f"{self.percent:g} % is no share; it must be above 0 and at most 100")
        if self.most_bytes is not None and self.most_bytes < 1:
            raise InputError("a share of no bytes is none; it must be 1 byte at least")

    @classmethod
    def of(cls, read_data: "bool | DataSubset") -> "DataSubset | None":
        """Return what a check that was told so reads, None for nothing."""
        if isinstance(read_data, DataSubset):
            return read_data
        return cls() if read_data else None

    def choose(
        self, sizes: Mapping[bytes, int], random_bytes: Callable[[int], bytes]
    ) -> frozenset[bytes]:
        """Return the ids of the objects that are in it.

        Args:
            sizes: Size in bytes of each object, by ids whose bytes are as good as random, as those
                of hashes are.
            random_bytes: Returns that many random bytes.
        """
        chosen = [one for one in sizes if one[0] % self.parts == self.part - 1]
        if self.percent < _WHOLE_PERCENT or self.most_bytes is not None:
            nearest = int.from_bytes(random_bytes(_ID_BYTES))
            chosen.sort(key=lambda one: int.from_bytes(one[:_ID_BYTES]) ^ nearest)
            del chosen[max(1, int(len(chosen) * self.percent / _WHOLE_PERCENT)) :]
        if self.most_bytes is not None:
            left = self.most_bytes
            for count, one in enumerate(chosen):
                left -= sizes[one]
                if left < 0:
                    del chosen[max(1, count) :]
                    break
        return frozenset(chosen)
