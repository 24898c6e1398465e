"""How mails are sent, as the settings choose."""

from email.utils import parseaddr
from typing import TYPE_CHECKING
from urllib.parse import unquote

from service.adapters.mail import MailTransport
from service.domain.mail import MailKind
from service.jobs.outbox import Delivery
from settings import Settings, SettingsError
from settings.mail import MailSettings

if TYPE_CHECKING:
    from service.mail.rendering import MailRenderer

_DEFAULT_SENDER = "rollcall@localhost"


def create_delivery(settings: Settings) -> Delivery:
    """Return the transport and the templates that the settings choose."""
    renderer = create_renderer(settings)
    transport = create_transport(settings.mail)
    return Delivery(transport, renderer, settings.mail.timeout, renderer.identity.domain)


def create_renderer(settings: Settings) -> "MailRenderer":
    """Return what makes messages, with the templates and links of the settings."""
    # Jinja2 takes 30 ms to import, which a start must not wait for
    from service.mail.rendering import MailIdentity, MailRenderer

    mail = settings.mail
    sender = mail.sender or _DEFAULT_SENDER
    links = {
        MailKind.VERIFY_EMAIL: mail.link_verify,
        MailKind.RECOVERY: mail.link_reset,
        MailKind.INVITATION: mail.link_invite,
    }
    identity = MailIdentity(
        sender,
        parseaddr(sender)[0] or settings.service_name,
        mail.reply_to,
        {kind: link for kind, link in links.items() if link is not None},
        settings.public_url,
    )
    return MailRenderer(identity, mail.templates)


def check_templates(settings: Settings) -> None:
    """Render every mail with the templates that replace ours.

    Raises:
        SettingsError: one cannot be used.
    """
    if settings.mail.templates is None:
        return
    from service.mail.samples import render_samples
    from service.mail.templates import TemplateInvalid

    try:
        for _ in render_samples(create_renderer(settings)):
            pass
    except (TemplateInvalid, ValueError) as error:
        raise SettingsError([f"ROLLCALL_MAIL__TEMPLATES: {error}"]) from None


def create_transport(mail: MailSettings) -> MailTransport:
    """Return the SMTP server of the settings, or the directory that mails are written to."""
    parts = mail.smtp_parts
    if parts is None:
        from service.adapters.mail_files import FileTransport

        return FileTransport(mail.directory)
    from service.adapters.smtp import SmtpServer, SmtpTransport

    server = SmtpServer(
        parts.hostname or "",
        mail.smtp_port,
        implicit_tls=parts.scheme == "smtps",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        ca_file=mail.ca_file,
    )
    return SmtpTransport(server, timeout=mail.timeout)
