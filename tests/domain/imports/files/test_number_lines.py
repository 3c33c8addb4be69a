"""Each number of a file is stored with the line of its first occurrence."""

from crm_api.domain.imports.files.number_lines import NumberLines


def test_repeated_number_returns_the_line_of_its_first_occurrence() -> None:
    seen = NumberLines()

    assert seen.add(16175550101, 2) is None
    assert seen.add(16175550101, 7) == 2
    assert seen.add(16175550102, 8) is None
    assert seen.add(16175550101, 9) == 2


def test_consecutive_numbers_stay_separate_while_the_table_grows() -> None:
    seen = NumberLines()
    numbers = range(16175500000, 16175520000)

    assert all(seen.add(number, line) is None for line, number in enumerate(numbers, start=2))
    assert [seen.add(number, 99_999) for number in numbers] == list(range(2, len(numbers) + 2))
    assert len(seen) == len(numbers)
