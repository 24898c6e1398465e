"""`python -m service.healthcheck [live|ready]`: ask the service of this container whether it is well.

A proxy that the environment names is not used: it would not reach the loopback of this machine. Only the
standard library is imported, as a container asks every few seconds.
"""

import http.client
import os
import sys

_TIMEOUT_S = 2.0
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


def main() -> int:
    """Return 0 if the service responds with 200, 1 otherwise."""
    host = os.environ.get("ROLLCALL_HTTP__HOST", "")
    port = os.environ.get("ROLLCALL_HTTP__PORT") or "8000"
    try:
        connection = http.client.HTTPConnection(_ANY.get(host, host), int(port), timeout=_TIMEOUT_S)
        connection.request("GET", f"/health/{sys.argv[1] if len(sys.argv) > 1 else 'live'}")
        return int(connection.getresponse().status != http.client.OK)
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
