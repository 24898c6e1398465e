"""The mails that the service under test sends."""

import re
from dataclasses import dataclass, field
from email.message import EmailMessage

from service.domain.mail import QueuedMail
from service.jobs.delivery import create_renderer
from service.jobs.outbox import Delivery, OutboxDispatcher
from service.mail.rendering import MailRenderer
from service.services import Services


@dataclass(frozen=True)
class Mail:
    """A mail as its recipient has it."""

    recipient: str
    kind: str
    text: str
    locale: str

    @property
    def token(self) -> str:
        """The token, or the code, of the mail."""
        (found,) = re.findall(r"^    (\S+)$", self.text, re.MULTILINE)
        token: str = found
        return token


@dataclass
class Mailbox:
    """Renders mails as the service does, and keeps them."""

    renderer: MailRenderer
    kinds: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)

    def render(self, mail: QueuedMail, token: str | None) -> EmailMessage:
        """Render a mail, and note its kind."""
        message = self.renderer.render(mail, token)
        self.kinds[message["Message-ID"]] = mail.kind
        return message

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Keep a mail."""
        body = message.get_body(("plain",))
        assert body is not None
        kind = self.kinds[message["Message-ID"]]
        text = body.get_content().replace("\r\n", "\n")
        self.mails.append(Mail(recipient, kind, text, message["Content-Language"]))

    async def check(self) -> None:
        """Be there."""

    def describe(self) -> str:
        """Return a name."""
        return "the test"


async def sent_mails(service: Services) -> list[Mail]:
    """Resolve and send what is pending; return the mails, by recipient and kind."""
    box = Mailbox(create_renderer(service.settings))
    delivery = Delivery(box, box, service.settings.mail.timeout, "test")
    dispatcher = OutboxDispatcher(
        service.database,
        lambda: delivery,
        tokens=service.mail_tokens,
        jitter=lambda: 1.0,
    )
    await dispatcher.run()
    return sorted(box.mails, key=lambda mail: (mail.recipient, mail.kind))
