"""An authenticator app: the codes of a key, each good for one login."""

import time
from base64 import b32decode
from hmac import digest

_PERIOD_SECONDS = 30
_DIGITS = 6
_LATENCY_SECONDS = 5
"""Time for a code to reach the service before it is too old."""


class AuthenticatorApp:
    """The app of one user, which remembers what it has shown.

    The service takes the codes of this half minute, of the one before and of the next, each once and in this
    order. So two are good at any time, mostly three.
    """

    def __init__(self, secret: str) -> None:
        """Scan a key, in base32."""
        self.secret = secret
        self._last_step = -1

    def code(self) -> str:
        """Return the earliest code that was not used; wait until the service takes it."""
        earliest = int(_now() + _LATENCY_SECONDS) // _PERIOD_SECONDS - 1
        step = max(earliest, self._last_step + 1)
        if (wait := (step - 1) * _PERIOD_SECONDS - _now()) > 0:
            time.sleep(wait)
        self._last_step = step
        return code_at(self.secret, step)


def code_at(secret: str, step: int) -> str:
    """Return the code of a time step, half a minute long, since 1970. Source: RFC 6238 4.2, RFC 4226 5.3."""
    mac = digest(b32decode(secret + "=" * (-len(secret) % 8)), step.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


def _now() -> float:
    """Return the time of the service, also in a test that has frozen `time.time()`."""
    return time.clock_gettime(time.CLOCK_REALTIME)
