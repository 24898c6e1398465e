"""HTML forms as request bodies. Source: RFC 6749 3.2, RFC 7662 2.1."""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from service.api.http.errors import MalformedRequest
from service.api.http.strict_json import decode

StructT = TypeVar("StructT", bound=msgspec.Struct)


def decode_form(body: bytes, type_: type[StructT]) -> StructT:
    """Decode a form into a Struct. Unknown fields are ignored, as OAuth requires.

    What is not UTF-8 becomes U+FFFD, which no token, id or secret of ours contains: visitors of a gateway
    choose the token, and must not be able to make the request of the gateway fail.

    Raises:
        MalformedRequest: the form repeats a field.
        ValidationFailed: it breaks a rule of the Struct.
    """
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MalformedRequest("A form field is repeated.")
    known = {name: value for name, value in values.items() if name in type_.__struct_fields__}
    try:
        return msgspec.convert(known, type_)
    except msgspec.ValidationError:
        return decode(msgspec.json.encode(known), type_)  # raises with the field that is wrong
