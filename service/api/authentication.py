"""From the Authorization header to the caller: one indexed query, no cache.

Nothing is kept between requests, so that a logout, a disabled user or a lost role takes effect with the next
request, on every worker. Source: OWASP ASVS 5.0 7.4.1, 7.4.2, 8.3.2.
"""

from service.db.reads import Reads
from service.domain.callers import ANONYMOUS, Caller, CallerKind
from service.domain.errors import InvalidToken, Unauthenticated
from service.security.tokens import API_KEY_PREFIX, SESSION_PREFIX, digest_of
from service.usecases.last_used import LastUsedTracker


def bearer_token(authorization: str) -> str | None:
    """Return the token in an Authorization header; None if the scheme is not Bearer. Source: RFC 6750 2.1."""
    scheme, _, token = authorization.partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


class Authenticator:
    """Look up callers by their tokens, and record when a session or key was last used."""

    def __init__(self, reads: Reads, last_used: LastUsedTracker) -> None:
        self._reads = reads
        self._last_used = last_used

    async def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller behind an Authorization header. Source: RFC 6750 2.1.

        Raises:
            Unauthenticated: the scheme is not Bearer.
            InvalidToken: the token is unknown, expired or revoked, or its user disabled.
        """
        if authorization is None:
            return ANONYMOUS
        token = bearer_token(authorization)
        if token is None:
            raise Unauthenticated
        if (digest := digest_of(token, SESSION_PREFIX)) is not None:
            return await self._user_by_session(digest)
        if (digest := digest_of(token, API_KEY_PREFIX)) is not None:
            return await self._key_by_token(digest)
        raise InvalidToken

    async def _user_by_session(self, digest: bytes) -> Caller:
        found = await self._reads.sessions.find_open(digest)
        if found is None:
            raise InvalidToken
        self._last_used.record_session(found.session.id, found.idle_for)
        return Caller(CallerKind.USER, authenticated_session=found)

    async def _key_by_token(self, digest: bytes) -> Caller:
        key = await self._reads.keys.find_live(digest)
        if key is None:
            raise InvalidToken
        self._last_used.record_key(key.id)
        return Caller(CallerKind.KEY, key=key)
