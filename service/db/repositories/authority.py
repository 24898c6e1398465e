"""Whether a caller still has the rights that it was authenticated with.

Authentication is a read before the transaction, and a client decides how long it takes to send the body. A
revocation in between has to win. Source: OWASP ASVS 5.0 7.4.1, 7.4.2, 8.3.2.
"""

from sqlalchemy import ARRAY, Text, bindparam, literal_column, or_, select
from sqlalchemy import func as sql

from service.db.core.guard import Guard
from service.db.core.statements import Statement
from service.db.repositories.sessions import is_live
from service.db.tables import ApiKeyRow, SessionRow, UserRow
from service.domain.callers import Caller

_SESSION = Statement(
    select(SessionRow.id)
    .join(UserRow, UserRow.id == SessionRow.user_id)
    .where(
        SessionRow.id == bindparam("session_id"),
        is_live(),
        UserRow.state == literal_column("'active'"),
        UserRow.role == bindparam("role"),
        UserRow.must_change == bindparam("must_change"),
    )
)
_KEY = Statement(
    select(ApiKeyRow.id).where(
        ApiKeyRow.id == bindparam("key_id"),
        or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > sql.now()),
        ApiKeyRow.scopes.contains(bindparam("scopes", type_=ARRAY(Text))),
    )
)


def guard_of(caller: Caller) -> Guard | None:
    """Return the check that opens every transaction of a caller; None for an anonymous one and the operator.

    It locks nothing: a transaction that began before a revocation is concurrent with it. A lock held from
    the first statement on would be taken before that of the user, against the order of locks.
    """
    if (session := caller.authenticated_session) is not None:
        user = session.user
        params = {"session_id": session.session.id, "role": user.role.value, "must_change": user.must_change}
        return Guard("session_is_live", _SESSION, params)
    if (key := caller.key) is not None:
        return Guard("key_is_live", _KEY, {"key_id": key.id, "scopes": [scope.value for scope in key.scopes]})
    return None
