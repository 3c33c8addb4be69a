"""Remember in which line of a file each phone number occurs first.

About 25 bytes of memory are needed for each phone number.
"""

from array import array

_START_SLOTS = 1 << 12
_MAX_FILL = 0.6
_SPREAD = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio. Phone numbers are multiplied by this constant, so that similar
phone numbers get distant positions in the arrays."""
_WORD = (1 << 64) - 1


class NumberLines:
    """Maps each phone number (a positive integer) to the line of the file in which it occurs first.

    The map consists of two arrays, which need less memory than a dictionary.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _START_SLOTS))
        self._lines = array("I", bytes(4 * _START_SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, number: int, line: int) -> int | None:
        """Store on which line of the file a phone number occurs, unless a line is already stored.

        Args:
            number: The phone number.
            line: The number of the line in the file.

        Returns:
            None if the phone number is new. Otherwise, the stored line number.
        """
        slots = self._slots
        mask = len(slots) - 1
        at = (number * _SPREAD & _WORD) >> 20 & mask
        while (held := slots[at]) != 0:
            if held == number:
                return self._lines[at]
            at = at + 1 & mask
        slots[at] = number
        self._lines[at] = line
        self._count += 1
        if self._count > _MAX_FILL * len(slots):
            self._grow()
        return None

    def _grow(self) -> None:
        old = zip(self._slots, self._lines, strict=True)
        size = 2 * len(self._slots)
        self._slots, self._lines = array("Q", (0,)) * size, array("I", (0,)) * size
        self._count = 0
        for number, line in old:
            if number:
                self.add(number, line)
