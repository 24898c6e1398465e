"""Strict query strings."""

import re
from functools import cache
from typing import TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec.inspect import IntType, ListType, Metadata, StructType, Type, UnionType, type_info

from service.api.http.errors import MalformedRequest
from service.domain.errors import FieldError, ValidationFailed

QueryT = TypeVar("QueryT", bound=msgspec.Struct)
Value: TypeAlias = str | int | list[str]

_MAX_PARAMETERS = 128
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,8}", re.ASCII)


def read_query(query_string: bytes, type_: type[QueryT]) -> QueryT:
    """Return a query string as its Struct. Only a parameter whose type is a list may be repeated.

    Raises:
        MalformedRequest: it cannot be read, or has an unknown or repeated parameter.
        ValidationFailed: a value breaks a rule; the error points at `?name` and repeats no value.
    """
    values: dict[str, Value] = {}
    for name, value in _pairs_of(query_string):
        if name not in type_.__struct_fields__:
            raise MalformedRequest("There is no such query parameter here.")
        if name in _fields_of(type_, ListType):
            values[name] = [*cast(list[str], values.get(name, [])), value]
        elif name in values:
            raise MalformedRequest("A query parameter is repeated.")
        else:
            values[name] = _convert(value, name, type_)
    _check(values, type_)
    return msgspec.convert(values, type_)


def reject_query(query_string: bytes) -> None:
    """Reject every query parameter.

    Raises:
        MalformedRequest: there is one.
    """
    if query_string:
        raise MalformedRequest("This operation takes no query parameters.")


def _pairs_of(query_string: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query_string),
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise MalformedRequest("The query string could not be read.") from None


def _convert(value: str, name: str, type_: type[msgspec.Struct]) -> str | int:
    """Convert a number in its canonical spelling where the Struct wants one; everything else is text."""
    if name in _fields_of(type_, IntType) and _INTEGER.fullmatch(value):
        return int(value)
    return value


@cache
def _fields_of(type_: type[msgspec.Struct], kind: type[Type]) -> frozenset[str]:
    """Return the names of the fields of a kind, required or not."""
    fields = cast(StructType, type_info(type_)).fields
    return frozenset(field.name for field in fields if isinstance(_bare(field.type), kind))


def _bare(described: Type) -> Type:
    if isinstance(described, UnionType):
        described = described.types[0]
    return described.type if isinstance(described, Metadata) else described


def _check(values: dict[str, Value], type_: type[msgspec.Struct]) -> None:
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
