"""The set of numbers that a file has shown."""

from crm_api.domain.transfer.seen import SeenNumbers


def test_number_is_new_once() -> None:
    seen = SeenNumbers()

    assert seen.add(16175550101)
    assert not seen.add(16175550101)
    assert seen.add(16175550102)


def test_many_neighbours_are_kept_apart_while_the_table_grows() -> None:
    seen = SeenNumbers()
    numbers = range(16175500000, 16175520000)

    assert all(seen.add(number) for number in numbers)
    assert not any(seen.add(number) for number in numbers)
    assert len(seen) == len(numbers)
