"""Every mail in every language, filled with an example: to look at, and to check templates with."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from itertools import product
from pathlib import Path
from typing import Final
from uuid import UUID

from markupsafe import Markup

from service.domain.mail import MailKind, QueuedMail
from service.mail.rendering import MailRenderer

_NAMES: Final = {
    "en": "Ada Lovelace",
    "de": "Jörg Müller",
    "fr": "Éloïse Noël",
    "es": "Íñigo Peña",
    "ja": "山田 花子",
}
_AT: Final = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
_PARAMS: Final = {
    "login_id": "ada@example.org",
    "minutes": "20",
    "hours": "24",
    "days": "7",
    "new_email": "a…@example.net",
    "device": "Firefox 145, Linux",
    "ip": "192.0.2.1",
    "factor": "passkey",
    "left": "9",
}
_TOKENS: Final = {
    MailKind.VERIFY_EMAIL: "rcv_cX1vs2Le5o0xZ3Ab7dM9fS4gT6hV8iW0jK2lN3mO5pQ",
    MailKind.RECOVERY: "rcr_cX1vs2Le5o0xZ3Ab7dM9fS4gT6hV8iW0jK2lN3mO5pQ",
    MailKind.INVITATION: "rcr_cX1vs2Le5o0xZ3Ab7dM9fS4gT6hV8iW0jK2lN3mO5pQ",
    MailKind.LOGIN_CODE: "40716253",
}
_PAGE: Final = Markup(
    "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Mails</title>"
    "<style>:root{{color-scheme:light dark}}body{{font:16px/1.6 sans-serif;margin:2rem}}"
    "td{{padding:.2rem 1rem}}</style><h1>Mails</h1><table>{rows}</table></html>"
)


def sample(kind: MailKind, locale: str) -> QueuedMail:
    """Return an example of a kind; every template finds what it may use."""
    params = {**_PARAMS, "name": _NAMES.get(locale, _NAMES["en"])}
    return QueuedMail(
        UUID(int=0), kind.value, "ada@example.org", locale, params, "sample@example.org", 1, _AT
    )


def render_samples(renderer: MailRenderer) -> Iterator[tuple[str, EmailMessage]]:
    """Yield a name and the message for every kind in every language.

    Raises:
        service.mail.templates.TemplateInvalid: one cannot be used.
    """
    for locale, kind in product(renderer.templates.locales, MailKind):
        yield f"{locale}-{kind.value}", renderer.render(sample(kind, locale), _TOKENS.get(kind))


def write_samples(renderer: MailRenderer, folder: Path) -> int:
    """Write text, HTML and the whole message of every sample, with an index page; return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, message in render_samples(renderer):
        for form in ("html", "plain"):
            part = message.get_body((form,))
            suffix = "html" if form == "html" else "txt"
            (folder / f"{name}.{suffix}").write_text(part.get_content() if part is not None else "", "utf-8")
        (folder / f"{name}.eml").write_bytes(message.as_bytes())
        rows.append(_row(name, str(message["Subject"])))
    (folder / "index.html").write_text(_PAGE.format(rows=Markup("").join(rows)), "utf-8")
    return len(rows)


def _row(name: str, subject: str) -> Markup:
    links = Markup(" · ").join(
        Markup('<a href="{0}.{1}">{1}</a>').format(name, suffix) for suffix in ("html", "txt", "eml")
    )
    return Markup("<tr><td>{}<td>{}<td>{}").format(name, subject, links)
