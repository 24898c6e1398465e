"""Strict query strings."""

import re
from functools import cache
from typing import TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec.inspect import IntType, Metadata, StructType, Type, type_info

from service.api.http.errors import MalformedRequest
from service.domain.errors import FieldError, ValidationFailed

QueryT = TypeVar("QueryT", bound=msgspec.Struct)

_MAX_PARAMETERS = 32
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,8}", re.ASCII)


def read_query(query_string: bytes, type_: type[QueryT]) -> QueryT:
    """Return a query string as its Struct.

    Raises:
        MalformedRequest: it cannot be read, or has an unknown or repeated parameter.
        ValidationFailed: a value breaks a rule; the error points at `?name` and repeats no value.
    """
    values = _pairs_of(query_string)
    if not values.keys() <= set(type_.__struct_fields__):
        raise MalformedRequest("There is no such query parameter here.")
    read = {name: _convert(value, name, type_) for name, value in values.items()}
    _check(read, type_)
    return msgspec.convert(read, type_)


def reject_query(query_string: bytes) -> None:
    """Reject every query parameter.

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
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise MalformedRequest("The query string could not be read.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MalformedRequest("A query parameter is repeated.")
    return values


def _convert(value: str, name: str, type_: type[msgspec.Struct]) -> str | int:
    """Convert a number in its canonical spelling where the Struct wants one; everything else is text."""
    if name in _integers_of(type_) and _INTEGER.fullmatch(value):
        return int(value)
    return value


@cache
def _integers_of(type_: type[msgspec.Struct]) -> frozenset[str]:
    fields = cast(StructType, type_info(type_)).fields
    return frozenset(field.name for field in fields if isinstance(_bare(field.type), IntType))


def _bare(described: Type) -> Type:
    return described.type if isinstance(described, Metadata) else described


def _check(values: dict[str, str | int], type_: type[msgspec.Struct]) -> None:
    """Check each value on its own, so that all errors are reported at once, each under its name."""
    errors = []
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, type_)
        except msgspec.ValidationError:
            errors.append(
                FieldError(f"?{name}", "invalid_value", "The value is not valid for this parameter.")
            )
    if errors:
        raise ValidationFailed(*errors)
