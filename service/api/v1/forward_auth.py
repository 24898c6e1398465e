"""Forward authentication: gateways ask about each request of their visitors.

A gateway decides by the status and copies header fields; what its visitor sends must not change either. The
identity is what the token says and nothing else. Source: RFC 9110 5.5 (field values).
"""

from typing import Final
from urllib.parse import parse_qsl, quote

from service.api.http.response import HeaderFields, Response
from service.api.operations import ResponseSpec, get
from service.api.requests import OperationRequest
from service.api.responses import ok_without_body
from service.domain.callers import Access, Caller
from service.domain.errors import Forbidden, PasswordChangeRequired
from service.domain.users import User, UserRole

_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")
_FIELDS: Final = ("X-User-Id", "X-User-Login", "X-User-Name", "X-User-Role", "X-Scope", "Remote-User")


@get(
    "/v1/forward-auth",
    description="For `auth_request`, `forward_auth`, ForwardAuth, ext_authz: any method, here and on every "
    "path below. Body, conditional fields and query are ignored, but for `role` and `scope` on this very "
    "path: each has to be held, else 403. `X-User-Id` and the like name the caller, percent-encoded; a field "
    "that does not apply is empty. A use of the session.",
    tag="sessions",
    access=Access(owner=True, any_key=True),
    responses={200: ResponseSpec("The caller is who the header says.", headers=_FIELDS)},
    errors=(PasswordChangeRequired,),
    is_forwarded=True,
)
async def forward_auth(request: OperationRequest) -> Response:
    """Authenticate the request of a gateway's visitor."""
    caller = request.caller
    if request.path == request.operation.path:
        _require(caller, request.scope["query_string"])
    return ok_without_body(_identity_of(caller))


def _require(caller: Caller, query_string: bytes) -> None:
    """Require every role and scope that a query names.

    Raises:
        Forbidden: the caller lacks one, or there is no such one.
    """
    if not query_string:
        return
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    roles = {value for name, value in pairs if name == "role"}
    scopes = {word for name, value in pairs if name == "scope" for word in value.split()}
    if not (roles <= _roles_of(caller) and scopes <= set(_scope_of(caller).split())):
        raise Forbidden


def _roles_of(caller: Caller) -> set[str]:
    """Return the roles that a caller holds: an administrator is a user too, and a key is neither."""
    if caller.user is None:
        return set()
    return {UserRole.USER.value, caller.user.role.value}


def _scope_of(caller: Caller) -> str:
    """Return the scope that introspection reports for the caller."""
    if caller.key is not None:
        return " ".join(caller.key.scopes)
    return caller.user.role.value if caller.user is not None else ""


def _identity_of(caller: Caller) -> HeaderFields:
    """Return the caller as header fields.

    Every field is there, so that a gateway that copies it replaces what its visitor sent. The name of a key
    might be another's login id, and is left out.
    """
    login, name, role = _described(caller.user)
    return (
        (b"x-user-id", str(caller.id).encode()),
        (b"x-user-login", login),
        (b"x-user-name", name),
        (b"x-user-role", role),
        (b"x-scope", _scope_of(caller).encode()),
        (b"remote-user", login),
    )


def _described(user: User | None) -> tuple[bytes, bytes, bytes]:
    """Return login id, name and role: visible ASCII alone, everything else percent-encoded."""
    if user is None:
        return b"", b"", b""
    login = quote(user.login_id, safe=_VISIBLE).encode()
    return login, quote(user.name, safe="").encode(), user.role.value.encode()
