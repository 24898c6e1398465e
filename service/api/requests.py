"""A request as an endpoint sees it."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import msgspec
from litestar.types import HTTPScope

from service.api.http.client_address import rate_limit_networks
from service.api.http.headers import HeaderMap
from service.api.operations import Operation
from service.domain.callers import Caller
from service.domain.errors import Forbidden
from service.domain.events import AuditContext
from service.domain.sessions import AuthenticatedSession
from service.domain.users import User
from service.usecases.idempotency import IdempotencyKey

StructT = TypeVar("StructT", bound=msgspec.Struct)

_USER_AGENT_MAX = 255


@dataclass(slots=True, eq=False)
class OperationRequest:
    """A request that is authenticated, authorized and parsed as its operation declares."""

    operation: Operation
    caller: Caller
    scope: HTTPScope
    fields: HeaderMap
    path_id: UUID | None = None
    query_value: msgspec.Struct | None = None
    body_value: msgspec.Struct | None = None
    idempotency_key: IdempotencyKey | None = None

    @property
    def path(self) -> str:
        """The decoded path as it was sent."""
        return self.scope["path"]

    @property
    def if_match(self) -> str | None:
        """The `If-Match` header."""
        return self.header(b"if-match")

    @property
    def subject_id(self) -> UUID:
        """The id in the path. For a user, `me` is resolved and the caller authorized."""
        if self.path_id is None:
            raise TypeError(f"{self.operation.path} has no placeholder")
        return self.path_id

    @property
    def session(self) -> AuthenticatedSession:
        """The caller's session.

        Raises:
            Forbidden: the caller has none.
        """
        session = self.caller.authenticated_session
        if session is None:
            raise Forbidden
        return session

    @property
    def own_user(self) -> User | None:
        """The caller's user if it is the one in the path; authentication has read it already."""
        session = self.caller.authenticated_session
        return session.user if session is not None and session.user.id == self.path_id else None

    @property
    def context(self) -> AuditContext:
        """What the audit trail and the throttle record about the request."""
        ip = self.scope["state"]["client_ip"]
        return AuditContext(
            self.caller,
            ip=ip,
            networks=rate_limit_networks(ip),
            request_id=self.scope["state"]["request_id"],
            user_agent=_sanitize_user_agent(self.header(b"user-agent")),
        )

    def header(self, name: bytes) -> str | None:
        """Return a header field by its lower-case name."""
        value = self.fields.get(name)
        return value.decode("latin-1") if value is not None else None

    def body(self, type_: type[StructT]) -> StructT:
        """Return the body, which has the type that the operation declares."""
        return _require_type(self.body_value, type_)

    def query(self, type_: type[StructT]) -> StructT:
        """Return the query, which has the type that the operation declares."""
        return _require_type(self.query_value, type_)


def _require_type(value: msgspec.Struct | None, type_: type[StructT]) -> StructT:
    if not isinstance(value, type_):
        raise TypeError(f"the operation does not declare {type_.__name__}")
    return value


def _sanitize_user_agent(user_agent: str | None) -> str | None:
    """Keep the printable ASCII of a User-Agent, which is the client's to choose."""
    if user_agent is None:
        return None
    return "".join(character for character in user_agent if " " <= character <= "~")[:_USER_AGENT_MAX]
