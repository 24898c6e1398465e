"""Settings of mail and of its keys."""

import pytest

from settings import get_settings, masked
from tests.settings.conftest import Variables

FROM = "Example <no-reply@example.com>"


@pytest.mark.parametrize(
    ("url", "host", "port", "scheme"),
    [
        ("smtp://mail.example.com", "mail.example.com", 587, "smtp"),
        ("smtps://mail.example.com", "mail.example.com", 465, "smtps"),
        ("smtp://[::1]:1025/", "::1", 1025, "smtp"),
    ],
)
def test_smtp_url_gives_host_and_port(
    variables: Variables, url: str, host: str, port: int, scheme: str
) -> None:
    variables.set(ROLLCALL_MAIL__SMTP_URL=url, ROLLCALL_MAIL__FROM=FROM)
    mail = get_settings().mail
    assert mail.smtp_parts is not None
    assert (mail.smtp_parts.hostname, mail.smtp_port, mail.smtp_parts.scheme) == (host, port, scheme)


def test_smtp_url_is_shown_without_its_password(variables: Variables) -> None:
    variables.set(ROLLCALL_MAIL__SMTP_URL="smtps://us:hunter22@mail.example.com", ROLLCALL_MAIL__FROM=FROM)
    settings = get_settings()
    assert masked(settings)["ROLLCALL_MAIL__SMTP_URL"] == "smtps://us:***@mail.example.com"
    assert "hunter22" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_URL", "http://mail.example.com"),
        ("SMTP_URL", "smtp://"),
        ("SMTP_URL", "smtp://mail.example.com/path"),
        ("SMTP_URL", "smtp://mail.example.com?tls=no"),
        ("SMTP_URL", "smtp://mail.example.com:hunter22"),
        ("FROM", "nobody"),
        ("FROM", "a@example.com, b@example.com"),
        ("REPLY_TO", "help@exämple.com"),
        ("LINK_RESET", "https://app.example.com/reset"),
        ("LINK_RESET", "https://app.example.com/{token}/{token}"),
        ("LINK_VERIFY", "/verify?{token}"),
        ("LINK_INVITE", "https://app.example.com/a b/{token}"),
        ("CA_FILE", __file__),  # holds no certificate
        ("CA_FILE", "/nowhere/hunter22"),
    ],
)
def test_wrong_mail_setting_is_named_and_not_quoted(variables: Variables, name: str, value: str) -> None:
    problems = variables.problems(**{f"ROLLCALL_MAIL__{name}": value})
    assert f"ROLLCALL_MAIL__{name}: must be" in problems[0]
    assert "hunter22" not in " ".join(problems)


def test_smtp_url_without_a_sender_is_rejected(variables: Variables) -> None:
    (problem,) = variables.problems(ROLLCALL_MAIL__SMTP_URL="smtp://mail.example.com")
    assert problem.startswith("ROLLCALL_MAIL__FROM: must be set")


def test_public_url_is_an_origin(variables: Variables) -> None:
    variables.set(ROLLCALL_PUBLIC_URL="https://Accounts.Example.com:443")
    assert get_settings().public_url == "https://accounts.example.com"
