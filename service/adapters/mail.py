"""Where mails are handed over."""

from email.message import EmailMessage
from typing import Protocol


class MailTransport(Protocol):
    """Hands over one mail at a time; several calls may run concurrently."""

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Return once the mail is accepted.

        Raises: service.domain.mail.DeliveryFailed.
        """

    async def check(self) -> None:
        """Return if mails can be handed over now, without sending one.

        Raises: service.domain.mail.DeliveryFailed.
        """

    def describe(self) -> str:
        """Return where mails go, without secrets."""
        ...
