"""Limits on mails that people ask for: nobody's mailbox is flooded, and no network tries many names."""

from math import ceil

from service.db.core.transaction import Transaction
from service.db.repositories.mail_counts import MailCountRepository
from service.domain.errors import MailThrottled
from service.usecases.policies import Policies


async def count_mail(tx: Transaction, *counted: tuple[str, str], policies: Policies) -> None:
    """Count a mail for each pair of a kind (network, user, name, address) and a value.

    Keyed digests are counted, so the table holds no names. They are locked in one order.
    Source: OWASP ASVS 5.0 2.4.1, 6.6.3.

    Raises:
        MailThrottled: one of them has had its mails of this hour.
    """
    limits = policies.mail
    for digest, kind in sorted((policies.digests.of(*each), each[0]) for each in counted):
        limit = limits.per_network if kind == "network" else limits.per_name
        if (wait := await MailCountRepository(tx).count(digest, limit)) is not None:
            raise MailThrottled(retry_after=max(1, ceil(wait.total_seconds())))
