"""Checks of stored secrets: which are under an old key, and which no configured key decrypts."""

from collections.abc import Iterator, Mapping

from service.cli.doctor.findings import Finding, problem, warning
from service.db.repositories.encrypted import ENCRYPTED_COLUMNS, EncryptedReads
from service.security.encryption import SecretCipher
from service.services import Services


async def check_secrets(services: Services) -> list[Finding]:
    """Check the secrets of every encrypted column, by the keys that they are under."""
    reads, found = EncryptedReads(services.read_pool), list[Finding]()
    for column in ENCRYPTED_COLUMNS:
        counts = await reads.count_by_header(column)
        found += check_column(column.purpose, counts, services.cipher)
    return found


def check_column(purpose: str, counts: Mapping[bytes, int], cipher: SecretCipher | None) -> Iterator[Finding]:
    """Check the secrets of a column, counted by header. Source: OWASP ASVS 5.0 13.3.4."""
    readable = cipher.headers if cipher is not None else frozenset()
    newest = counts.get(cipher.header, 0) if cipher is not None else 0
    unreadable = sum(count for header, count in counts.items() if header not in readable)
    older = sum(counts.values()) - unreadable - newest
    if newest:
        yield Finding("secrets", f"{purpose}: {newest} under the newest key")
    if older:
        cure = "Run: python -m service secrets rotate"
        yield warning("secrets", f"{purpose}: {older} under an old key", cure)
    if unreadable:
        seen = f"{purpose}: {unreadable} under a key that ROLLCALL_SECRETS__KEY does not have"
        cure = "Add that key at the end of ROLLCALL_SECRETS__KEY. If it is lost, see docs/tokens.md."
        yield problem("secrets", seen, cure)
