"""Introspect, or revoke, with requests-oauth2client."""

import os
import sys

from requests_oauth2client import ClientSecretBasic, OAuth2Client

url, key, token = (os.environ[name] for name in ("ROLLCALL_URL", "ROLLCALL_KEY", "TOKEN"))
gateway = OAuth2Client(
    token_endpoint=f"{url}/v1/tokens",
    introspection_endpoint=f"{url}/v1/introspect",
    revocation_endpoint=f"{url}/v1/revoke",
    auth=ClientSecretBasic("gateway", key),
    testing=True,
)
if sys.argv[1:] == ["revoke"]:
    assert gateway.revoke_token(token)
else:
    answer = gateway.introspect_token(token)
    print(answer["username"] if answer["active"] else "refused")
