"""The check of the mails: each exactly as its account, and sent twice only if it had to be."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from harness.mail_server import ReceivedMail
from tools.chaos.checker import Violation

MAIL_FAULTS: Final = ("smtp killed", "smtp hanging", "smtp refusing", "smtp slow")
_NEVER_TWICE: Final = frozenset({"smtp hanging", "smtp refusing", "smtp slow"})
"""They leave no mail that was accepted and not marked, so none is sent twice because of them."""


@dataclass(frozen=True, slots=True)
class Period:
    """A fault, from its beginning until the service had recovered, on the monotonic clock."""

    fault: str
    started_at: float
    ended_at: float


def check_mails(
    accepted: Iterable[ReceivedMail], invited: set[str], periods: list[Period]
) -> Iterator[Violation]:
    """Compare what the mail server has accepted with the accounts that were invited.

    An invitation is committed with its account: without one, the other is wrong.
    """
    copies: dict[str, list[ReceivedMail]] = defaultdict(list)
    for mail in accepted:
        copies[mail.recipient].append(mail)
    for recipient in sorted(invited - copies.keys()):
        yield Violation("mail", f"the mail to {recipient} is lost")
    for recipient, mails in copies.items():
        if recipient not in invited:
            yield Violation(_fault_at(mails[0].at, periods), f"{recipient} has a mail and no account")
        if len({mail.content for mail in mails}) > 1:
            yield Violation(_fault_at(mails[-1].at, periods), f"{recipient} has different mails")
        if len(mails) > 1 and not _may_be_repeated(mails, periods):
            fault = _fault_at(mails[-1].at, periods)
            yield Violation(fault, f"{recipient} has {len(mails)} mails, and nothing was killed or lost")


def _may_be_repeated(mails: list[ReceivedMail], periods: list[Period]) -> bool:
    """Return whether a fault that loses the reply or the mark of a mail came before its last copy."""
    first, last = mails[0].at, mails[-1].at
    return any(
        period.fault not in _NEVER_TWICE and period.started_at <= last and period.ended_at >= first
        for period in periods
    )


def _fault_at(moment: float, periods: list[Period]) -> str:
    return next((each.fault for each in periods if each.started_at <= moment <= each.ended_at), "mail")
