"""What templates can do with words: paragraphs, and names of any direction inside text of another."""

import re
from typing import Final

import unicodedata2
from markupsafe import Markup, escape

_COLUMNS: Final = 72
_WIDE: Final = "\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60"
"""Kana, ideographs and their punctuation."""
_OPENING: Final = "「『（【〈《"
_NO_START: Final = "、。，．・：；？！」』）】〉》々ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ"
_UNIT: Final = re.compile(f"( ?)([{_OPENING}]*(?:[{_WIDE}]|[^ {_WIDE}]+)[{_NO_START}]*)")
"""A space, and what is not broken: a word, or one wide character with its punctuation."""
_ISOLATE: Final = "\u2068"
_END: Final = "\u2069"
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_LINK_LIKE: Final = re.compile(r"[/@:\\]|\.\w{2,}|www\.", re.IGNORECASE)
_LINK_START: Final = re.compile(r"[/@:\\]|www\.", re.IGNORECASE)
_NAME_MAX: Final = 80
SPACES: Final = re.compile(r"[ \t\r\n]+")
"""Those that may become a line break; a no-break space stays."""


def text_paragraphs(text: str) -> str:
    """Wrap paragraphs, which blank lines separate; a word that is too long has a line to itself."""
    return "\n\n".join(_wrap(paragraph) for paragraph in _split(text))


def html_paragraphs(text: str) -> Markup:
    """Make `<p>` of paragraphs, which blank lines separate."""
    return Markup("\n").join(Markup("<p>%s</p>") % Markup(paragraph) for paragraph in _split(text))  # noqa: S704 - escaped before


def isolate_text(text: str) -> str:
    """Keep right-to-left text from reordering what is around it. Source: UAX #9 2.4, 6.3."""
    if any(unicodedata2.bidirectional(character) in _RIGHT_TO_LEFT for character in text):
        return f"{_ISOLATE}{text}{_END}"
    return text


def isolate_html(text: str) -> Markup:
    """Do the same with `<bdi>`. A word joiner keeps the line from ending inside a shortened address."""
    return Markup("<bdi>%s</bdi>") % escape(text).replace("…", "…\u2060")


def greetable(name: str) -> str:
    """Return a name that a mail may begin with; an empty one if it might be read as an address.

    Otherwise anybody could have our mails carry their link to the address of another.
    """
    return "" if len(name) > _NAME_MAX or _LINK_LIKE.search(name) else name


def unlinked(login_id: str) -> str:
    """Return a login id, cut where it begins to read as a link; one that is an address stays whole.

    It is for mails to unverified addresses: the owner of the login id chose both.
    """
    local, at, domain = login_id.rpartition("@")
    if at and local and not _LINK_START.search(local) and not _LINK_START.search(domain):
        return login_id
    found = _LINK_LIKE.search(login_id)
    return login_id if found is None else f"{login_id[: found.start()]}…"


def _wrap(paragraph: str) -> str:
    """Break lines at spaces, and between the characters of scripts that have none.

    Source: UAX #14 5.1 (ID, CL, NS, OP); UAX #11 (wide characters take two columns).
    """
    lines, line, columns = [], "", 0
    for space, unit in _UNIT.findall(paragraph):
        width = sum(2 if unicodedata2.east_asian_width(character) in "WF" else 1 for character in unit)
        if line and columns + len(space) + width > _COLUMNS:
            lines.append(line)
            line, columns = unit, width
        else:
            line, columns = line + space + unit, columns + len(space) + width
    return "\n".join([*lines, line])


def _split(text: str) -> list[str]:
    return [SPACES.sub(" ", part.strip()) for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]
