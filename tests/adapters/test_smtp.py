"""Mails over SMTP: TLS, refusals and time limits."""

import asyncio
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from harness.mail_server import MailServer, mail_server
from service.adapters.smtp import SmtpServer, SmtpTransport
from service.domain.mail import DeliveryFailed

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Its own issuer, for localhost and 127.0.0.1; `elsewhere.pem` is for another host."""
ELSEWHERE = CERTIFICATE.with_name("elsewhere.pem")


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Example <us@example.org>", "ada@example.org", "Hello"
    made.set_content("Hello.")
    return made


def transport_to(server: MailServer, *, seconds: float = 10, **options: Any) -> SmtpTransport:
    options = {"host": "127.0.0.1", "port": server.port, "ca_file": CERTIFICATE, **options}
    return SmtpTransport(SmtpServer(**options), timeout=timedelta(seconds=seconds))


async def send(server: MailServer, **options: Any) -> None:
    await transport_to(server, **options).send(message(), "ada@example.org")


async def failure_of(server: MailServer, **options: Any) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as raised:
        await send(server, **options)
    assert server.messages == []
    return raised.value


async def test_send_with_starttls_delivers_the_mail_over_tls() -> None:
    async with mail_server(certificate=CERTIFICATE) as server:
        await send(server)
    assert (server.recipients, [mail.used_tls for mail in server.mails]) == (["ada@example.org"], [True])
    assert server.messages[0]["Subject"] == "Hello"


async def test_send_with_implicit_tls_delivers_the_mail_over_tls() -> None:
    async with mail_server(certificate=CERTIFICATE, implicit_tls=True) as server:
        await send(server, implicit_tls=True)
    assert [mail.used_tls for mail in server.mails] == [True]


async def test_send_to_loopback_without_starttls_delivers_the_mail() -> None:
    async with mail_server() as server:
        await send(server)
    assert [mail.used_tls for mail in server.mails] == [False]


async def test_send_to_another_machine_without_starttls_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SmtpServer, "is_loopback", False)
    async with mail_server() as server:
        failure = await failure_of(server)
    assert (failure.is_outage, failure.is_permanent) == (True, False)


@pytest.mark.parametrize(
    ("certificate", "ca_file"),
    [(CERTIFICATE, None), (ELSEWHERE, ELSEWHERE)],
    ids=["of an unknown issuer", "of another host"],
)
@pytest.mark.parametrize("implicit_tls", [False, True])
async def test_send_with_a_wrong_certificate_sends_nothing(
    certificate: Path, ca_file: Path | None, *, implicit_tls: bool
) -> None:
    async with mail_server(certificate=certificate, implicit_tls=implicit_tls) as server:
        failure = await failure_of(server, ca_file=ca_file, implicit_tls=implicit_tls)
    assert (failure.reason, failure.is_outage) == ("SSLCertVerificationError", True)


async def test_send_to_a_hanging_server_ends_in_time() -> None:
    async with mail_server() as server:
        server.hangs = True
        failure = await failure_of(server, seconds=0.3)
    assert (failure.reason, failure.is_outage) == ("timeout", True)


@pytest.mark.parametrize(
    ("recipient_reply", "data_reply", "expected"),
    [
        ("550 no ada@example.org here", "250 OK", ("smtp 550", True, False)),
        ("450 later", "250 OK", ("smtp 450", False, False)),
        ("421 closing", "250 OK", ("smtp 421", False, True)),
        ("250 OK", "421 closing", ("smtp 421", False, True)),
        ("250 OK", "554 looks like spam", ("smtp 554", True, False)),
        ("250 OK", "452 disk full", ("smtp 452", False, False)),
    ],
)
async def test_send_to_a_refusing_server_tells_for_good_from_for_now_without_its_words(
    recipient_reply: str, data_reply: str, expected: tuple[str, bool, bool]
) -> None:
    async with mail_server() as server:
        server.recipient_reply, server.data_reply = recipient_reply, data_reply
        failure = await failure_of(server)
    assert (failure.reason, failure.is_permanent, failure.is_outage) == expected


@pytest.mark.parametrize("drops_at", ["RCPT", "DATA", "message"])
async def test_send_over_a_connection_that_breaks_is_an_outage(drops_at: str) -> None:
    async with mail_server() as server:
        server.drops_at = drops_at
        failure = await failure_of(server)
    assert (failure.reason, failure.is_outage) == ("SMTPServerDisconnected", True)


async def test_send_to_a_server_that_hangs_at_the_end_is_sent() -> None:
    """Otherwise the mail would be sent again, as long as the server does so."""
    async with mail_server() as server:
        server.hangs_at_quit = True
        await send(server)
    assert server.recipients == ["ada@example.org"]


async def test_send_to_a_server_that_refuses_to_greet_names_its_code() -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no service for ada@example.org\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        failure = await failure_of(MailServer(port))
    assert (failure.reason, failure.is_permanent, failure.is_outage) == ("smtp 554", False, True)


async def test_send_without_a_server_is_an_outage() -> None:
    async with mail_server() as server:
        pass
    failure = await failure_of(server)
    assert failure.is_outage
    assert "127.0.0.1" not in failure.reason


async def test_send_with_a_login_logs_in_over_tls() -> None:
    async with mail_server(certificate=CERTIFICATE) as server:
        server.login = (b"us", b"right")
        await send(server, username="us", password="right")
    assert (server.logins, [mail.used_tls for mail in server.mails]) == (1, [True])


async def test_send_with_a_rejected_login_is_an_outage() -> None:
    async with mail_server(certificate=CERTIFICATE) as server:
        failure = await failure_of(server, username="us", password="wrong")
    assert failure.is_outage
    assert "wrong" not in str(failure)


async def test_check_greets_over_tls_and_sends_nothing() -> None:
    async with mail_server(certificate=CERTIFICATE) as server:
        await transport_to(server).check()
    assert server.messages == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ca_file": None}, "SSLCertVerificationError"),
        ({"username": "us", "password": "wrong"}, "smtp 535"),
    ],
)
async def test_check_with_a_wrong_certificate_or_login_says_which(
    options: dict[str, Any], reason: str
) -> None:
    async with mail_server(certificate=CERTIFICATE) as server:
        with pytest.raises(DeliveryFailed, match=reason):
            await transport_to(server, **options).check()


def test_describe_names_no_credentials() -> None:
    server = SmtpServer("mail.example.org", 465, implicit_tls=True, username="us", password="hunter2")
    assert "hunter2" not in repr(server)
    described = SmtpTransport(server, timeout=timedelta(seconds=1)).describe()
    assert described == "smtps://mail.example.org:465"


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("mail.localhost.example", False),
    ],
)
def test_server_is_loopback_only_if_it_is_this_machine(host: str, *, is_loopback: bool) -> None:
    assert SmtpServer(host, 25).is_loopback is is_loopback
