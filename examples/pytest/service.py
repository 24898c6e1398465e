"""A small application that lets in whoever Rollcall knows (RFC 7662). Its name is no trouble to the kit."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from settings import Settings


def greet(headers: Mapping[str, str], settings: Settings) -> tuple[int, str]:
    """Answer a request: 200 with a greeting, or 401."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    known = _introspect(token, settings) if scheme == "Bearer" else {"active": False}
    return (200, f"Good morning, {known['username']}.") if known["active"] else (401, "Who are you?")


def _introspect(token: str, settings: Settings) -> dict[str, Any]:
    form = urllib.parse.urlencode({"token": token}).encode()
    headers = {"Authorization": f"Bearer {settings.rollcall_key}"}
    request = urllib.request.Request(f"{settings.rollcall_url}/v1/introspect", form, headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        known: dict[str, Any] = json.load(answer)
        return known
