"""Templates of mails: the same words as text and as HTML.

A message file extends `layout`, which is `layout.txt` or `layout.html`; so text and HTML cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError

from service.domain.mail import LOCALES, MailKind
from service.mail.filters import SPACES, html_paragraphs, text_paragraphs

BUILT_IN: Final = Path(__file__).parent / "templates"
_WORDS: Final = "words.txt"


class TemplateInvalid(Exception):
    """A template cannot be used; the message names its file and line."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail without its envelope."""

    subject: str
    text: str
    html: str
    locale: str


class Templates:
    """The built-in templates, and those of a folder, which replace them by name and may add languages."""

    def __init__(self, folder: Path | None = None) -> None:
        folders = [folder, BUILT_IN] if folder is not None else [BUILT_IN]
        loader = ChoiceLoader([FileSystemLoader(each) for each in folders])
        self._text = _environment(loader, text_paragraphs, autoescape=False)
        self._html = _environment(loader, html_paragraphs, autoescape=True)
        found = {path.parent.name for each in folders for path in each.glob(f"*/{_WORDS}")}
        self.locales = (*LOCALES, *sorted(found - set(LOCALES)))
        self._locale_of_tag = {locale.lower(): locale for locale in self.locales}

    def locale_of(self, wanted: str | None) -> str:
        """Return the language that comes closest to a BCP 47 tag; the first one if none does."""
        tag = (wanted or "").replace("_", "-").lower()
        while tag:
            if tag in self._locale_of_tag:
                return self._locale_of_tag[tag]
            tag = tag.rpartition("-")[0]
        return self.locales[0]

    def render(
        self, kind: MailKind, locale: str | None, for_text: Mapping[str, Any], for_html: Mapping[str, Any]
    ) -> Rendered:
        """Render a mail in the language that comes closest.

        Raises:
            TemplateInvalid: a template has an error, or uses what is not there.
        """
        locale = self.locale_of(locale)
        name, shared = f"{locale}/{kind.value}.txt", {"locale": locale, "kind": kind.value}
        try:
            message = self._text.get_template(name)
            text = {**for_text, **shared, "layout": "layout.txt"}
            subject = "".join(message.blocks["subject"](message.new_context(text)))
            subject = SPACES.sub(" ", subject.strip())
            html = {**for_html, **shared, "layout": "layout.html", "subject": subject}
            as_html = self._html.get_template(name).render(html)
            return Rendered(subject, message.render(text), as_html, locale)
        except (TemplateError, KeyError, TypeError) as error:
            raise TemplateInvalid(_explain(name, error)) from error


def _environment(loader: ChoiceLoader, paragraphs: Any, *, autoescape: bool) -> Environment:
    environment = Environment(
        loader=loader,
        autoescape=autoescape,  # noqa: S701 - off for the text alone
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["paragraphs"] = paragraphs
    return environment


def _explain(name: str, error: Exception) -> str:
    where = getattr(error, "filename", None) or getattr(error, "name", None) or name
    line = getattr(error, "lineno", None)
    return f"mail template {where}{f', line {line}' if line else ''}: {error}"
