"""Hash and verify passwords with argon2id: blocking, and with equal work for every failed verification."""

import secrets
import time
from base64 import b64encode
from contextlib import nullcontext, suppress
from threading import Lock

import argon2
import structlog
from argon2.exceptions import HashingError

from service.security.hashing import imported_hashes
from service.security.hashing.ewma import Ewma

_SALT_BYTES = 16
_TAG_BYTES = 32
_MIN_KIB_PER_LANE = 8

_log = structlog.get_logger(__name__)


class HashingScheme:
    """Argon2id with fixed parameters. Methods block, and are called from several threads.

    `memory_kib`, `iterations` and `parallelism` are argon2's m, t and p, within the bounds of
    `imported_hashes`, else ValueError. Source: OWASP ASVS 5.0 11.4.2; RFC 9106 4.
    """

    def __init__(self, *, memory_kib: int, iterations: int, parallelism: int) -> None:
        self._argon2 = argon2.PasswordHasher(iterations, memory_kib, parallelism, _TAG_BYTES, _SALT_BYTES)
        self._memory_kib, self._iterations, self._parallelism = memory_kib, iterations, parallelism
        self._dummy_hash = self._random_hash(memory_kib)
        self._baseline_seconds = Ewma()
        self._large_memory = Lock()

    def hash(self, password: str) -> str:
        """Return a new hash in PHC form with a fresh salt. Raises MemoryError."""
        try:
            return self._argon2.hash(password)
        except HashingError as error:  # the parameters are valid: memory or a thread is missing
            raise MemoryError from error

    def verify(self, password_hash: str | None, password: str | None) -> bool:
        """Return whether a password matches a stored hash; every failure takes the same work.

        None stands for a missing hash or an impossible password. A cheaper hash that does not match is padded
        to the work of the present parameters. An unsupported hash counts as missing and is logged.

        Raises:
            MemoryError: nothing was verified.
        Source: OWASP ASVS 5.0 6.3.8; CVE-2016-2513, CVE-2024-39329 (cheap or missing hashes told apart).
        """
        if password_hash is None or password is None or (stored := _read(password_hash)) is None:
            self._verify_dummy()
            return False
        matches, seconds = self._measure(stored, password)
        if not self.needs_rehash(password_hash):
            self._baseline_seconds.add(seconds)
        elif not matches:
            with suppress(MemoryError):  # verified all the same: an error would refund the attempt
                self._pad_to_baseline(seconds)
        return matches

    def verify_forms(
        self,
        password_hash: str | None,
        password: str | None,
        as_typed: str | None = None,
        nfkc: str | None = None,
    ) -> bool:
        """Return whether a password matches a stored hash in one of its forms; see `TypedPassword`.

        `nfkc` is tried against imported hashes only, `as_typed` against any: a text that is not in normal
        form cannot match a hash of one that is. A failure costs one verification for each form, whatever the
        hash is.

        Raises:
            MemoryError: nothing was verified.
        Source: OWASP ASVS 5.0 6.3.8.
        """
        if self.verify(password_hash, password):
            return True
        is_imported = password_hash is not None and self.needs_rehash(password_hash)
        others = ((password_hash, as_typed), (password_hash if is_imported else None, nfkc))
        with suppress(MemoryError):  # one form was verified: an error would refund the attempt
            return any(self.verify(stored, form) for stored, form in others if form is not None)
        return False

    def needs_rehash(self, password_hash: str) -> bool:
        """Return whether a hash is of another format or of other parameters than `hash` uses.

        Source: NIST SP 800-63B-4 3.1.1.2 (the cost rises over time).
        """
        return not password_hash.startswith(self._prefix(self._memory_kib))

    def _verify_dummy(self) -> None:
        _, seconds = self._measure(self._dummy_hash, "")
        self._baseline_seconds.add(seconds)

    def _pad_to_baseline(self, seconds: float) -> None:
        """Do the missing part of the baseline work; time is proportional to memory, so memory is scaled."""
        if not self._baseline_seconds.value:
            self._verify_dummy()
        missing = 1 - seconds / self._baseline_seconds.value
        memory_kib = int(self._memory_kib * missing)
        if memory_kib >= _MIN_KIB_PER_LANE * self._parallelism:
            self._measure(self._random_hash(memory_kib), "")

    def _measure(self, stored: imported_hashes.StoredHash, password: str) -> tuple[bool, float]:
        """Verify; return the result and the seconds, without those of other threads if the clock allows.

        A hash that needs more memory than the present parameters is verified one at a time.
        """
        clock = time.thread_time if stored.threads == 1 else time.perf_counter
        with self._large_memory if stored.memory_kib > self._memory_kib else nullcontext():
            started_at = clock()
            matches = stored.matches(password.encode())
            return matches, clock() - started_at

    def _random_hash(self, memory_kib: int) -> imported_hashes.StoredHash:
        """Return a hash that no known password matches."""
        salt, tag = _base64(secrets.token_bytes(_SALT_BYTES)), _base64(secrets.token_bytes(_TAG_BYTES))
        return imported_hashes.read(f"{self._prefix(memory_kib)}{salt}${tag}")

    def _prefix(self, memory_kib: int) -> str:
        return f"$argon2id$v=19$m={memory_kib},t={self._iterations},p={self._parallelism}$"


def _read(password_hash: str) -> imported_hashes.StoredHash | None:
    try:
        return imported_hashes.read(password_hash)
    except imported_hashes.UnsupportedHash as unsupported:
        _log.warning("stored_hash_unsupported", reason=str(unsupported))
        return None


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")
