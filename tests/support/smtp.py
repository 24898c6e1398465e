"""An SMTP server in the test's own process, well or badly behaved."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

CERTIFICATE = Path(__file__).parents[1] / "adapters/localhost.pem"
"""Its own issuer, for localhost and 127.0.0.1; `elsewhere.pem` is for another host."""


@dataclass
class MailServer:
    """What a server has accepted, and how it answers."""

    port: int = 0
    recipient_reply: str = "250 OK"
    data_reply: str = "250 OK"
    hangs: bool = False
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    used_tls: list[bool] = field(default_factory=list)
    accepted: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Accept a recipient, or not."""
        if self.recipient_reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_reply

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep a message, if it is accepted."""
        if self.hangs:
            await asyncio.sleep(60)
        if self.data_reply.startswith("250"):
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
            self.recipients += envelope.rcpt_tos
            self.used_tls.append(server.transport.get_extra_info("sslcontext") is not None)
            self.accepted.set()
        return self.data_reply


@asynccontextmanager
async def mail_server(
    *, certificate: Path | None = None, implicit_tls: bool = False, port: int = 0
) -> AsyncIterator[MailServer]:
    """Run a server on 127.0.0.1: with STARTTLS if there is a certificate, or TLS from the first byte."""
    mail, tls = MailServer(), None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    start_tls = tls if not implicit_tls else None
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(mail, tls_context=start_tls, require_starttls=start_tls is not None, hostname="test"),
        "127.0.0.1",
        port,
        ssl=tls if implicit_tls else None,
    )
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()
