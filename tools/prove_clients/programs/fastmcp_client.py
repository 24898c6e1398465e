"""Verify a token as an MCP server does, with FastMCP."""

import asyncio
import os

from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier

url, key, token = (os.environ[name] for name in ("ROLLCALL_URL", "ROLLCALL_KEY", "TOKEN"))
verifier = IntrospectionTokenVerifier(
    introspection_url=f"{url}/v1/introspect", client_id="gateway", client_secret=key
)
found = asyncio.run(verifier.verify_token(token))
print(found.claims["username"] if found is not None else "refused")
