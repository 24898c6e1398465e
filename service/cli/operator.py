"""What commands do as the operator: transactions, whole listings, encryption."""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

from service.db.core.transaction import Transaction
from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.domain.pages import PAGE_MAX, Keyset, Page
from service.services import Services, run_command

if TYPE_CHECKING:
    from service.security.encryption import SecretCipher

T = TypeVar("T")

AS_OPERATOR: Final = AuditContext(OPERATOR)


def run_transaction(work: Callable[[Services, Transaction], Awaitable[T]]) -> T:
    """Run one transaction on the configured database."""
    return run_command(lambda services: services.database.run(lambda tx: work(services, tx), caller=OPERATOR))


async def read_pages(
    list_page: Callable[..., Awaitable[Page[T]]], limit: int = sys.maxsize
) -> tuple[list[T], bool]:
    """Return at most `limit` items of a listing, and whether these are all."""
    found: list[T] = []
    after: Keyset | None = None
    while len(found) < limit:
        page = await list_page(after=after, limit=min(PAGE_MAX, limit - len(found)))
        found += page.items
        if page.next is None:
            return found, True
        after = page.next
    return found, False


def require_cipher(services: Services) -> "SecretCipher":
    """Return the encryption of stored secrets.

    Raises: click.UsageError if it has no key.
    """
    if services.cipher is None:
        raise click.UsageError("ROLLCALL_SECRETS__KEY is not set: nothing is encrypted without it.")
    return services.cipher
