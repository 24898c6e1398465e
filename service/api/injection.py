"""What endpoints are given. Providers only construct: Litestar resolves siblings concurrently."""

from dataclasses import dataclass
from typing import TypeAlias

from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from service.db.core.database import Database
from service.db.reads import Reads
from service.security.hashing.hasher import PasswordHasher
from service.usecases.policies import Policies

GivenDatabase: TypeAlias = NamedDependency[SkipValidation[Database]]
GivenReads: TypeAlias = NamedDependency[SkipValidation[Reads]]
GivenHasher: TypeAlias = NamedDependency[SkipValidation[PasswordHasher]]
GivenPolicies: TypeAlias = NamedDependency[SkipValidation[Policies]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What endpoints work with; the unit of work is to be made anew for every request."""

    database: Database
    reads: Reads
    hasher: PasswordHasher
    policies: Policies


def providers(parts: Parts) -> dict[str, Provide]:
    """Give the providers of what controllers ask for."""
    return {
        "database": Provide(lambda: parts.database, sync_to_thread=False),
        "reads": Provide(lambda: parts.reads, use_cache=True, sync_to_thread=False),
        "hasher": Provide(lambda: parts.hasher, use_cache=True, sync_to_thread=False),
        "policies": Provide(lambda: parts.policies, use_cache=True, sync_to_thread=False),
    }
