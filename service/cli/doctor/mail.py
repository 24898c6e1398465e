"""Checks of where mails go."""

from collections.abc import Iterator
from typing import Final

from service.cli.doctor.findings import Finding, problem, warning
from service.domain.mail import DeliveryFailed
from service.jobs.delivery import create_transport
from settings import Settings

_CURES: Final = {
    "SSLCertVerificationError": "The certificate must be valid for the host in ROLLCALL_MAIL__SMTP_URL; "
    "ROLLCALL_MAIL__CA_FILE names the certificates of its issuer.",
    "SMTPException": "The server offers no STARTTLS: another port, or smtps:// in ROLLCALL_MAIL__SMTP_URL.",
    "smtp 535": "User name or password are wrong: check ROLLCALL_MAIL__SMTP_URL.",
    "timeout": "No answer in time: check host, port and what lies between.",
    "ConnectionRefusedError": "Nothing listens there: check host and port in ROLLCALL_MAIL__SMTP_URL.",
    "gaierror": "The host is not known here: check ROLLCALL_MAIL__SMTP_URL.",
}
_OTHER_CURE: Final = "See docs/mail.md, When mails do not arrive. Mails wait 24 h."


async def check_mail(settings: Settings) -> list[Finding]:
    """Check that mails can be handed over, and that they are sent if they are needed. No mail is sent."""
    transport = create_transport(settings.mail)
    try:
        await transport.check()
    except DeliveryFailed as failure:
        cure = _CURES.get(failure.reason, _OTHER_CURE)
        found = [problem("mail", f"{transport.describe()}: {failure.reason}", cure)]
    else:
        found = [Finding("mail", transport.describe())]
    return [*found, *_check_server_is_set(settings)]


def _check_server_is_set(settings: Settings) -> Iterator[Finding]:
    needed = [
        name
        for name, is_set in (
            ("ROLLCALL_LOGIN__BY_CODE", settings.login.by_code),
            ("ROLLCALL_MAIL__LINK_VERIFY", settings.mail.link_verify),
            ("ROLLCALL_MAIL__LINK_RESET", settings.mail.link_reset),
            ("ROLLCALL_MAIL__LINK_INVITE", settings.mail.link_invite),
        )
        if is_set
    ]
    if needed and settings.mail.smtp_url is None:
        seen = f"{', '.join(needed)} set, and no mail server: mails are written to files, nobody gets them."
        yield warning("mail server", seen, "Set ROLLCALL_MAIL__SMTP_URL and ROLLCALL_MAIL__FROM.")
