"""Token introspection for other services."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.db.reads import Reads
from service.domain.keys import ApiKey
from service.domain.sessions import AuthenticatedSession
from service.security.tokens import API_KEY_PREFIX, SESSION_PREFIX, digest_of


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """A live token and its subject. Source: RFC 7662 2.2."""

    subject_id: UUID
    username: str | None
    """The login id; a key has none, because its name might be another's login id."""
    issued_at: datetime
    expires_at: datetime | None
    scope: str
    client_id: UUID | None = None
    session_id: UUID | None = None


async def introspect(reads: Reads, token: str) -> ActiveToken | None:
    """Return what a token stands for, or None for a token that must not be accepted.

    A session that may only change its password is not active here.

    Source: RFC 7662 2.2.
    """
    if (digest := digest_of(token, SESSION_PREFIX)) is not None:
        return _of_session(await reads.sessions.find_open(digest))
    if (digest := digest_of(token, API_KEY_PREFIX)) is not None:
        return _of_key(await reads.keys.find_live(digest))
    return None


def _of_session(found: AuthenticatedSession | None) -> ActiveToken | None:
    if found is None or found.user.must_change:
        return None
    session, user = found.session, found.user
    expires_at = min(session.expires_at, session.idle_expires_at)
    return ActiveToken(
        user.id, user.login_id, session.created_at, expires_at, user.role.value, session_id=session.id
    )


def _of_key(key: ApiKey | None) -> ActiveToken | None:
    if key is None:
        return None
    return ActiveToken(key.id, None, key.created_at, key.expires_at, " ".join(key.scopes), client_id=key.id)
