"""What a password must be, and what a guess at it costs."""

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration

# Memory in KiB, and the least iterations with it.
# Source: OWASP Password Storage Cheat Sheet, Argon2id; OWASP ASVS 5.0 appendix C.
OWASP_FLOORS = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))


class PasswordSettings(Section):
    """Password length and the Argon2id parameters.

    Below the OWASP floors (47104 KiB with 1 iteration, 19456 with 2, 12288 with 3, 9216 with 4, 7168 with 5)
    only the profile `test` starts. Stored hashes move to new parameters at the next log-in.
    """

    min_length: int = Field(default=15, ge=8, le=64, description="The shortest password, in code points.")
    memory_kib: int = Field(default=19456, ge=8, le=262144, description="Memory of one hash, in KiB.")
    iterations: int = Field(default=2, ge=1, le=10, description="Passes over that memory.")
    parallelism: int = Field(default=1, ge=1, le=16, description="Lanes of one hash.")
    workers: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Hashes at the same time per worker process; unset: from cores and memory.",
    )
    max_queue: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Requests that may wait for their turn to hash, 12 KiB each; more are answered 503 at "
        "once. Unset: 2048 a thread, at most 10000.",
    )
    queue_timeout: Duration = Field(
        default=timedelta(seconds=2),
        ge=timedelta(milliseconds=10),
        le=timedelta(minutes=1),
        description="How long a request may wait for its turn to hash before it is answered 503.",
    )

    @property
    def meets_owasp_floor(self) -> bool:
        """Whether a guess costs at least as much as OWASP asks.

        Source: OWASP Password Storage Cheat Sheet, Argon2id; OWASP ASVS 5.0 11.4.2.
        """
        return any(self.memory_kib >= memory and self.iterations >= least for memory, least in OWASP_FLOORS)

    def conflicts(self) -> Iterator[str]:
        """Tell when the lanes do not fit into the memory."""
        if self.memory_kib < 8 * self.parallelism:
            yield ("ROLLCALL_PASSWORDS__MEMORY_KIB: must be at least 8 times ROLLCALL_PASSWORDS__PARALLELISM")
