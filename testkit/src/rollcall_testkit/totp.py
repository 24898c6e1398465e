"""An authenticator app: the codes of a key, each good for one login."""

import time
from base64 import b32decode
from hmac import digest

_PERIOD_SECONDS = 30
_DIGITS = 6


class NoCodeLeft(Exception):
    """Every code that the service takes now has been used; the next one is valid half a minute later."""


class AuthenticatorApp:
    """The app of one user, which remembers what it has shown.

    The service takes the codes of this half minute, of the one before and of the next, each once and in this
    order. So three are good at any time, and `Rollcall.user(totp=True)` uses the first.
    """

    def __init__(self, secret: str) -> None:
        """Scan a key, in base32."""
        self.secret = secret
        self._last_step = -1

    def code(self) -> str:
        """Return a code that was not used yet.

        Raises: NoCodeLeft after three within half a minute.
        """
        current = int(time.time()) // _PERIOD_SECONDS
        step = max(current - 1, self._last_step + 1)
        if step > current + 1:
            raise NoCodeLeft("a user with totp=True logs in twice within half a minute; take another user")
        self._last_step = step
        return code_at(self.secret, step)


def code_at(secret: str, step: int) -> str:
    """Return the code of a time step, half a minute long, since 1970. Source: RFC 6238 4.2, RFC 4226 5.3."""
    mac = digest(b32decode(secret + "=" * (-len(secret) % 8)), step.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"
