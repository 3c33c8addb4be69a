"""A set of phone numbers that needs about 16 bytes for each number."""

from array import array

_START_SLOTS = 1 << 12
_MAX_FILL = 0.6
_SPREAD = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio. Multiplication by this constant puts similar phone numbers into
distant slots."""
_WORD = (1 << 64) - 1


class NumberSet:
    """A set of positive integers in one array. It needs less memory than a Python set."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _START_SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, number: int) -> bool:
        """Add a number; return False if the set contains it already."""
        slots = self._slots
        mask = len(slots) - 1
        at = (number * _SPREAD & _WORD) >> 20 & mask
        while (held := slots[at]) != 0:
            if held == number:
                return False
            at = at + 1 & mask
        slots[at] = number
        self._count += 1
        if self._count > _MAX_FILL * len(slots):
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", (0,)) * (2 * len(old))
        self._count = 0
        for number in old:
            if number:
                self.add(number)
