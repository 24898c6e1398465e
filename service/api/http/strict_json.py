"""Strict JSON: a document has one meaning, or is rejected.

Source: RFC 8259, RFC 7493 (I-JSON); OWASP ASVS 5.0 1.5.3, 4.1.1, 15.3.5.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from service.api.http.errors import MalformedJson, UnsupportedMediaType
from service.domain.errors import FieldError, ValidationFailed

T = TypeVar("T")

MAX_DEPTH: Final = 32
"""How deep arrays and objects may be nested."""

_JSON: Final = "application/json"
_UTF8: Final = frozenset({b"utf-8", b"utf8", b""})
_LONGEST_NAME: Final = 64
_MESSAGE: Final = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`(?P<path>\$[^`]*)`)?", re.DOTALL)
_STEP: Final = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_NAMED: Final = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_WRONG_TYPE: Final = re.compile(r"Expected `(?P<expected>[a-z0-9 |]+)`, got `[a-z0-9]+`")
_LENGTH: Final = re.compile(r"Expected `[a-z |]+` of length (?P<sign>[<>]=?|==) (?P<length>\d+)")
_RANGE: Final = re.compile(r"Expected `(?:int|float)[a-z |]*` (?P<sign>[<>]=?) (?P<bound>-?[0-9.]+)")
_JSON_NAMES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_SIGNS: Final = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than", "==": "exactly"}


@lru_cache(256)
def require_media_type(
    content_type: bytes | None, accepted: tuple[str, ...] = (_JSON,), content_encoding: bytes | None = None
) -> str:
    """Return the media type of a body, in lower case: one of `accepted`.

    The other arguments are header values, None when the header is absent. The charset of JSON is absent or
    UTF-8; other types define none, and it is ignored.

    Raises:
        UnsupportedMediaType: the type, its charset or the content encoding is another, or no type is given.

    Source: OWASP ASVS 5.0 4.1.1; RFC 9110 8.3, 8.4; RFC 8259 11.
    """
    codings = (content_encoding or b"").lower().split(b",")
    name, *parameters = (content_type or b"").lower().split(b";")
    media_type = name.strip().decode("latin-1")
    if media_type not in accepted or not {coding.strip() for coding in codings} <= {b"", b"identity"}:
        raise UnsupportedMediaType(*accepted)
    if media_type.endswith("json") and not all(map(_is_utf8, parameters)):
        raise UnsupportedMediaType(*accepted)
    return media_type


def media_type_of(content_type: bytes | None) -> str:
    """Return the media type of a body in lower case, without parameters; empty without the header."""
    return (content_type or b"").lower().partition(b";")[0].strip().decode("latin-1")


def check_json(body: bytes) -> None:
    """Require that a body is one JSON document with one meaning.

    It is UTF-8 without a byte order mark, repeats no key at any level, has no lone surrogate, no `NaN` or
    `Infinity`, and is at most 32 levels deep. Numbers may be of any size.

    Raises:
        MalformedJson: it is not.

    Source: RFC 7493 2.1, 2.3; OWASP ASVS 5.0 1.5.3.
    """
    try:
        value = _DOCUMENT.decode(body.decode("utf-8"))
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False, check_circular=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise MalformedJson from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_too_deep(value):
        raise MalformedJson


def decode(body: bytes, struct: type[T]) -> T:
    """Decode a body into a msgspec Struct: strict types, and unknown fields as the Struct declares them.

    Raises:
        MalformedJson: the body is no JSON document, or one with more than one meaning.
        ValidationFailed: it breaks a rule of the Struct; the error has a pointer and repeats no value.
    """
    check_json(body)
    try:
        return msgspec.json.decode(body, type=struct, strict=True)
    except msgspec.ValidationError as error:
        raise ValidationFailed(_field_error(str(error))) from None
    except msgspec.DecodeError:
        raise MalformedJson from None


def _is_utf8(parameter: bytes) -> bool:
    name, _, value = parameter.partition(b"=")
    return name.strip() != b"charset" or value.strip(b" \t\"'") in _UTF8


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson
    return members


def _reject_constant(_name: str) -> None:
    raise MalformedJson


def _is_too_deep(value: object) -> bool:
    containers = [value]
    for _ in range(MAX_DEPTH):
        children = [child for container in containers for child in _children_of(container)]
        containers = [child for child in children if isinstance(child, dict | list)]
    return bool(containers)


def _children_of(container: object) -> Any:
    if isinstance(container, dict):
        return container.values()
    return container if isinstance(container, list) else ()


# Only the shape counts here; `float` reads an integer of any length, `int` has a limit.
_DOCUMENT: Final = json.JSONDecoder(
    object_pairs_hook=_object_of, parse_int=float, parse_constant=_reject_constant
)


def _field_error(message: str) -> FieldError:
    """Return the field error for a message of msgspec, whose own text may repeat the value."""
    parts = _MESSAGE.fullmatch(message)
    what, path = (parts["what"], parts["path"] or "") if parts else ("", "")
    known_path = path.partition("[...]")[0]  # `[...]` stands for a key that the caller chose
    pointer = "".join(f"/{step['name'] or step['index']}" for step in _STEP.finditer(known_path))
    for pattern, describe in _ERRORS:
        if found := pattern.match(what):
            return describe(pointer, found)
    return FieldError(pointer, "invalid_value", "The value is not valid here.")


def _name_error(pointer: str, found: re.Match[str]) -> FieldError:
    name = found["name"]
    # No field has a name this long: point at the object instead of repeating it.
    place = f"{pointer}/{_escape(name)}" if len(name) <= _LONGEST_NAME else pointer
    if found[0].startswith("Object missing"):
        return FieldError(place, "missing_field", "This field is required.")
    return FieldError(place, "unknown_field", "There is no such field here.")


def _type_error(pointer: str, found: re.Match[str]) -> FieldError:
    names = [_JSON_NAMES.get(name, name) for name in found["expected"].split(" | ")]
    return FieldError(pointer, "wrong_type", f"The JSON type must be {' or '.join(names)}.")


def _length_error(pointer: str, found: re.Match[str]) -> FieldError:
    code = "too_long" if found["sign"].startswith("<") else "too_short"
    return FieldError(pointer, code, f"The length must be {_SIGNS[found['sign']]} {found['length']}.")


def _range_error(pointer: str, found: re.Match[str]) -> FieldError:
    bound = f"{_SIGNS[found['sign']]} {found['bound']}"
    return FieldError(pointer, "out_of_range", f"The number must be {bound}.")


def _size_error(pointer: str, _found: re.Match[str]) -> FieldError:
    return FieldError(pointer, "out_of_range", "The number is out of range.")


def _escape(name: str) -> str:
    """Escape a member name for a JSON Pointer. Source: RFC 6901 3."""
    return name.replace("~", "~0").replace("/", "~1")


_ERRORS: Final[tuple[tuple[re.Pattern[str], Callable[[str, re.Match[str]], FieldError]], ...]] = (
    (_NAMED, _name_error),
    (_WRONG_TYPE, _type_error),
    (_LENGTH, _length_error),
    (_RANGE, _range_error),
    (re.compile(r"(?:Integer value|Number) out of range"), _size_error),
)
