"""Header and target rules, checked before routing.

Servers are lenient about framing, each in its own way; routers accept several spellings of a path. Here a
request has one spelling and one meaning, or is rejected.
"""

import re
from functools import lru_cache
from itertools import chain
from typing import Final
from urllib.parse import unquote_to_bytes

from litestar.types import HTTPScope

from service.api.http.errors import HeaderTooLarge, MalformedRequest
from service.domain.errors import NotFound

MAX_HEADER_FIELDS: Final = 100
MAX_HEADER_BYTES: Final = 16 * 1024

_SINGLETON_FIELDS: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"origin",
        b"transfer-encoding",
    }
)
_FORWARDED_SINGLETONS: Final = frozenset({b"content-length", b"host", b"transfer-encoding"})
"""What must be single in the request of a gateway's visitor; the rest is ignored there."""
_LISTS: Final = {b"if-match": b", ", b"if-none-match": b", ", b"cookie": b"; "}
"""Fields that we read as lists, which may come in several lines, and what joins these.

Source: RFC 9110 5.3, RFC 9113 8.2.3.
"""
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")

HeaderMap = dict[bytes, bytes]
"""Header fields by lower-cased name; of fields that may be repeated and are no lists here, the last."""


def check_headers(scope: HTTPScope, *, is_forwarded: bool = False) -> HeaderMap:
    """Return the header fields of a well-framed request.

    A gateway forwards fields of its visitor as they are: then only those of framing are checked, and a
    repeated `Authorization` counts as none.

    Raises:
        MalformedRequest: there is not exactly one valid `Host`; a field that must be single is repeated; the
            length is ambiguous or no number.
        HeaderTooLarge: there are more than 100 fields or 16 KiB of them, target included.

    Source: RFC 9112 3.2, 6.1, 6.3; OWASP ASVS 5.0 4.2.1.
    """
    headers = tuple(scope["headers"])
    fields = dict(headers)
    target_bytes = len(scope["raw_path"]) + len(scope["query_string"])
    if (
        len(headers) > MAX_HEADER_FIELDS
        or sum(map(len, chain.from_iterable(headers)), target_bytes) > MAX_HEADER_BYTES
    ):
        raise HeaderTooLarge
    if len(fields) != len(headers):
        _check_repeated(headers, fields, is_forwarded=is_forwarded)
    host = fields.get(b"host")
    if not (_is_host(host) if host is not None else scope["http_version"] == "1.0"):
        raise MalformedRequest
    if not _has_one_length(fields):
        raise MalformedRequest
    return fields


def check_target(scope: HTTPScope) -> None:
    """Require that path and query have one reading.

    Raises:
        NotFound: the path is an alternative spelling: a trailing or double slash, `.` or `..` segments, an
            encoded slash or backslash.
        MalformedRequest: path or query have a broken escape, bytes that are not UTF-8, or NUL.

    Source: OWASP ASVS 5.0 1.1.1, 2.2.1; CVE-2026-48710.
    """
    path = scope["raw_path"] or scope["path"].encode("utf-8")
    query = scope["query_string"]
    if query and not _is_readable(query):
        raise MalformedRequest
    if b"%" in path or not path.isascii():
        path = _decoded_path(path)
    if path[:1] != b"/" or b"\\" in path:
        raise MalformedRequest
    if b"//" in path or (path[-1:] == b"/" and path != b"/") or (b"/." in path and _has_dot_segment(path)):
        raise NotFound


def _check_repeated(
    headers: tuple[tuple[bytes, bytes], ...], fields: HeaderMap, *, is_forwarded: bool
) -> None:
    """Reject repeated singletons, and join the lines of lists."""
    singletons = _FORWARDED_SINGLETONS if is_forwarded else _SINGLETON_FIELDS
    names = [name for name, _ in headers if name in singletons]
    if len(set(names)) != len(names):
        raise MalformedRequest
    if is_forwarded and sum(name == b"authorization" for name, _ in headers) > 1:
        del fields[b"authorization"]
    for name in _LISTS.keys() & fields.keys():
        fields[name] = _LISTS[name].join(value for field, value in headers if field == name)


@lru_cache(256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _has_one_length(fields: HeaderMap) -> bool:
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if coding is not None:
        return length is None and coding.lower() == b"chunked"
    return length is None or length.isdigit()


def _decoded_path(path: bytes) -> bytes:
    escaped = path.lower()
    if b"%2f" in escaped or b"%5c" in escaped:
        raise NotFound
    if not _is_readable(path):
        raise MalformedRequest
    return unquote_to_bytes(path)


def _has_dot_segment(path: bytes) -> bool:
    return not {b".", b".."}.isdisjoint(path.split(b"/"))


def _is_readable(text: bytes) -> bool:
    """Return whether escaped text is ASCII with whole escapes and decodes to UTF-8 without NUL."""
    if not text.isascii() or _BROKEN_ESCAPE.search(text):
        return False
    try:
        return "\0" not in unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        return False
