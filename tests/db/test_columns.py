from sqlalchemy import column, table

from service.db.core.columns import Columns, columns_of, values
from service.domain.networks import Network

POINT = Columns(complex, column("x"), column("y"))
LINE: Columns[tuple[complex, str, complex]] = Columns(values, POINT, column("name"), POINT)


def test_iterate_returns_every_column_in_order() -> None:
    assert [each.name for each in LINE] == ["x", "y", "name", "x", "y"]
    assert (POINT.width, LINE.width) == (2, 5)


def test_decode_makes_nested_items() -> None:
    assert LINE.decode((1, 2, "a", 3, 4)) == (1 + 2j, "a", 3 + 4j)


def test_decode_of_an_iterator_leaves_the_rest() -> None:
    row = iter(["key", 1, 2, "rest"])
    assert (next(row), POINT.decode(row), next(row)) == ("key", 1 + 2j, "rest")


def test_decode_optional_without_row_returns_none() -> None:
    assert POINT.decode_optional(None) is None
    assert POINT.decode_optional((1, 2)) == 1 + 2j


def test_extended_passes_more_arguments() -> None:
    pair: Columns[tuple[complex, int]] = Columns(values, POINT)
    assert pair.extended(column("n")).decode((1, 2, 3)) == (1 + 2j, 3)


def test_columns_of_an_entity_are_its_fields_with_others_in_place_of_some() -> None:
    found = columns_of(Network, table("networks", column("name")).c, share=Columns(abs, column("factor")))
    assert [each.name for each in found] == ["name", "factor"]
    assert found.decode(("192.0.2.0/24", -3)) == Network("192.0.2.0/24", 3)
