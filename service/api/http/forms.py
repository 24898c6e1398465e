"""HTML forms as request bodies. Source: RFC 6749 3.2, RFC 7662 2.1."""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from service.api.http.errors import MalformedRequest
from service.api.http.strict_json import decode

StructT = TypeVar("StructT", bound=msgspec.Struct)


def decode_form(body: bytes, type_: type[StructT]) -> StructT:
    """Decode a form into a Struct. Unknown fields are ignored, as OAuth requires.

    Raises:
        MalformedRequest: the form cannot be read, or repeats a field.
        ValidationFailed: it breaks a rule of the Struct.
    """
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise MalformedRequest("The form could not be read.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MalformedRequest("A form field is repeated.")
    known = {name: value for name, value in values.items() if name in type_.__struct_fields__}
    try:
        return msgspec.convert(known, type_)
    except msgspec.ValidationError:
        return decode(msgspec.json.encode(known), type_)  # raises with the field that is wrong
