"""Make the message of a mail: headers, text and HTML."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from service.domain.mail import MailKind, QueuedMail
from service.mail.filters import greetable, isolate_html, isolate_text, unlinked
from service.mail.templates import Templates

_POLICY: Final = policy.SMTP.clone(cte_type="7bit")
"""Seven bits: no server on the way has to support more."""
_PLACEHOLDER: Final = "{token}"
_CHOICES: Final = frozenset({"factor"})
"""Parameters of our own that choose a template's words, and are not shown themselves."""


@dataclass(frozen=True, slots=True)
class MailIdentity:
    """Who the mails are from, and where their links lead: `links` have `{token}` in them."""

    sender: str
    product: str
    reply_to: str | None = None
    links: Mapping[MailKind, str] = field(default_factory=dict)
    url: str | None = None

    @property
    def domain(self) -> str:
        """The domain of Message-IDs."""
        return parseaddr(self.sender)[1].rpartition("@")[2] or "localhost"


class MailRenderer:
    """Renders mails of the outbox."""

    def __init__(self, identity: MailIdentity, folder: Path | None = None) -> None:
        self.identity = identity
        self.templates = Templates(folder)

    def render(self, mail: QueuedMail, token: str | None) -> EmailMessage:
        """Return the message; rendered again, it is the same to the byte.

        Raises:
            service.mail.templates.TemplateInvalid: its template cannot be used.
            ValueError: a header would hold a line break.
        """
        kind = MailKind(mail.kind)
        at = f"{mail.created_at:%Y-%m-%d %H:%M} UTC"
        values = {"at": at, "token": token, "link": self._link(kind, token), "url": self.identity.url}
        for_text, for_html = (self._values(mail, values, isolate) for isolate in (isolate_text, isolate_html))
        rendered = self.templates.render(kind, mail.locale, for_text, for_html)
        message = EmailMessage(policy=_POLICY)
        message["From"] = self.identity.sender
        message["To"] = Address(addr_spec=mail.recipient)
        if self.identity.reply_to is not None:
            message["Reply-To"] = self.identity.reply_to
        message["Subject"] = rendered.subject
        message["Date"] = format_datetime(mail.created_at)
        message["Message-ID"] = f"<{mail.message_id}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: no vacation notice comes back
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content(rendered.text)
        message.add_alternative(rendered.html, subtype="html")
        message["Content-Language"] = rendered.locale
        message.set_boundary(f"=_{mail.id.hex}")
        return message

    def _link(self, kind: MailKind, token: str | None) -> str | None:
        link = self.identity.links.get(kind)
        return link.replace(_PLACEHOLDER, token) if link is not None and token is not None else None

    def _values(
        self, mail: QueuedMail, values: Mapping[str, Any], isolate: Callable[[str], str | Markup]
    ) -> dict[str, Any]:
        """Return what a template may use: parameters are text of others, so each is one line, isolated."""
        given = {name: " ".join(value.split()) for name, value in mail.params.items()}
        if mail.kind == MailKind.VERIFY_EMAIL and "login_id" in given:
            given["login_id"] = unlinked(given["login_id"])
        shown = {name: isolate(value) for name, value in given.items() if name not in (*_CHOICES, "name")}
        chosen = {name: given[name] for name in _CHOICES & given.keys()}
        name = greetable(given.get("name", ""))
        product = isolate(self.identity.product)
        return {**values, **shown, **chosen, "name": isolate(name) if name else "", "product": product}
