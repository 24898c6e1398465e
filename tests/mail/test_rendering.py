"""Mails as messages: headers, text, HTML, and what other people's input cannot do to them."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest

from service.domain.mail import LOCALES, MailKind, QueuedMail
from service.mail.filters import text_paragraphs
from service.mail.rendering import MailIdentity, MailRenderer
from service.mail.samples import render_samples, sample, write_samples
from service.mail.templates import BUILT_IN, TemplateInvalid

TOKEN = "rcr_" + "x" * 43
IDENTITY = MailIdentity(
    "Example <no-reply@example.org>",
    "Example",
    "help@example.org",
    {MailKind.RECOVERY: "https://app.example.org/reset#{token}"},
)
RENDERER = MailRenderer(IDENTITY)
MAIL = QueuedMail(
    UUID(int=7),
    "recovery",
    "ada@example.org",
    "en",
    {"name": "Ada", "login_id": "ada", "minutes": "20"},
    "0198@example.org",
    1,
    datetime(2026, 11, 26, 9, 30, tzinfo=UTC),
)


def parsed(message: EmailMessage) -> EmailMessage:
    """The message as its recipient reads it."""
    read = message_from_bytes(message.as_bytes(), policy=policy.default)
    assert isinstance(read, EmailMessage)
    return read


def body(message: EmailMessage, form: str) -> str:
    part = parsed(message).get_body((form,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)


def render(**changes: object) -> EmailMessage:
    params = {**MAIL.params, **{name: str(value) for name, value in changes.items()}}
    return RENDERER.render(replace(MAIL, params=params), TOKEN)


def test_render_sets_the_headers_of_an_automatic_message() -> None:
    headers = {name.lower(): value for name, value in parsed(RENDERER.render(MAIL, TOKEN)).items()}
    del headers["content-type"]
    assert headers == {
        "from": "Example <no-reply@example.org>",
        "to": "ada@example.org",
        "reply-to": "help@example.org",
        "subject": "Choose a new password for Example",
        "date": "Thu, 26 Nov 2026 09:30:00 +0000",
        "message-id": "<0198@example.org>",
        "auto-submitted": "auto-generated",
        "x-auto-response-suppress": "All",
        "mime-version": "1.0",
        "content-language": "en",
    }


def test_render_again_gives_the_same_bytes() -> None:
    assert RENDERER.render(MAIL, TOKEN).as_bytes() == RENDERER.render(MAIL, TOKEN).as_bytes()


def test_render_puts_token_and_link_into_text_and_html() -> None:
    message = RENDERER.render(MAIL, TOKEN)
    link = f"https://app.example.org/reset#{TOKEN}"
    for form in ("plain", "html"):
        assert link in body(message, form)
        assert TOKEN in body(message, form).replace(link, "")


def test_render_without_a_link_has_the_token_alone() -> None:
    message = MailRenderer(replace(IDENTITY, links={})).render(MAIL, TOKEN)
    assert TOKEN in body(message, "plain")
    assert "https://" not in body(message, "plain")
    assert "href" not in body(message, "html")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", MailKind)
def test_render_every_kind_in_every_language_has_seven_bit_lines(kind: MailKind, locale: str) -> None:
    message = RENDERER.render(sample(kind, locale), TOKEN)
    raw = message.as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 998
    assert f'lang="{locale}"' in body(message, "html")
    assert message["Content-Language"] == locale


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        (MailKind.FACTOR_ADDED, ("totp", "passkey", "recovery_codes")),
        (MailKind.FACTOR_REMOVED, ("totp", "passkey", "all")),
    ],
)
def test_render_a_notice_of_a_factor_has_words_for_each(
    kind: MailKind, factors: tuple[str, ...], locale: str
) -> None:
    mail = sample(kind, locale)
    texts = set()
    for factor in factors:
        message = RENDERER.render(replace(mail, params={**mail.params, "factor": factor}), None)
        texts.add(" ".join(body(message, "plain").split()))
    assert len(texts) == len(factors)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", MailKind)
def test_render_every_kind_in_every_language_fits_76_columns(kind: MailKind, locale: str) -> None:
    """Links and tokens cannot be broken."""
    lines = body(RENDERER.render(sample(kind, locale), TOKEN), "plain").splitlines()
    assert [line for line in lines if columns(line) > 76 and TOKEN not in line] == []
    assert [line for line in lines if line[:1] in {"、", "。", "ー", "っ"}] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 80 + " b", "a" * 80 + "\nb"),
        ("word " * 15, "word " * 13 + "word\nword"),
        ("これは" * 12 + "。」ね", "これは" * 11 + "これ\nは。」ね"),
        ("これは" * 11 + "これ" + "（ね）", "これは" * 11 + "これ\n（ね）"),
        ("漢" * 34 + " code\u00a0: 字", "漢" * 34 + "\ncode\u00a0: 字"),
    ],
)
def test_wrap_breaks_at_spaces_and_between_wide_characters(text: str, expected: str) -> None:
    assert text_paragraphs(text) == expected


def test_render_keeps_a_shortened_address_on_one_line_of_html() -> None:
    assert "a…\u2060@example.net" in body(RENDERER.render(sample(MailKind.EMAIL_CHANGED, "de"), None), "html")


def test_render_in_each_language_has_words_of_its_own() -> None:
    subjects = {RENDERER.render(sample(MailKind.RECOVERY, locale), TOKEN)["Subject"] for locale in LOCALES}
    assert len(subjects) == len(LOCALES)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("de-AT", "de"), ("pt-BR", "en"), (None, "en"), ("JA", "ja"), ("fr_CA", "fr"), ("", "en")],
)
def test_render_takes_the_closest_language(wanted: str | None, found: str) -> None:
    assert RENDERER.render(replace(MAIL, locale=wanted), TOKEN)["Content-Language"] == found


def test_render_escapes_a_name_in_html() -> None:
    message = render(name="<b>Ada & co</b>".replace("/", ""), login_id="<i>ada")
    assert "<bdi>&lt;b&gt;Ada &amp; co&lt;b&gt;</bdi>" in body(message, "html")
    assert "<bdi>&lt;i&gt;ada</bdi>" in body(message, "html")
    assert "account\n<i>ada at" in body(message, "plain")


@pytest.mark.parametrize(
    "name", ["Win at https://evil.example", "evil.example", "www.evil", "a@evil", "x" * 81, "evil.example:80"]
)
def test_render_greets_nobody_by_what_may_be_read_as_an_address(name: str) -> None:
    message = render(name=name)
    assert body(message, "plain").startswith("Hello,\n")
    assert name not in body(message, "html")


@pytest.mark.parametrize("name", ["J. R. R. Tolkien", "Dr. Who", "O'Brien-Smith", "山田 花子"])
def test_render_greets_by_a_name(name: str) -> None:
    assert body(render(name=name), "plain").startswith(f"Hello {name},\n")


@pytest.mark.parametrize(
    ("login_id", "shown"),
    [
        ("https://evil.example/a", "https…"),
        ("evil.example", "evil…"),
        ("www.evil.example", "…"),
        ("evil.example/a@b.example", "evil…"),
        ("john.doe", "john…"),
        ("ada", "ada"),
        ("ada.lovelace@example.org", "ada.lovelace@example.org"),
    ],
)
def test_render_for_an_unverified_address_shows_no_login_id_that_reads_as_a_link(
    login_id: str, shown: str
) -> None:
    """Whoever registers chooses the login id, and whom its verification is mailed to."""
    params = {"name": "Ada", "login_id": login_id, "hours": "24"}
    message = RENDERER.render(replace(MAIL, kind="verify_email", params=params), TOKEN)
    for form in ("plain", "html"):
        text = " ".join(body(message, form).replace("\u2060", "").replace("<bdi>", "").split())
        assert f"The account {shown}" in text
        assert shown == login_id or login_id not in text


def test_render_for_a_verified_address_shows_the_login_id() -> None:
    assert "account john.doe" in " ".join(body(render(login_id="john.doe"), "plain").split())


def test_render_isolates_a_name_that_runs_from_right_to_left() -> None:
    message = render(name="עדה", login_id="عدا")
    assert body(message, "plain").startswith("Hello \u2068עדה\u2069,\n")
    assert "account \u2068عدا\u2069 at" in " ".join(body(message, "plain").split())
    assert "<bdi>עדה</bdi>" in body(message, "html")


@pytest.mark.parametrize("recipient", ["ada@example.org\nBcc: eve@example.org", "a@b, c@d", "a@b\r\n\r\nHi"])
def test_render_for_a_recipient_that_is_no_address_fails(recipient: str) -> None:
    with pytest.raises(Exception, match=r"(?i)address|addr|header|line"):
        RENDERER.render(replace(MAIL, recipient=recipient), TOKEN).as_bytes()


def test_render_with_line_breaks_in_parameters_adds_no_header_and_no_paragraph() -> None:
    message = render(login_id="ada\r\nBcc: eve@example.org\n\nPay here")
    assert parsed(message)["Bcc"] is None
    assert "\n\nPay here" not in body(message, "plain")


def test_render_with_a_template_of_the_folder_replaces_ours_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en/recovery.txt").write_text(
        "{% extends layout %}{% block subject %}Forgot it, {{ name }}?{% endblock %}"
        "{% block before %}Here.{% endblock %}"
    )
    renderer = MailRenderer(IDENTITY, tmp_path)
    assert renderer.render(MAIL, TOKEN)["Subject"] == "Forgot it, Ada?"
    assert renderer.render(replace(MAIL, locale="de"), TOKEN)["Subject"].startswith("Neues Passwort")


@pytest.mark.parametrize(("name", "wanted"), [("nl", "nl-BE"), ("pt-BR", "pt-BR"), ("zh-Hant", "zh-Hant-TW")])
def test_render_with_a_new_language_of_the_folder_uses_it(tmp_path: Path, name: str, wanted: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for source in (BUILT_IN / "en").glob("*.txt"):
        (folder / source.name).write_text(source.read_text().replace("Hello", "Hallo"))
    message = MailRenderer(IDENTITY, tmp_path).render(replace(MAIL, locale=wanted), TOKEN)
    assert body(message, "plain").startswith("Hallo Ada,")
    assert message["Content-Language"] == name


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{% extends layout %}{% block subject %}{{ nickname }}{% endblock %}", "nickname"),
        ("{% if %}", "line 1"),
    ],
)
def test_render_samples_with_a_broken_template_names_file_and_fault(
    tmp_path: Path, template: str, named: str
) -> None:
    (tmp_path / "de").mkdir()
    (tmp_path / "de/recovery.txt").write_text(template)
    with pytest.raises(TemplateInvalid, match=r"de/recovery\.txt") as raised:
        list(render_samples(MailRenderer(IDENTITY, tmp_path)))
    assert named in str(raised.value)


def test_write_samples_writes_every_mail_and_an_index(tmp_path: Path) -> None:
    count = write_samples(RENDERER, tmp_path / "samples")
    assert count == len(MailKind) * len(LOCALES)
    index = (tmp_path / "samples/index.html").read_text()
    assert index.count('.html"') == count
    assert "Ada Lovelace" in (tmp_path / "samples/en-recovery.txt").read_text()
