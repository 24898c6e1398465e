"""Token introspection for other services."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from service.db.reads import Reads
from service.domain.keys import ApiKey
from service.domain.sessions import AuthenticatedSession, Session
from service.domain.users import User
from service.security.tokens import API_KEY_PREFIX, SESSION_PREFIX, digest_of
from service.usecases.last_used import LastUsedTracker
from service.usecases.policies import Policies


class ActiveToken(NamedTuple):
    """A live token and its subject. Source: RFC 7662 2.2."""

    subject_id: UUID
    issuer: str | None
    issued_at: datetime
    expires_at: datetime | None
    scope: str
    user: User | None = None
    """Absent for a key, whose name might be another's login id."""
    client_id: UUID | None = None
    session: Session | None = None


async def introspect(
    reads: Reads, last_used: LastUsedTracker, token: str, *, policies: Policies
) -> ActiveToken | None:
    """Return what a token stands for, or None for a token that must not be accepted.

    The question is a use of the session or key: other services ask whenever they serve its owner. A session
    that may only change its password or enrol a second factor is not active here.

    Source: RFC 7662 2.2.
    """
    if (digest := digest_of(token, SESSION_PREFIX)) is not None:
        found = await reads.sessions.find_live(digest)
        if found is None or found.user.must_change or found.lacks_factor(policies.factors):
            return None
        last_used.record_session(found)
        return _of_session(found, policies)
    if (digest := digest_of(token, API_KEY_PREFIX)) is not None:
        key = await reads.keys.find_live(digest)
        if key is None:
            return None
        last_used.record_key(key.id)
        return _of_key(key, policies)
    return None


def _of_session(found: AuthenticatedSession, policies: Policies) -> ActiveToken:
    session, user = found.session, found.user
    expires_at = min(session.expires_at, session.idle_expires_at)
    return ActiveToken(
        subject_id=user.id,
        issuer=policies.issuer,
        issued_at=session.created_at,
        expires_at=_capped(expires_at, session.created_at + found.age, policies.introspection_max_age),
        scope=user.role.value,
        user=user,
        session=session,
    )


def _of_key(key: ApiKey, policies: Policies) -> ActiveToken:
    now = key.created_at + (key.age or timedelta(0))
    return ActiveToken(
        subject_id=key.id,
        issuer=policies.issuer,
        issued_at=key.created_at,
        expires_at=_capped(key.expires_at, now, policies.introspection_max_age),
        scope=" ".join(key.scopes),
        client_id=key.id,
    )


def _capped(expires_at: datetime | None, now: datetime, max_age: timedelta | None) -> datetime | None:
    if max_age is None:
        return expires_at
    return now + max_age if expires_at is None else min(expires_at, now + max_age)
