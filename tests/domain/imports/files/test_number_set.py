"""The set of the numbers of a file."""

from crm_api.domain.imports.files.number_set import NumberSet


def test_number_is_new_once() -> None:
    seen = NumberSet()

    assert seen.add(16175550101)
    assert not seen.add(16175550101)
    assert seen.add(16175550102)


def test_many_neighbours_are_kept_apart_while_the_table_grows() -> None:
    seen = NumberSet()
    numbers = range(16175500000, 16175520000)

    assert all(seen.add(number) for number in numbers)
    assert not any(seen.add(number) for number in numbers)
    assert len(seen) == len(numbers)
