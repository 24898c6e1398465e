"""Verify access tokens, one a line, with PyJWT."""

import os
import sys

import jwt

url, audience = os.environ["ROLLCALL_URL"], os.environ["AUDIENCE"]
# A key signs an hour after it was published, here after seconds; PyJWT reads keys again after 30 s.
keys = jwt.PyJWKClient(f"{url}/.well-known/jwks.json", cooldown_duration=0)
for line in sys.stdin:
    token = line.strip()
    try:
        key = keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=url)
        print(claims["sub"], flush=True)
    except jwt.PyJWTError:
        print("refused", flush=True)
