"""Request lines and header fields as bytes, where the parser is lenient."""

import re
from collections.abc import Sequence
from typing import Final

import httptools

from service.api.http.errors import MalformedRequest, MethodNotImplemented

SECOND_SPACE: Final = re.compile(rb"(?<=[A-Z] ) ")
"""A second space after what may be a method."""

_REQUEST_LINE: Final = re.compile(rb"(?:\r\n)*[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]\r\n")
_OF_RTSP: Final = "Invalid method for HTTP/x.x request"
"""What the parser, which knows the methods of RTSP too, says of one in a request of HTTP."""
_ABSOLUTE: Final = re.compile(rb"https?://([!-~]+?)(/[!-~]*)", re.IGNORECASE)
_OFFERS: Final = frozenset({b"upgrade", b"http2-settings"})

Fields = Sequence[tuple[bytes, bytes]]


class _NoFields(list[tuple[bytes, bytes]]):
    """A list that stays empty."""

    def append(self, _field: tuple[bytes, bytes]) -> None:
        """Drop a field."""


NO_FIELDS: Final = _NoFields()
"""Where trailers go: they must not become header fields. Source: RFC 9110 6.5.1."""


def parse_error(failure: httptools.HttpParserError, data: bytes) -> Exception:
    """Return what a callback raised, or the error of the rejected request that `data` begins with.

    A method that the parser does not know, in a well-formed line, is an error of its own.
    Source: RFC 9110 9.1, 15.6.2.
    """
    if isinstance(failure.__context__, Exception):
        return failure.__context__
    is_unknown = isinstance(failure, httptools.HttpParserInvalidMethodError) or _OF_RTSP in failure.args
    return MethodNotImplemented() if is_unknown and _REQUEST_LINE.match(data) else MalformedRequest()


def origin_form(target: bytes, fields: Fields) -> bytes:
    """Return path and query of a target in absolute form for this host.

    Raises:
        MalformedRequest: it has another form, a fragment, or bytes beyond ASCII, or names another authority
            than `Host`.

    Source: RFC 9112 3.2.1, 3.2.2.
    """
    absolute = _ABSOLUTE.fullmatch(target)
    hosts = [value.lower() for name, value in fields if name == b"host"]
    if absolute is None or b"#" in target or hosts != [absolute[1].lower()]:
        raise MalformedRequest
    return absolute[2]


def without_upgrade(method: bytes, target: bytes, version: bytes, fields: Fields) -> bytes:
    """Return the head of a request without its offer to upgrade. Names of fields are in lower case.

    Source: RFC 9110 7.8 (a server may ignore the offer), RFC 7540 3.2.1.
    """
    lines = [b"%b %b HTTP/%b" % (method, target, version)]
    for name, value in fields:
        if name == b"connection":
            options = [option.strip() for option in value.split(b",")]
            value = b", ".join(option for option in options if option.lower() not in _OFFERS)
        if name not in _OFFERS and (value or name != b"connection"):
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join((*lines, b"", b""))
