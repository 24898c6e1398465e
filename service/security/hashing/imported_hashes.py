"""Read and verify password hashes of other systems.

docs/operations.md lists the supported forms: argon2, bcrypt, scrypt, and PBKDF2 with SHA-256 or SHA-512, in
PHC or modular form and in Django's. The cost is bounded before anything is computed, because a stored hash
is untrusted input.
Source: OWASP ASVS 5.0 15.2.2; OWASP Password Storage Cheat Sheet.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import bcrypt
from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import Type, verify_secret

MAX_LENGTH = 512
MAX_MEMORY_KIB = 256 * 1024
MAX_ARGON2_ITERATIONS = 10
MAX_ARGON2_PARALLELISM = 16
MAX_BCRYPT_COST = 15
MAX_PBKDF2_ROUNDS = 5_000_000

_BCRYPT_BYTES = 72
_SCRYPT_SLACK_BYTES = 1 << 20
_DIGEST_SIZES = range(16, 65)
_SALT_SIZES = range(8, 129)

_ARGON2 = re.compile(
    r"(?:argon2)?(?P<phc>\$argon2(?P<kind>id|i|d)(?:\$v=(?:16|19))?\$m=(?P<m>{n}),t=(?P<t>{n}),p=(?P<p>{n})"
    r"\$(?P<salt>{b})\$(?P<digest>{b}))".format(n="[1-9][0-9]{0,9}", b="[A-Za-z0-9+/]+")
)
_BCRYPT = re.compile(
    r"(?P<django>bcrypt\$|bcrypt_sha256\$)?"
    r"(?P<setting>\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu])[./A-Za-z0-9]{30}[.CGKOSWaeimquy26]"
)
_PBKDF2 = re.compile(
    r"\$pbkdf2-(?P<hash>sha256|sha512)\$(?:i=)?(?P<rounds>[1-9][0-9]{0,9})(?:,l=[1-9][0-9]?)?"
    r"\$(?P<salt>[A-Za-z0-9+./]+)={0,2}\$(?P<digest>[A-Za-z0-9+./]+)={0,2}"
)
_PBKDF2_DJANGO = re.compile(
    r"pbkdf2_(?P<hash>sha256)\$(?P<rounds>[1-9][0-9]{0,9})\$(?P<text>[!-#%-~]+)\$(?P<digest>[A-Za-z0-9+/]+)={0,2}"
)
_SCRYPT = re.compile(
    r"\$scrypt\$ln=(?P<ln>[1-9][0-9]?),r=(?P<r>[1-9][0-9]{0,9}),p=(?P<p>[1-9][0-9]{0,9})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)={0,2}\$(?P<digest>[A-Za-z0-9+/]+)={0,2}"
)
_SCRYPT_DJANGO = re.compile(
    r"scrypt\$(?P<n>[1-9][0-9]{0,9})\$(?P<text>[!-#%-~]+)\$(?P<r>[1-9][0-9]{0,9})\$(?P<p>[1-9][0-9]{0,9})"
    r"\$(?P<digest>[A-Za-z0-9+/]+)={0,2}"
)
_ARGON2_KINDS = {"id": Type.ID, "i": Type.I, "d": Type.D}


class UnsupportedHash(ValueError):
    """The text is not a supported password hash; the message has the reason and repeats no input."""


@dataclass(frozen=True, slots=True)
class StoredHash:
    """A supported hash of bounded cost.

    `matches` takes the password in UTF-8. It needs `memory_kib`, else it raises MemoryError, and computes on
    `threads` threads.
    """

    matches: Callable[[bytes], bool]
    memory_kib: int = 0
    threads: int = 1


def check_importable(password_hash: str) -> str | None:
    """Return None if the hash can be imported, else the reason in one sentence."""
    try:
        read(password_hash)
    except UnsupportedHash as unsupported:
        return str(unsupported)
    return None


def read(password_hash: str) -> StoredHash:
    """Parse a hash; nothing is computed.

    Raises:
        UnsupportedHash: the format is unknown, the text is malformed, or the cost is too high.
    """
    if len(password_hash) <= MAX_LENGTH:
        for pattern, reader in _READERS:
            match = pattern.fullmatch(password_hash)
            if match is not None:
                return reader(match)
    raise UnsupportedHash("This is no password hash in a known form.")


def _read_argon2(match: re.Match[str]) -> StoredHash:
    memory_kib, iterations, parallelism = int(match["m"]), int(match["t"]), int(match["p"])
    _require_affordable(memory_kib <= MAX_MEMORY_KIB)
    _require_affordable(iterations <= MAX_ARGON2_ITERATIONS and parallelism <= MAX_ARGON2_PARALLELISM)
    _require_valid(memory_kib >= 8 * parallelism)
    _salt_and_digest(match)  # argon2 decodes them itself; their sizes are checked here
    matches = partial(_matches_argon2, match["phc"].encode(), _ARGON2_KINDS[match["kind"]])
    return StoredHash(matches, memory_kib, parallelism)


def _read_bcrypt(match: re.Match[str]) -> StoredHash:
    cost = int(match["cost"])
    _require_valid(4 <= cost <= 31)
    _require_affordable(cost <= MAX_BCRYPT_COST)
    is_prehashed = match["django"] == "bcrypt_sha256$"
    encoded = match[0].removeprefix(match["django"] or "").encode()
    return StoredHash(partial(_matches_bcrypt, encoded, is_prehashed))


def _read_pbkdf2(match: re.Match[str]) -> StoredHash:
    hash_name, rounds, (salt, digest) = match["hash"], int(match["rounds"]), _salt_and_digest(match)
    blocks = -(-len(digest) // hashlib.new(hash_name).digest_size)
    _require_affordable(rounds * blocks <= MAX_PBKDF2_ROUNDS)
    return StoredHash(partial(_matches_pbkdf2, hash_name, rounds, salt, digest))


def _read_scrypt(match: re.Match[str]) -> StoredHash:
    salt, digest = _salt_and_digest(match)
    n = 1 << int(match["ln"]) if "ln" in match.groupdict() else int(match["n"])
    _require_valid(n > 1 and n & (n - 1) == 0)
    r, p = int(match["r"]), int(match["p"])
    memory_bytes = 128 * n * r * p
    _require_affordable(memory_bytes <= MAX_MEMORY_KIB * 1024)
    _require_valid(n.bit_length() <= 16 * r)  # N below 2^(128 r / 8): RFC 7914 2
    return StoredHash(partial(_matches_scrypt, n, r, p, salt, digest), memory_bytes // 1024)


def _salt_and_digest(match: re.Match[str]) -> tuple[bytes, bytes]:
    """Return salt and digest; Django's salt is a text, of any length."""
    text = match.groupdict().get("text")
    salt = text.encode() if text is not None else _bytes_of(match, "salt", _SALT_SIZES)
    return salt, _bytes_of(match, "digest", _DIGEST_SIZES)


