"""Settings of outgoing mail."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr

from settings.section import Section
from settings.values import ROOT, Constraint, Directory, Duration, Variable, duration

PLACEHOLDER = "{token}"
_SMTP_PORTS = {"smtp": 587, "smtps": 465}
_LINK = re.compile(r"[a-z][a-z0-9+.-]*://[\x21-\x7e]+", re.IGNORECASE)


def _smtp_parts(url: str) -> SplitResult:
    """Split an SMTP URL. Raises: ValueError for anything but `smtp[s]://[user[:password]@]host[:port]`."""
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:  # its message quotes the URL
        raise ValueError from None
    has_more = bool(parts.path.strip("/") or parts.query or parts.fragment)
    if parts.scheme not in _SMTP_PORTS or not parts.hostname or not has_port or has_more:
        raise ValueError
    if (parts.password and not parts.username) or not url.isascii():
        raise ValueError
    return parts


def _require_smtp_url(url: SecretStr) -> SecretStr:
    _smtp_parts(url.get_secret_value())
    return url


def _require_link(link: str) -> str:
    if link.count(PLACEHOLDER) != 1 or not _LINK.fullmatch(link):
        raise ValueError
    return link


def _require_certificates(path: Path) -> Path:
    import ssl  # as for a mailbox

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:  # a file that holds none, too
        raise ValueError from None
    return path


def _require_directory(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError
    return path


def _require_mailbox(raw: str) -> str:
    """Return a mailbox, `Name <user@example.org>` or the address alone, if it is one."""
    from email import policy  # a hundredth of a start, which few settings need (ADR 14)

    header = policy.default.header_factory("From", raw)
    addresses = [address.addr_spec for address in header.addresses]
    if header.defects or len(addresses) != 1 or not addresses[0].isascii() or "@" not in addresses[0]:
        raise ValueError
    return raw


Link = Annotated[
    str,
    AfterValidator(_require_link),
    Constraint(
        f"an address with {PLACEHOLDER} in it once, such as https://app.example.com/reset#{PLACEHOLDER}"
    ),
]
Mailbox = Annotated[
    str, AfterValidator(_require_mailbox), Constraint("a mailbox such as Example <no-reply@example.com>")
]


class MailSettings(Section):
    """How mails are sent, what they look like, and where their links lead."""

    smtp_url: (
        Annotated[
            SecretStr,
            AfterValidator(_require_smtp_url),
            Constraint("an SMTP URL such as smtp://user:password@mail.example.com:587 or smtps://…"),
        ]
        | None
    ) = Field(
        default=None,
        description="SMTP server. `smtp://` (port 587) demands STARTTLS unless the host is loopback, "
        "`smtps://` (port 465) is TLS from the first byte; certificates are verified. Unset: mails are "
        "written to files.",
    )
    ca_file: (
        Annotated[Path, AfterValidator(_require_certificates), Constraint("a file of certificates in PEM")]
        | None
    ) = Field(
        default=None,
        description="Certificates, in PEM, that the SMTP server's is verified with. Unset: those of the "
        "system.",
    )
    timeout: Duration = duration(
        "20s", "100ms", "1m", "Time for one mail to be handed to the SMTP server, from the connection on."
    )
    interval: Duration = duration("1s", "50ms", "1h", "Pause between two runs that send what is due.")
    directory: Directory = Field(
        default=ROOT / "var/mail",
        description="Directory that mails are written to, one file each, if there is no SMTP server.",
    )
    sender: Annotated[Mailbox | None, Variable("ROLLCALL_MAIL__FROM", unset="")] = Field(
        default=None,
        description="Sender of every mail; its name is what the mails call the product.",
    )
    reply_to: Mailbox | None = Field(default=None, description="Where answers go, if not to the sender.")
    new_device: bool = Field(
        default=True, description="Notify users by mail of a login from a device that was not used before."
    )
    templates: Annotated[Directory, AfterValidator(_require_directory)] | None = Field(
        default=None,
        description="Directory whose templates replace those of the same name in `service/mail/templates`.",
    )
    link_verify: Link | None = Field(
        default=None,
        description="Page of the product that verifies an address, with `{token}`. Unset: no link in mails.",
    )
    link_reset: Link | None = Field(
        default=None, description="Page of the product that sets a new password, with `{token}`."
    )
    link_invite: Link | None = Field(
        default=None, description="Page of the product that accepts an invitation, with `{token}`."
    )

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence if mails to an SMTP server had no sender."""
        if self.smtp_url is not None and self.sender is None:
            yield "ROLLCALL_MAIL__FROM: must be set together with ROLLCALL_MAIL__SMTP_URL"

    @property
    def smtp_parts(self) -> SplitResult | None:
        """The parts of the SMTP URL; user and password are percent-encoded."""
        return _smtp_parts(self.smtp_url.get_secret_value()) if self.smtp_url is not None else None

    @property
    def smtp_port(self) -> int:
        """The port of the SMTP server, the default one of its scheme if the URL has none."""
        parts = self.smtp_parts
        return (parts.port or _SMTP_PORTS[parts.scheme]) if parts is not None else 0
