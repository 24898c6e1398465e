"""Conditional requests: entity tags, `If-Match` and `If-None-Match`. Source: RFC 9110 8.8.3, 13.1."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from service.api.http.errors import MalformedRequest
from service.domain.errors import PreconditionFailed

ItemT = TypeVar("ItemT")

CONDITIONAL_WRITES: Final = frozenset({"PUT", "PATCH", "DELETE"})
"""The methods for which `If-Match` counts."""

# Empty elements of a list are ignored. Source: RFC 9110 5.6.1.2.
_TAGS = re.compile(r'[\s,]*(?:W/)?"[\x21\x23-\x7e]*"(?:\s*,[\s,]*(?:W/)?"[\x21\x23-\x7e]*")*[\s,]*')
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e]*")')

encode = msgspec.json.Encoder().encode


def entity_tag(body: bytes) -> str:
    """Return the strong entity tag of a representation."""
    return f'"{sha256(body).hexdigest()[:32]}"'


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Return whether the client has this version already. Weak tags match, too.

    A header that cannot be read names no version of ours: the client gets the whole representation.
    """
    try:
        return if_none_match is not None and _etag_matches(if_none_match, etag, is_weak_allowed=True)
    except MalformedRequest:
        return False


def if_match_check(
    if_match: str | None, view_of: Callable[[ItemT], msgspec.Struct]
) -> Callable[[ItemT], bool]:
    """Return a predicate for `If-Match` by the view of a resource; without the header it accepts any.

    Raises:
        MalformedRequest: the header cannot be read.
    """
    if if_match is None:
        return lambda _item: True
    _etag_matches(if_match, "", is_weak_allowed=False)  # rejects a malformed header before anything is read
    return lambda item: _etag_matches(if_match, entity_tag(encode(view_of(item))), is_weak_allowed=False)


def require_if_match(if_match: str | None, view: msgspec.Struct) -> None:
    """Require that `If-Match`, if sent, names this representation.

    Raises:
        PreconditionFailed: it does not.
        MalformedRequest: the header cannot be read.
    """
    if if_match is not None and not _etag_matches(if_match, entity_tag(encode(view)), is_weak_allowed=False):
        raise PreconditionFailed


def reject_if_match(if_match: str | None) -> None:
    """Reject `If-Match` for a resource without entity tags, unless it is `*`.

    Raises:
        PreconditionFailed: it names a tag.
        MalformedRequest: the header cannot be read.
    """
    if if_match is not None and not _etag_matches(if_match, "", is_weak_allowed=False):
        raise PreconditionFailed


def _etag_matches(header: str, etag: str, *, is_weak_allowed: bool) -> bool:
    if header.strip() == "*":
        return True
    if not _TAGS.fullmatch(header):
        raise MalformedRequest("An entity tag header could not be read.")
    return any(tag == etag and (is_weak_allowed or not weak) for weak, tag in _TAG.findall(header))
