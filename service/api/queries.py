"""The query string, read strictly."""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from service.domain.errors import FieldFault, MalformedRequest, ValidationFailed

QueryT = TypeVar("QueryT", bound=msgspec.Struct)

_MOST_PARAMETERS = 32


def read_query(query_string: bytes, type_: type[QueryT]) -> QueryT:
    """Read a query string into its struct.

    Raises:
        MalformedRequest: it cannot be read, or has an unknown or repeated parameter.
        ValidationFailed: a value breaks a rule; the fault points at `?name` and repeats no value.
    """
    values = _pairs_of(query_string)
    if not values.keys() <= set(type_.__struct_fields__):
        raise MalformedRequest("There is no such query parameter here.")
    _check(values, type_)
    return msgspec.convert(values, type_, strict=False)


def refuse_query(query_string: bytes) -> None:
    """Refuse any query parameter, for an operation that takes none.

    Raises:
        MalformedRequest: there is one.
    """
    if query_string:
        raise MalformedRequest("This operation takes no query parameters.")


def _pairs_of(query_string: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query_string),
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise MalformedRequest("The query string could not be read.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MalformedRequest("A query parameter is repeated.")
    return values


def _check(values: dict[str, str], type_: type[msgspec.Struct]) -> None:
    """Check each value on its own, so that all faults are told at once and each by its name."""
    faults = []
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, type_, strict=False)
        except msgspec.ValidationError:
            faults.append(
                FieldFault(f"?{name}", "invalid_value", "The value is not valid for this parameter.")
            )
    if faults:
        raise ValidationFailed(*faults)
