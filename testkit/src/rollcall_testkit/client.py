"""Users, sessions and API keys for a test, created through the service's own API."""

from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from rollcall_testkit.errors import ApiError
from rollcall_testkit.http import Response, send
from rollcall_testkit.mailbox import Mailbox
from rollcall_testkit.totp import AuthenticatorApp

PASSWORD = "mauve otter sings at dawn"
SCOPES = ("users:read", "users:write", "admins:write", "sessions:introspect", "events:read")


class Caller:
    """A caller with a token."""

    token: str

    @property
    def headers(self) -> dict[str, str]:
        """The header that authenticates a request."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class User(Caller):
    """A user with a session, as it was when the session was opened."""

    id: str
    login_id: str
    name: str
    role: str
    password: str
    token: str
    session_id: str
    totp: AuthenticatorApp | None = None
    """The user's authenticator app, if it has one."""


@dataclass(frozen=True)
class ApiKey(Caller):
    """An API key, as another service has it."""

    id: str
    name: str
    scopes: tuple[str, ...]
    token: str


class Rollcall:
    """The service, with a method for everything that tests need often.

    All methods send HTTP requests, as the administrator `root` unless noted. They raise ApiError for an
    error; only `request` returns responses of any status.
    """

    def __init__(self, url: str, root: User, mailbox: Mailbox | None = None) -> None:
        self.url = url
        self.root = root
        self._mailbox = mailbox
        self._numbers = count(1)

    @property
    def mailbox(self) -> Mailbox:
        """The mails of the users since the start of the test."""
        if self._mailbox is None:
            raise RuntimeError("the mails of this service are not known")
        return self._mailbox

    def user(
        self,
        login_id: str | None = None,
        name: str | None = None,
        *,
        password: str = PASSWORD,
        role: Literal["user", "admin"] = "user",
        email: str | None = None,
        totp: bool = False,
    ) -> User:
        """Create a user and log it in; `email` is its verified address.

        With `totp` it has an authenticator app, and the session two factors.
        """
        number = next(self._numbers)
        login_id = login_id or f"{role}{number}"
        body = {"login_id": login_id, "name": name or f"{role.title()} {number}", "password": password}
        address = {"email": email, "email_verified": True} if email is not None else {}
        self._call("POST", "/v1/users", {**body, **address, "role": role, "must_change": False})
        user = self.log_in(login_id, password)
        return self.enroll_totp(user) if totp else user

    def admin(
        self,
        login_id: str | None = None,
        name: str | None = None,
        *,
        password: str = PASSWORD,
        totp: bool = False,
    ) -> User:
        """Create an administrator and log it in; `totp` as for `user`."""
        return self.user(login_id, name, password=password, role="admin", totp=totp)

    def key(self, *scopes: str, name: str = "test") -> ApiKey:
        """Create an API key with these scopes, by default with all of them."""
        created = self._call("POST", "/v1/keys", {"name": name, "scopes": scopes or SCOPES})
        key = created["api_key"]
        return ApiKey(key["id"], key["name"], tuple(key["scopes"]), created["key"])

    def log_in(
        self, login_id: str, password: str = PASSWORD, *, totp: AuthenticatorApp | None = None
    ) -> User:
        """Open a session, an additional one if the user has some; with `totp`, by two factors."""
        return log_in(self.url, login_id, password, totp)

    def log_out(self, user: User) -> None:
        """End the user's session: its token is invalid from the next request on."""
        self._call("DELETE", "/v1/sessions/current", by=user)

    def disable(self, user: User) -> None:
        """Disable the user, which ends all of its sessions."""
        self._call("PATCH", f"/v1/users/{user.id}", {"state": "disabled"})

    def delete(self, user: User) -> None:
        """Delete the user with everything that belongs to it."""
        self._call("DELETE", f"/v1/users/{user.id}")

    def revoke(self, key: ApiKey) -> None:
        """Revoke the API key."""
        self._call("DELETE", f"/v1/keys/{key.id}")

    def enroll_totp(self, user: User) -> User:
        """Give the user an authenticator app, and the session two factors; return the user with it."""
        app = AuthenticatorApp(self._call("POST", "/v1/users/me/totp", by=user)["secret"])
        self._call("POST", "/v1/users/me/totp/confirm", {"code": app.code()}, by=user)
        return replace(user, totp=app)

    def request(self, method: str, path: str, json: object = None, *, by: Caller | None = None) -> Response:
        """Send any request, unauthenticated unless `by` is given, and return the response of any status."""
        return send(self.url, method, path, json, by.headers if by else None)

    def _call(self, method: str, path: str, json: object = None, *, by: Caller | None = None) -> Any:
        return json_of(self.request(method, path, json, by=by or self.root))


def log_in(url: str, login_id: str, password: str, totp: AuthenticatorApp | None = None) -> User:
    """Open a session at the service with this URL.

    Raises: ApiError.
    """
    response = send(url, "POST", "/v1/sessions", {"login_id": login_id, "password": password})
    if totp is not None and (challenge := response.json().get("challenge")):
        response = send(url, "POST", "/v1/sessions", {"challenge": challenge, "totp": totp.code()})
    opened = json_of(response)
    user, session_id = opened["user"], opened["session"]["id"]
    return User(
        user["id"], user["login_id"], user["name"], user["role"], password, opened["token"], session_id, totp
    )


def json_of(response: Response) -> Any:
    """Return the body of a successful response.

    Raises: ApiError.
    """
    body = response.json()
    if response.status >= 400:
        fields = [f"{error['pointer']} {error['detail']}" for error in body.get("errors", ())]
        raise ApiError(response.status, body["code"], " ".join([body["detail"], *fields]))
    return body
