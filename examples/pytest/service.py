"""A small application that checks tokens with Rollcall (RFC 7662). Its name does not disturb the kit."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from settings import Settings


def greet(headers: Mapping[str, str], settings: Settings) -> tuple[int, str]:
    """Return 200 with a greeting, or 401."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    token_info = _introspect(token, settings) if scheme == "Bearer" else {"active": False}
    return (
        (200, f"Good morning, {token_info.get('username', 'service')}.")
        if token_info["active"]
        else (401, "Who are you?")
    )


def _introspect(token: str, settings: Settings) -> dict[str, Any]:
    form = urllib.parse.urlencode({"token": token}).encode()
    headers = {"Authorization": f"Bearer {settings.rollcall_key}"}
    request = urllib.request.Request(f"{settings.rollcall_url}/v1/introspect", form, headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        introspected: dict[str, Any] = json.load(response)
        return introspected
