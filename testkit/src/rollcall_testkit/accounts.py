"""Accounts, sessions and API keys for a test, all of them made through the service's own API."""

from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from rollcall_testkit.errors import Refused
from rollcall_testkit.http import Answer, send

PASSWORD = "mauve otter sings at dawn"
SCOPES = ("users:read", "users:write", "sessions:introspect")


class Bearer:
    """Somebody with a token."""

    token: str

    @property
    def headers(self) -> dict[str, str]:
        """The header that makes a request theirs."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Account(Bearer):
    """An account with a session, as it was when it was made."""

    id: str
    login_id: str
    name: str
    role: str
    password: str
    token: str
    session_id: str


@dataclass(frozen=True)
class ApiKey(Bearer):
    """An API key, as another service holds it."""

    id: str
    name: str
    scopes: tuple[str, ...]
    token: str


class Rollcall:
    """The service, and what a test wants from it in a word.

    Everything here goes through HTTP, as the administrator `root` where that takes a right. What the service
    refuses raises Refused; `request` alone gives any answer back.
    """

    def __init__(self, url: str, root: Account) -> None:
        self.url = url
        self.root = root
        self._numbers = count(1)

    def user(
        self,
        login_id: str | None = None,
        name: str | None = None,
        *,
        password: str = PASSWORD,
        role: Literal["user", "admin"] = "user",
    ) -> Account:
        """Create an account, and log it in."""
        number = next(self._numbers)
        login_id = login_id or f"{role}{number}"
        body = {"login_id": login_id, "name": name or f"{role.title()} {number}", "password": password}
        self._call("POST", "/v1/users", {**body, "role": role})
        return self.log_in(login_id, password)

    def admin(
        self, login_id: str | None = None, name: str | None = None, *, password: str = PASSWORD
    ) -> Account:
        """Create an administrator, and log it in."""
        return self.user(login_id, name, password=password, role="admin")

    def key(self, *scopes: str, name: str = "test") -> ApiKey:
        """Create an API key with these scopes, all of them when none is named."""
        answer = self._call("POST", "/v1/keys", {"name": name, "scopes": scopes or SCOPES})
        made = answer["api_key"]
        return ApiKey(made["id"], made["name"], tuple(made["scopes"]), answer["key"])

    def log_in(self, login_id: str, password: str = PASSWORD) -> Account:
        """Open a session, a further one if the account has one."""
        return log_in(self.url, login_id, password)

    def log_out(self, account: Account) -> None:
        """End the account's session: its token is nobody's at the next request."""
        self._call("DELETE", "/v1/sessions/current", by=account)

    def disable(self, account: Account) -> None:
        """Disable the account, which ends every session it has."""
        self._call("PATCH", f"/v1/users/{account.id}", {"state": "disabled"})

    def delete(self, account: Account) -> None:
        """Delete the account, and all that hangs on it."""
        self._call("DELETE", f"/v1/users/{account.id}")

    def revoke(self, key: ApiKey) -> None:
        """Revoke the API key."""
        self._call("DELETE", f"/v1/keys/{key.id}")

    def request(self, method: str, path: str, json: object = None, *, by: Bearer | None = None) -> Answer:
        """Send any request, as somebody or as nobody, and give the answer, whatever it is."""
        return send(self.url, method, path, json, by.headers if by else None)

    def _call(self, method: str, path: str, json: object = None, *, by: Bearer | None = None) -> Any:
        return granted(self.request(method, path, json, by=by or self.root))


def log_in(url: str, login_id: str, password: str) -> Account:
    """Open a session at the service of an address.

    Raises: Refused.
    """
    opened = granted(send(url, "POST", "/v1/sessions", {"login_id": login_id, "password": password}))
    user, session_id = opened["user"], opened["session"]["id"]
    return Account(
        user["id"], user["login_id"], user["name"], user["role"], password, opened["token"], session_id
    )


def granted(answer: Answer) -> Any:
    """Give what an answer says, if it is a yes.

    Raises: Refused.
    """
    body = answer.json()
    if answer.status >= 400:
        faults = [f"{fault['pointer']} {fault['detail']}" for fault in body.get("errors", ())]
        raise Refused(answer.status, body["code"], " ".join([body["detail"], *faults]))
    return body
