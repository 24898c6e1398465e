"""Session cookies for browsers: a request with the cookie counts as one with `Authorization: Bearer`.

A browser adds the cookie to requests of any page, so a request that is no read must prove that a page of an
allowed origin has made it. Source: OWASP ASVS 5.0 3.3.1 to 3.3.4, 3.5.1, 3.5.2; RFC 6265bis 4.1, 5.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from service.api.http.errors import MalformedRequest
from service.api.http.headers import HeaderMap
from service.api.http.response import HeaderFields, Response
from service.domain.errors import Forbidden

COOKIE: Final = b"__Host-rollcall"
"""The prefix makes browsers refuse a cookie of this name from another host, path or without TLS."""

BY_COOKIE: Final = "by_cookie"
"""Name in the state of a scope: whether the request is authenticated by the cookie."""

_ATTRIBUTES: Final = b"; Path=/; Secure; HttpOnly; SameSite=Lax"
_CLEARED: Final = (b"set-cookie", COOKIE + b"=" + _ATTRIBUTES + b"; Max-Age=0")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


class CookieSessions:
    """Reads, sets and clears the session cookie, if the settings enable it; otherwise ignores it."""

    def __init__(
        self, *, is_enabled: bool, origins: Iterable[str] = (), own_origin: str | None = None
    ) -> None:
        """Allow pages of `origins`, and of the service itself: at `own_origin`, else at its `Host`."""
        self.is_enabled: Final = is_enabled
        self._own_origin = own_origin
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def authorization_in(self, fields: HeaderMap, method: str) -> bytes | None:
        """Return the session cookie as a value of `Authorization`; None without one.

        Raises:
            MalformedRequest: there is an `Authorization` too: nobody should have to guess which one counts.
            Forbidden: the request may change something, and no page of an allowed origin has made it.
        """
        token = _token_in(fields.get(b"cookie")) if self.is_enabled else None
        if token is None:
            return None
        if b"authorization" in fields:
            raise MalformedRequest("Send the session cookie or Authorization, not both.")
        if method not in _SAFE_METHODS:
            self.require_allowed_page(fields)
        return b"Bearer " + token

    def require_allowed_page(self, fields: HeaderMap) -> None:
        """Require that a page of the service or of an allowed origin has made the request.

        Raises:
            Forbidden: another one has, or the browser does not tell.
        """
        if fields.get(b"sec-fetch-site") == b"same-origin":
            return
        origin = fields.get(b"origin")
        if origin is None or not (origin in self._origins or origin == self._own(fields)):
            raise Forbidden("A request with the session cookie must come from a page of an allowed origin.")

    def _own(self, fields: HeaderMap) -> bytes:
        if self._own_origin is not None:
            return self._own_origin.encode("ascii")
        return b"https://" + fields.get(b"host", b"")


def set_cookie(token: str, lifetime: timedelta) -> HeaderFields:
    """Return the header field that lets a browser keep a session token, out of reach of scripts."""
    max_age = b"; Max-Age=%d" % lifetime.total_seconds()
    return ((b"set-cookie", COOKIE + b"=" + token.encode("ascii") + _ATTRIBUTES + max_age),)


def with_cookie_cleared(response: Response) -> Response:
    """Return the response with a field that deletes the cookie."""
    return Response(response.status, response.body, (*response.headers, _CLEARED), response.media_type)


def _token_in(cookies: bytes | None) -> bytes | None:
    """Return the value of the session cookie if it is there once. Source: RFC 6265 4.2.1, 5.4."""
    if cookies is None or COOKIE not in cookies:
        return None
    pairs = (pair.strip(b" ").partition(b"=") for pair in cookies.split(b";"))
    values = [value for name, _, value in pairs if name == COOKIE]
    return values[0] if len(values) == 1 and values[0] else None
