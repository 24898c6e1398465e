"""Settings of passwords and their hashes."""

from collections.abc import Iterator

from pydantic import Field

from settings.section import Section
from settings.values import Duration, duration

# Memory in KiB, and the minimum of iterations with it.
# Source: OWASP Password Storage Cheat Sheet, Argon2id; OWASP ASVS 5.0 appendix C.
OWASP_MINIMUMS = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))


class PasswordSettings(Section):
    """Password length, parameters of Argon2id, and limits of concurrent hashing.

    Parameters below the OWASP minimum (47104 KiB with 1 iteration, 19456 with 2, 12288 with 3, 9216 with 4,
    7168 with 5) are accepted by the profile `test` only. A stored hash is upgraded at the user's next login.
    """

    min_length: int = Field(default=15, ge=8, le=64, description="Minimum length in code points.")
    temporary_ttl: Duration = duration(
        "24h",
        "1m",
        "7d",
        "Time for which a password that was set by another, and has to be changed, can be used.",
    )
    memory_kib: int = Field(default=19456, ge=8, le=262144, description="Memory of one hash in KiB.")
    iterations: int = Field(default=2, ge=1, le=10, description="Passes over the memory.")
    parallelism: int = Field(default=1, ge=1, le=16, description="Parallelism of one hash.")
    workers: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Concurrent hashes per worker process. Unset: derived from cores and memory.",
    )
    max_queue: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Requests that may queue for hashing, 12 KiB each; further ones get 503 immediately. "
        "Unset: 2048 per thread, at most 10000.",
    )
    queue_timeout: Duration = duration(
        "2s", "10ms", "1m", "Time for which a request may queue for hashing before it gets 503."
    )

    @property
    def meets_owasp_minimum(self) -> bool:
        """Whether the parameters meet the minimum of OWASP.

        Source: OWASP Password Storage Cheat Sheet, Argon2id; OWASP ASVS 5.0 11.4.2.
        """
        return any(self.memory_kib >= memory and self.iterations >= least for memory, least in OWASP_MINIMUMS)

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence if the memory is too small for the parallelism."""
        if self.memory_kib < 8 * self.parallelism:
            yield ("ROLLCALL_PASSWORDS__MEMORY_KIB: must be at least 8 times ROLLCALL_PASSWORDS__PARALLELISM")
