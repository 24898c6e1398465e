"""Mails to an SMTP server. TLS is verified; only a server on this machine is spoken to without."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import aiosmtplib

from service.domain.mail import DeliveryFailed

_PERMANENT: Final = range(500, 600)
_SERVICE_NOT_AVAILABLE: Final = 421
"""The server is closing, whatever it was asked. Source: RFC 5321 3.8."""
_QUIT_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """An SMTP server. `implicit_tls`: TLS from the first byte instead of STARTTLS."""

    host: str
    port: int
    implicit_tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


class SmtpTransport:
    """Hands each mail over on a connection of its own, within `timeout` as a whole.

    Source: RFC 8314 (TLS for submission); OWASP ASVS 5.0 12.2.1, 12.3.2 (verified certificates).
    """

    def __init__(self, server: SmtpServer, *, timeout: timedelta) -> None:
        self._server = server
        self._timeout_seconds = timeout.total_seconds()
        self._tls = ssl.create_default_context(cafile=str(server.ca_file) if server.ca_file else None)

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Hand over one mail.

        Raises:
            DeliveryFailed: the server refuses it (`is_permanent` if for good), or cannot be used
                (`is_outage`).
        """
        async with self._session() as session:
            sender = message["From"].addresses[0].addr_spec
            await session.send_message(message, sender=sender, recipients=[recipient])

    async def check(self) -> None:
        """Greet the server and log in, over TLS as for a mail, and send none.

        Raises: DeliveryFailed.
        """
        async with self._session():
            pass

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Hold a connection, within the timeout as a whole."""
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await client.connect()
                yield client
        except TimeoutError:
            client.close()
            raise DeliveryFailed("timeout", is_outage=True) from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refused(error.recipients[0].code) from None
        except aiosmtplib.SMTPDataError as error:
            raise _refused(error.code) from None
        except aiosmtplib.SMTPResponseException as error:
            raise DeliveryFailed(_reason(error.code), is_outage=True) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(_type_of(error), is_outage=True) from None
        finally:
            await _quit(client)

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            local_hostname=socket.gethostname(),  # otherwise the resolver is asked
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.implicit_tls,
            # None: STARTTLS if the server offers it; True: or nothing.
            start_tls=False if server.implicit_tls else (None if server.is_loopback else True),
            tls_context=self._tls,
            timeout=self._timeout_seconds,
        )

    def describe(self) -> str:
        """Return scheme, host and port."""
        scheme = "smtps" if self._server.implicit_tls else "smtp"
        return f"{scheme}://{self._server.host}:{self._server.port}"


async def _quit(client: aiosmtplib.SMTP) -> None:
    """End a session. Its outcome is known: a server that does not answer must not have a mail sent again."""
    with suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=_QUIT_TIMEOUT_S)
    client.close()


def _refused(code: int) -> DeliveryFailed:
    return DeliveryFailed(
        _reason(code), is_permanent=code in _PERMANENT, is_outage=code == _SERVICE_NOT_AVAILABLE
    )


def _reason(code: int) -> str:
    """Return the reply code alone: the text may repeat the address."""
    return f"smtp {code}"


def _type_of(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__