def _matches_argon2(phc: bytes, kind: Type, password: bytes) -> bool:
    try:
        return verify_secret(phc, password, kind)
    except VerifyMismatchError:
        return False
    except VerificationError as error:  # the hash is valid: memory or a thread is missing
        raise MemoryError from error


def _matches_bcrypt(encoded: bytes, is_prehashed: bool, password: bytes) -> bool:
    """Compare 72 bytes, as the bcrypt that wrote the hash did; the library rejects longer passwords.

    The next login replaces the hash by argon2id over the whole password.
    """
    secret = hashlib.sha256(password).hexdigest().encode() if is_prehashed else password
    return bcrypt.checkpw(secret[:_BCRYPT_BYTES], encoded)


def _matches_pbkdf2(hash_name: str, rounds: int, salt: bytes, digest: bytes, password: bytes) -> bool:
    computed = hashlib.pbkdf2_hmac(hash_name, password, salt, rounds, len(digest))
    return hmac.compare_digest(computed, digest)


def _matches_scrypt(n: int, r: int, p: int, salt: bytes, digest: bytes, password: bytes) -> bool:
    limit_bytes = 128 * r * (n + 2 + p) + _SCRYPT_SLACK_BYTES
    try:
        computed = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=limit_bytes, dklen=len(digest))
    except ValueError as error:  # the hash is valid: memory is missing
        raise MemoryError from error
    return hmac.compare_digest(computed, digest)


def _bytes_of(match: re.Match[str], part: str, sizes: range) -> bytes:
    """Decode base64 without padding in its canonical spelling; passlib writes `.` for `+`."""
    text = match[part].replace(".", "+")
    try:
        decoded = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except Base64Error:
        raise UnsupportedHash("The hash is malformed.") from None
    _require_valid(b64encode(decoded).decode().rstrip("=") == text)
    if len(decoded) not in sizes:
        raise UnsupportedHash(
            f"The hash is malformed: its {part} has {len(decoded)} bytes, not {sizes[0]} to {sizes[-1]}."
        )
    return decoded


def _require_valid(is_valid: bool) -> None:
    if not is_valid:
        raise UnsupportedHash("The hash is malformed.")


def _require_affordable(is_affordable: bool) -> None:
    if not is_affordable:
        raise UnsupportedHash("Verifying a password against this hash would cost too much.")


_READERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], StoredHash]], ...] = (
    (_ARGON2, _read_argon2),
    (_BCRYPT, _read_bcrypt),
    (_PBKDF2, _read_pbkdf2),
    (_PBKDF2_DJANGO, _read_pbkdf2),
    (_SCRYPT, _read_scrypt),
    (_SCRYPT_DJANGO, _read_scrypt),
)
