"""The service that clients are pointed at, and what a running client can do."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from harness.service_process import ROOT, ServiceProcess

LOGIN: Final = "ada@example.org"
REFUSED: Final = "refused"
AUDIENCE: Final = "https://orders.example.org"
OTHER_AUDIENCE: Final = "https://billing.example.org"
OK: Final = "ok"
PASSWORD: Final = "mauve otter sings at dawn"
_RECIPES: Final = ROOT / "docs/integrations.md"

Ask: TypeAlias = Callable[[str], str]
"""Returns whom a client reads from a token, or `refused`: the login id, or the subject of an access token."""


@dataclass(frozen=True)
class Target:
    """The address of a running service, and an API key that may introspect."""

    url: str
    key: str

    @property
    def port(self) -> int:
        """The port of the service."""
        return int(self.url.rpartition(":")[2])


@dataclass(frozen=True)
class Running:
    """A client that runs. `revoke` ends a session, if the client can."""

    ask: Ask
    revoke: Callable[[str], None] | None


class Accounts:
    """Ada's sessions at the service."""

    def __init__(self, service: ServiceProcess) -> None:
        """Create Ada and an API key, as the administrator of the first run."""
        self._service = service
        root = self._log_in("root", service.first_password() or "")
        ada = {"login_id": LOGIN, "name": "Ada Lovelace", "password": PASSWORD, "must_change": False}
        self.subject: str = service.request("POST", "/v1/users", root, ada).raise_for_status().json()["id"]
        key = {"name": "gateway", "scopes": ["sessions:introspect"]}
        self.key: str = service.request("POST", "/v1/keys", root, key).raise_for_status().json()["key"]

    def log_in(self) -> str:
        """Return the token of a new session."""
        return self._log_in(LOGIN, PASSWORD)

    def issue(self, token: str, audience: str) -> str:
        """Return an access token of a session."""
        issued = self._service.request("POST", "/v1/tokens", token, {"audience": audience})
        found: str = issued.raise_for_status().json()["access_token"]
        return found

    def log_out(self, token: str) -> None:
        """End a session."""
        self._service.request("DELETE", "/v1/sessions/current", token).raise_for_status()

    def is_live(self, token: str) -> bool:
        """Return whether the service accepts a token."""
        return self._service.request("GET", "/v1/users/me", token).status_code == 200

    def _log_in(self, login_id: str, password: str) -> str:
        opened = self._service.request(
            "POST", "/v1/sessions", json={"login_id": login_id, "password": password}
        )
        token: str = json.loads(opened.raise_for_status().text)["token"]
        return token


def verdict(told: str, wanted: str) -> str:
    """Return `ok` if a client said what was wanted, or else what it said."""
    return OK if told == wanted else f"{told!r}, not {wanted!r}"


def recipe(title: str) -> str:
    """Return the first block of code below a heading of docs/integrations.md.

    Raises: LookupError without one.
    """
    text = _RECIPES.read_text(encoding="utf-8")
    block = rf"^### {re.escape(title)}(?: ✓)?\n.*?^```\w*\n(.*?)^```"
    found = re.search(block, text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"docs/integrations.md has no recipe for {title}")
    return found[1]
