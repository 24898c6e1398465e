"""Introspect, or revoke, with Authlib."""

import os
import sys

from authlib.integrations.requests_client import OAuth2Session

url, key, token = (os.environ[name] for name in ("ROLLCALL_URL", "ROLLCALL_KEY", "TOKEN"))
session = OAuth2Session("gateway", key)
if sys.argv[1:] == ["revoke"]:
    session.revoke_token(f"{url}/v1/revoke", token=token).raise_for_status()
else:
    response = session.introspect_token(f"{url}/v1/introspect", token=token)
    response.raise_for_status()
    print(response.json().get("username", "") if response.json()["active"] else "refused")
