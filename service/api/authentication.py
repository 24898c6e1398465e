"""From the Authorization header to the caller: one indexed query, no cache.

Nothing is kept between requests, so that a logout, a disabled user or a lost role takes effect with the next
request, on every worker. Source: OWASP ASVS 5.0 7.4.1, 7.4.2, 8.3.2.
"""

from base64 import b64decode
from typing import Final
from urllib.parse import unquote

from service.api.http.errors import InvalidClient
from service.db.reads import Reads
from service.domain.callers import ANONYMOUS, Caller, CallerKind
from service.domain.errors import InvalidToken, Unauthenticated
from service.domain.factors import FactorPolicy
from service.security.tokens import API_KEY_PREFIX, SESSION_PREFIX, digest_of
from service.usecases.last_used import LastUsedTracker

_NO_FACTORS: Final = FactorPolicy()


def bearer_token(authorization: str) -> str | None:
    """Return the token in an Authorization header; None if the scheme is not Bearer. Source: RFC 6750 2.1."""
    scheme, _, token = authorization.partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def client_secret(authorization: str) -> str | None:
    """Return the secret of an OAuth client in an Authorization header; None if there is none.

    The user name counts for nothing: the secret alone identifies an API key. It may be form-encoded, as RFC
    6749 says, or raw: base64url has no character that the encoding changes.

    Source: RFC 6749 2.3.1, RFC 6750 2.1, RFC 7617 2.
    """
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return bearer_token(authorization)
    try:
        decoded = b64decode(credentials.strip(" "), validate=True).decode("latin-1")
    except ValueError:
        return None
    return unquote(decoded.rpartition(":")[2])


class Authenticator:
    """Look up callers by their tokens, and record when a session or key was last used."""

    def __init__(self, reads: Reads, last_used: LastUsedTracker, factors: FactorPolicy = _NO_FACTORS) -> None:
        self._reads = reads
        self._last_used = last_used
        self._factors = factors

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
        return await self._caller_of(token)

    async def authenticate_client(self, authorization: str | None, body_secret: str | None) -> Caller:
        """Return the caller behind an OAuth client's credentials; the header wins over the body.

        Raises:
            InvalidClient: they are not those of a caller. Source: RFC 6749 2.3.1, 5.2.
        """
        secret = client_secret(authorization) if authorization is not None else body_secret
        if secret is None:
            if authorization is None:
                return ANONYMOUS
            raise InvalidClient
        try:
            return await self._caller_of(secret)
        except InvalidToken:
            raise InvalidClient from None

    async def _caller_of(self, token: str) -> Caller:
        if (digest := digest_of(token, SESSION_PREFIX)) is not None:
            return await self._user_by_session(digest)
        if (digest := digest_of(token, API_KEY_PREFIX)) is not None:
            return await self._key_by_token(digest)
        raise InvalidToken

    async def _user_by_session(self, digest: bytes) -> Caller:
        found = await self._reads.sessions.find_live(digest)
        if found is None:
            raise InvalidToken
        self._last_used.record_session(found)
        return Caller(
            CallerKind.USER,
            authenticated_session=found,
            lacks_factor=found.lacks_factor(self._factors),
        )

    async def _key_by_token(self, digest: bytes) -> Caller:
        key = await self._reads.keys.find_live(digest)
        if key is None:
            raise InvalidToken
        self._last_used.record_key(key.id)
        return Caller(CallerKind.KEY, key=key)
