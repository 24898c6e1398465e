"""A small client of Rollcall's API, standard library only: copy it, or read what a client must handle.

Try it: ROLLCALL_URL=http://127.0.0.1:8000 python client.py LOGIN_ID   (the password is asked for)
"""

import getpass
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

_RETRYABLE = frozenset({429, 503})
_MAX_BACKOFF_S = 10
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})


class ApiError(Exception):
    """The service responded with an error; `code` is stable and for programs, `detail` is for people."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code: str = problem.get("code", "")
        self.errors: list[dict[str, str]] = problem.get("errors", [])
        super().__init__(f"{status} {self.code}: {problem.get('detail', '')} ({problem.get('instance', '')})")


class Rollcall:
    """A client with a session token, an API key, or neither."""

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = 15, max_attempts: int = 3
    ) -> None:
        self._url, self._token, self._timeout_s, self._max_attempts = (
            url.rstrip("/"),
            token,
            timeout_s,
            max_attempts,
        )

    def log_in(self, login_id: str, password: str, device_token: str | None = None) -> dict[str, Any]:
        """Open a session and use it from now on. Keep `device_token`: it lowers the throttle for its user."""
        body = {"login_id": login_id, "password": password}
        if device_token is not None:
            body["device_token"] = device_token
        opened: dict[str, Any] = self.call("POST", "/v1/sessions", body)
        self._token = opened["token"]
        return opened

    def users(self, **filters: str) -> Iterator[dict[str, Any]]:
        """Yield all users, page by page."""
        cursor = ""
        while True:
            query = urllib.parse.urlencode({**filters, **({"cursor": cursor} if cursor else {})})
            page = self.call("GET", f"/v1/users?{query}" if query else "/v1/users")
            yield from page["items"]
            cursor = page["next_cursor"] or ""
            if not cursor:
                return

    def create_user(self, **fields: str) -> dict[str, Any]:
        """Create a user once, however often the request is repeated."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        created: dict[str, Any] = self.call("POST", "/v1/users", fields, key)
        return created

    def call(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
        """Send a request; repeat it as `Retry-After` says if that cannot apply it twice."""
        may_repeat = method in _IDEMPOTENT or "Idempotency-Key" in (headers or {})
        for attempt in range(1, self._max_attempts + 1):
            try:
                return self._send(method, path, body, headers or {})
            except urllib.error.HTTPError as error:
                problem = json.loads(error.read() or b"{}")
                is_retryable = error.code in _RETRYABLE and (
                    may_repeat or problem.get("code") != "outcome_unknown"
                )
                wait_s = int(error.headers.get("Retry-After", "1"))
                if not is_retryable or attempt == self._max_attempts or wait_s > _MAX_BACKOFF_S:
                    raise ApiError(error.code, problem) from None
                time.sleep(wait_s)
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, body: object, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self._token is not None:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
            return json.loads(response.read() or b"null")


if __name__ == "__main__":
    client = Rollcall(os.environ.get("ROLLCALL_URL", "http://127.0.0.1:8000"))
    try:
        client.log_in(sys.argv[1], getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().strip())
        print(json.dumps(client.call("GET", "/v1/users/me"), indent=2))
        client.call("DELETE", "/v1/sessions/current")
    except ApiError as error:
        sys.exit(str(error))
