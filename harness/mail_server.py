"""An SMTP server in this process, well or badly behaved."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from time import monotonic
from typing import Any
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, AuthResult


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """A mail that the server has accepted."""

    recipient: str
    content: bytes
    used_tls: bool
    at: float
    """When, on the monotonic clock."""

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed."""
        parsed = message_from_bytes(self.content, policy=policy.default)
        if not isinstance(parsed, EmailMessage):
            raise TypeError("the policy makes another class")
        return parsed


@dataclass
class MailServer:
    """What a server has accepted, and how it answers; the attributes may be changed at any time."""

    port: int = 0
    recipient_reply: str = "250 OK"
    data_reply: str = "250 OK"
    hangs: bool = False
    """A message that begins to arrive meanwhile is never answered."""
    hangs_at_quit: bool = False
    """The end of a session is never answered."""
    drops_at: str = ""
    """The connection breaks at `RCPT`, at `DATA` (before the message), or at `message` (before the reply)."""
    login: tuple[bytes, bytes] | None = None
    """The user name and password that are right."""
    logins: int = 0
    """Logins that were right."""
    delay_s: float = 0.0
    """Before each recipient and each message is answered."""
    mails: list[ReceivedMail] = field(default_factory=list)
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _connections: WeakSet[SMTP] = field(default_factory=WeakSet)

    @property
    def messages(self) -> list[EmailMessage]:
        """The mails, parsed."""
        return [mail.message for mail in self.mails]

    @property
    def recipients(self) -> list[str]:
        """The recipients, one for each mail."""
        return [mail.recipient for mail in self.mails]

    async def start(self, *, certificate: Path | None = None, implicit_tls: bool = False) -> None:
        """Listen on 127.0.0.1: with STARTTLS if there is a certificate, or TLS from the first byte."""
        tls = None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
        start_tls = tls if not implicit_tls else None

        def connect() -> SMTP:
            connection = _Connection(
                self,
                authenticator=self._authenticate,
                tls_context=start_tls,
                require_starttls=start_tls is not None,
                hostname="test",
            )
            self._connections.add(connection)
            return connection

        self._server = await asyncio.get_running_loop().create_server(
            connect, "127.0.0.1", self.port, ssl=tls if implicit_tls else None
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _authenticate(
        self, _smtp: SMTP, _session: Any, _envelope: Any, _mechanism: str, sent: Any
    ) -> AuthResult:
        is_right = self.login is not None and (sent.login, sent.password) == self.login
        self.logins += is_right
        return AuthResult(success=is_right, handled=False)

    def stop(self) -> None:
        """Listen no longer, and end every connection at once."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            _abort(connection)

    @contextmanager
    def misbehaving(self, **attributes: Any) -> Iterator[None]:
        """Change attributes while the block runs."""
        before = {name: getattr(self, name) for name in attributes}
        vars(self).update(attributes)
        try:
            yield
        finally:
            vars(self).update(before)


def _abort(connection: SMTP) -> None:
    transport = connection.transport
    if isinstance(transport, asyncio.WriteTransport) and not transport.is_closing():
        transport.abort()


class _Connection(SMTP):
    """A connection of aiosmtpd that breaks where the server says."""

    def __init__(self, server: MailServer, **options: Any) -> None:
        super().__init__(_SmtpHandler(server), **options)
        self._mail_server = server

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd calls it so
        """Invite the message, or break the connection in place of taking it."""
        if self._mail_server.drops_at == "DATA":
            await self.push("354 Go ahead")
            _abort(self)
        else:
            await super().smtp_DATA(arg)

    async def smtp_QUIT(self, arg: str) -> None:  # noqa: N802 - aiosmtpd calls it so
        """End the session, or hang."""
        await asyncio.sleep(60 if self._mail_server.hangs_at_quit else 0)
        await super().smtp_QUIT(arg)


class _SmtpHandler:
    """What aiosmtpd calls. It reads every attribute at each connection; those of the server parse mails."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, smtp: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Accept a recipient, or not."""
        if self._server.drops_at == "RCPT":
            _abort(smtp)
        await asyncio.sleep(self._server.delay_s)
        if self._server.recipient_reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self._server.recipient_reply

    async def handle_DATA(self, smtp: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd calls it so
        """Keep a message, if it is accepted."""
        await asyncio.sleep(60 if self._server.hangs else self._server.delay_s)
        if self._server.drops_at == "message":
            _abort(smtp)
        elif self._server.data_reply.startswith("250"):
            used_tls = smtp.transport.get_extra_info("sslcontext") is not None
            self._server.mails += [
                ReceivedMail(recipient, envelope.content, used_tls, monotonic())
                for recipient in envelope.rcpt_tos
            ]
            self._server.accepted.set()
        return self._server.data_reply


@asynccontextmanager
async def mail_server(
    *, certificate: Path | None = None, implicit_tls: bool = False, port: int = 0
) -> AsyncIterator[MailServer]:
    """Run a server while the block runs."""
    server = MailServer(port)
    await server.start(certificate=certificate, implicit_tls=implicit_tls)
    try:
        yield server
    finally:
        server.stop()
