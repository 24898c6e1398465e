"""Access tokens: signed statements about a session, which other services verify by themselves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from service.domain.errors import NotFound, UnknownAudience
from service.domain.sessions import AuthenticatedSession
from service.domain.signing import AccessTokenPolicy, SigningKey
from service.security.ids import new_id

if TYPE_CHECKING:  # imports cryptography and PyJWT, a third of a second that few starts need (ADR 19)
    from service.usecases.signing_keys import SigningKeyRing


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token, and its lifetime in whole seconds."""

    token: str
    expires_in: int


class AccessTokenIssuer:
    """Issues access tokens for sessions, if the settings enable them."""

    def __init__(self, policy: AccessTokenPolicy | None, ring: Optional["SigningKeyRing"]) -> None:
        self.policy = policy
        self.ring = ring
        self.issued_total = 0

    async def published_keys(self) -> list[SigningKey]:
        """List the keys that verify tokens.

        Raises:
            NotFound: access tokens are not enabled.
            DatabaseUnavailable: the keys cannot be read.
        """
        if self.ring is None:
            raise NotFound
        return await self.ring.list_published()

    async def issue(self, authenticated: AuthenticatedSession, audience: str) -> AccessToken:
        """Return a token for one audience, which ends with its session at the latest.

        A session that ends early, by logout say, leaves its tokens valid for the rest of their lifetime.

        Raises:
            NotFound: access tokens are not enabled.
            UnknownAudience: no such audience is configured.
            DatabaseUnavailable: the signing keys cannot be read.
        """
        if self.policy is None or self.ring is None:
            raise NotFound
        if audience not in self.policy.audiences:
            raise UnknownAudience
        claims = claims_of(authenticated, audience, self.policy)
        signer = await self.ring.signer_at(authenticated.session.created_at + authenticated.age)
        token = signer.sign(claims)
        self.issued_total += 1
        return AccessToken(token, claims["exp"] - claims["iat"])


def claims_of(
    authenticated: AuthenticatedSession, audience: str, policy: AccessTokenPolicy
) -> dict[str, Any]:
    """Return the claims of a token, by the database's clock. Source: RFC 9068 2.2, OpenID Connect Core 2."""
    session, user = authenticated.session, authenticated.user
    now = session.created_at + authenticated.age
    expires_at = min(now + policy.ttl, session.expires_at, session.idle_expires_at)
    return {
        "iss": policy.issuer,
        "aud": audience,
        "sub": str(user.id),
        "client_id": policy.client_id,
        "sid": str(session.id),
        "role": user.role.value,
        "auth_time": int(session.auth_time.timestamp()),
        "amr": list(session.amr),
        "acr": str(session.assurance.value),
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "jti": str(new_id()),
    }
