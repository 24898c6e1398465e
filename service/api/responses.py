"""Answers as bytes, with their entity tags."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
from litestar import Response
from litestar.datastructures import Headers
from litestar.types import Send

from service.api.http.errors import MalformedRequest
from service.api.http.headers import Fields
from service.api.schemas.users import UserView
from service.domain.errors import PreconditionFailed
from service.domain.users import User

_NOT_MODIFIED = 304
_encode = msgspec.json.Encoder().encode
_TAGS = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e]*")')


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; what an idempotency key keeps."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response[bytes]:
        """Make the framework's response of it."""
        return Response(
            self.body, status_code=self.status, headers=self.headers, media_type="application/json"
        )

    async def send(self, send: Send) -> None:
        """Send it, without the framework's response around it."""
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.status != _NOT_MODIFIED:
            headers.append((b"content-type", b"application/json"))
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def answer(
    view: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Answer with a view."""
    return Response(
        _encode(view), status_code=status, headers=dict(headers or {}), media_type="application/json"
    )


def nothing() -> Response[None]:
    """Answer that it is done, with nothing to show."""
    return Response(None, status_code=204)


def entity_tag(body: bytes) -> str:
    """Give the strong entity tag of a representation. Source: RFC 9110 8.8.3."""
    return f'"{urlsafe_b64encode(sha256(body).digest()[:16]).decode().rstrip("=")}"'


def tagged(view: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a view under its entity tag."""
    body = _encode(view)
    return Answer(status, body, {"ETag": entity_tag(body), **(headers or {})})


def shown(view: msgspec.Struct) -> Answer:
    """Answer with a view."""
    return Answer(200, _encode(view))


def created(view: msgspec.Struct) -> Answer:
    """Answer that something new is there, which is no resource that could be read again."""
    return Answer(201, _encode(view))


def resource(view: msgspec.Struct, fields: Fields) -> Answer:
    """Answer a read with a resource under its entity tag, or with 304 when the caller has it already.

    Source: RFC 9110 13.1.2.
    """
    found = tagged(view)
    known = fields.get(b"if-none-match")
    if known is not None and _names(known.decode("latin-1"), found.headers["ETag"], is_weak_enough=True):
        return Answer(_NOT_MODIFIED, b"", found.headers)
    return found


def if_match_check(request_headers: Headers) -> Callable[[User], bool]:
    """Give the check of `If-Match` against an account; without the header every account passes.

    Source: RFC 9110 13.1.1.
    """
    wanted = request_headers.get("if-match")
    if wanted is None:
        return lambda _user: True
    _names(wanted, "", is_weak_enough=False)  # refuses a malformed header before anything is read
    return lambda user: _names(wanted, entity_tag(_encode(UserView.of(user))), is_weak_enough=False)


def require_if_match(view: msgspec.Struct, request_headers: Headers) -> None:
    """Hold `If-Match` against a representation.

    Raises:
        PreconditionFailed: the header does not name it.
    """
    wanted = request_headers.get("if-match")
    if wanted is not None and not _names(wanted, entity_tag(_encode(view)), is_weak_enough=False):
        raise PreconditionFailed


def reject_if_match(request_headers: Headers) -> None:
    """Hold `If-Match` against a resource that never had an entity tag: only `*` can be meant.

    Raises:
        PreconditionFailed: the header names one.
    """
    wanted = request_headers.get("if-match")
    if wanted is not None and not _names(wanted, "", is_weak_enough=False):
        raise PreconditionFailed


def _names(header: str, tag: str, *, is_weak_enough: bool) -> bool:
    if header.strip() == "*":
        return True
    if not _TAGS.fullmatch(header):
        raise MalformedRequest("An entity tag header could not be read.")
    return any(value == tag and (is_weak_enough or not weak) for weak, value in _TAG.findall(header))
