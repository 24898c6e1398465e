"""What controllers are given. Providers only construct: Litestar resolves siblings concurrently."""

from collections.abc import Callable
from typing import TypeAlias

from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from service.db.reads import Reads
from service.db.unit_of_work import UnitOfWork
from service.security.hashing import PasswordHasher
from service.usecases.rules import Rules

GivenUow: TypeAlias = NamedDependency[SkipValidation[UnitOfWork]]
GivenReads: TypeAlias = NamedDependency[SkipValidation[Reads]]
GivenHasher: TypeAlias = NamedDependency[SkipValidation[PasswordHasher]]
GivenRules: TypeAlias = NamedDependency[SkipValidation[Rules]]


def providers(
    make_uow: Callable[[], UnitOfWork], reads: Reads, hasher: PasswordHasher, rules: Rules
) -> dict[str, Provide]:
    """Give the providers of what controllers ask for; the unit of work is new for every request."""
    return {
        "uow": Provide(make_uow, sync_to_thread=False),
        "reads": Provide(lambda: reads, use_cache=True, sync_to_thread=False),
        "hasher": Provide(lambda: hasher, use_cache=True, sync_to_thread=False),
        "rules": Provide(lambda: rules, use_cache=True, sync_to_thread=False),
    }
