"""Limits on mails that people ask for: nobody's mailbox is flooded, and no network tries many names."""

from service.db.core.transaction import Transaction
from service.db.repositories.mail_counts import MailCountRepository
from service.domain.errors import MailThrottled
from service.domain.networks import Networks
from service.domain.throttle import retry_after_seconds
from service.usecases.policies import Policies


async def count_mail(
    tx: Transaction, *names: tuple[str, str], networks: Networks = (), policies: Policies
) -> None:
    """Count a mail for each name, a kind (user, name, address) and a value, and for each network.

    Keyed digests are counted, so the table holds no names. They are locked in one order.
    Source: OWASP ASVS 5.0 2.4.1, 6.6.3; CVE-2026-45364 (a client owns more than one network).

    Raises:
        MailThrottled: one of them has had its mails of this hour.
    """
    limits, digest_of = policies.mail, policies.digests.of
    counted = [(digest_of(*name), limits.per_name) for name in names]
    counted += [(digest_of("network", name), limits.per_network * share) for name, share in networks]
    for digest, limit in sorted(counted):
        if (wait := await MailCountRepository(tx).count(digest, limit)) is not None:
            raise MailThrottled(retry_after=retry_after_seconds(wait))


async def may_mail(tx: Transaction, *name: str, policies: Policies) -> bool:
    """Count a mail that nobody asked for; return False if there were enough of its name in this hour."""
    counts, digest = MailCountRepository(tx), policies.digests.of(*name)
    return await counts.count(digest, policies.mail.per_name) is None
