"""Time-based one-time passwords, as every authenticator app computes them. Source: RFC 6238, RFC 4226."""

import re
import secrets
from base64 import b32encode
from datetime import datetime
from hmac import compare_digest
from typing import Final
from urllib.parse import quote, urlencode

SECRET_BYTES: Final = 20
DIGITS: Final = 6
PERIOD_SECONDS: Final = 30

_WINDOW: Final = (-1, 0, 1)
"""Steps around the current one, for clocks that differ. Source: RFC 6238 5.2, 6."""
_CODE: Final = re.compile(rf"[0-9]{{{DIGITS}}}")
_MAX_CHARACTERS: Final = 32


def new_totp_secret() -> bytes:
    """Return a secret of 160 random bits, as long as the HMAC's output.

    Source: RFC 4226 4 (R6); RFC 6238 5.1; OWASP ASVS 5.0 6.5.3.
    """
    return secrets.token_bytes(SECRET_BYTES)


def base32_of(secret: bytes) -> str:
    """Return the secret as people type it into an authenticator app. Source: RFC 4648 6."""
    return b32encode(secret).decode("ascii").rstrip("=")


def otpauth_uri(secret: bytes, *, issuer: str, account: str) -> str:
    """Return the URI for the QR code that authenticator apps scan."""
    parameters = {
        "secret": base32_of(secret),
        "issuer": issuer,
        "algorithm": "SHA1",
        "digits": DIGITS,
        "period": PERIOD_SECONDS,
    }
    # `quote`: apps show the plus sign that cryptography's own URI has for a space.
    query = urlencode(parameters, quote_via=quote, safe="")
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='')}?{query}"


def matching_step(secret: bytes, code: str, at: datetime, *, after_step: int | None) -> int | None:
    """Return the time step whose code this is, or None.

    A step counts once: pass the last accepted one as `after_step`, and neither it nor an earlier one
    matches. Spaces in `code` are ignored. All steps are computed and compared in constant time.

    Source: RFC 6238 5.2 (a code is accepted once; one step of delay); OWASP ASVS 5.0 6.5.1, 6.5.5.
    """
    if (digits := _digits_of(code)) is None:
        return None
    current = int(at.timestamp()) // PERIOD_SECONDS
    steps = [current + offset for offset in _WINDOW]
    matches = [compare_digest(_code_at(secret, step), digits) for step in steps]
    earliest = 0 if after_step is None else after_step + 1
    unused = (step for step, is_equal in zip(steps, matches, strict=True) if is_equal and step >= earliest)
    return next(unused, None)


def _digits_of(code: str) -> bytes | None:
    if len(code) > _MAX_CHARACTERS:
        return None
    digits = code.replace(" ", "")
    return digits.encode("ascii") if _CODE.fullmatch(digits) else None


def _code_at(secret: bytes, step: int) -> bytes:
    # Few requests need cryptography, and its import is slow (ADR 19).
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.twofactor.hotp import HOTP

    return HOTP(secret, DIGITS, SHA1()).generate(step)  # noqa: S303 - HMAC-SHA-1, which RFC 6238 names
