"""What may be a password: its one normal form, and the rules a new one has to keep."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from service.domain.errors import FieldError
from service.domain.unicode import nfc

MAX_LENGTH = 1024
"""Code points. Beyond it, or beyond `MAX_BYTES` of UTF-8, a text is no password and is never hashed."""
MAX_BYTES = 4096

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SPACES = dict.fromkeys((0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")

_MIN_TILE = 3
_MAX_PATTERN_LENGTH = 48
_SEPARATORS = re.compile(r"[ ._-]")
_LINES = (
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "012345678901234567890123456789",
    "qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm azertyuiop qsdfghjklm wxcvbn",
    "1qaz 2wsx 3edc 4rfv 5tgb 6yhn 7ujm 8ik 9ol",
    "1q2w3e4r5t6y7u8i9o0p qawsedrftgyhujikolp azsxdcfvgbhnjm",
    '!@#$%^&*() !"§$%&/()=',
)
_RUNS = " ".join((*_LINES, *(line[::-1] for line in _LINES)))


def normalize_password(raw: str) -> str:
    """Return the form of a password that is hashed and compared: NFC, every Unicode space as U+0020.

    Nothing is trimmed, folded or cut off. Lengths are checked before and after normalising.

    Raises:
        ValueError: the text is too long, or holds control characters or surrogates.
    Source: NIST SP 800-63B-4 3.1.1.2; RFC 8265 4.2 (OpaqueString); CVE-2013-1443 (bounds before work).
    """
    if is_too_long(raw) or _FORBIDDEN.search(raw):
        raise ValueError("this text cannot be a password")
    normal = _normal(raw)
    if is_too_long(normal):
        raise ValueError("this text cannot be a password")
    return normal


def normalize_for_login(raw: str) -> str | None:
    """Return the form to verify, or None for a text that cannot be anybody's password.

    None is for the hasher, which then does the work of a wrong password: log-in knows no other refusal.
    A short password passes: an imported one may be older than the rules.
    """
    try:
        return normalize_password(raw) or None
    except ValueError:
        return None


def is_too_long(text: str, *, max_length: int = MAX_LENGTH, max_bytes: int = MAX_BYTES) -> bool:
    """Tell whether a text has more code points or more bytes of UTF-8 than a password may have."""
    return len(text) > max_length or len(text.encode("utf-8", "surrogatepass")) > max_bytes


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """The rules for a new password; lengths in code points after normalising. No composition rules.

    Source: NIST SP 800-63B-4 3.1.1.2; OWASP ASVS 5.0 6.2.1, 6.2.4, 6.2.8, 6.2.11.
    """

    min_length: int = 15
    max_length: int = MAX_LENGTH
    max_bytes: int = MAX_BYTES

    def faults(
        self, password: str, *, pointer: str, context: Sequence[str], is_common: Callable[[str], bool]
    ) -> list[FieldError]:
        """Return every rule that a new password breaks, none when it may be set.

        `password` is as it was sent; `context` holds what it must not be made of (login id, name, service);
        `is_common` answers for a normalised password. The details name the rule and repeat nothing.
        """

        def fault(code: str, detail: str) -> FieldError:
            return FieldError(pointer, code, detail)

        found = []
        if _FORBIDDEN.search(password):
            detail = "A password holds no control characters and no lone surrogates."
            found.append(fault("password_invalid_characters", detail))
        if self._is_too_long(password) or self._is_too_long(normal := _normal(password)):
            detail = f"A password has at most {self.max_length} characters and {self.max_bytes} bytes."
            return [*found, fault("password_too_long", detail)]
        if len(normal) < self.min_length:
            detail = f"A password has at least {self.min_length} characters."
            found.append(fault("password_too_short", detail))
        blocked = self._why_blocked(normal, context, is_common)
        return [*found, fault("password_blocked", blocked)] if blocked else found

    def _is_too_long(self, text: str) -> bool:
        return is_too_long(text, max_length=self.max_length, max_bytes=self.max_bytes)

    def _why_blocked(
        self, normal: str, context: Sequence[str], is_common: Callable[[str], bool]
    ) -> str | None:
        if is_common(normal):
            return "The password is on the list of common passwords."
        folded = normal.casefold()
        if _is_derived(folded, context):
            return "The password is made of the login id, the name or the name of the service."
        if len(normal) > _MAX_PATTERN_LENGTH or not normal.isascii():
            # Guesses that are tried first are short and ASCII; the bound also keeps the search cheap.
            return None
        if _is_repetition(folded, self.min_length):
            return "The password repeats one character or a short group of characters."
        if _is_tiled(_SEPARATORS.sub("", folded), _run_ends):
            return "The password follows the alphabet, a counting sequence or the keys of a keyboard."
        return None


def _normal(raw: str) -> str:
    return nfc(raw.translate(_SPACES))


def _is_repetition(folded: str, min_length: int) -> bool:
    """A repetition is worth its unit, so the unit alone has to be long enough."""
    length = len(folded)
    periods = range(1, min(min_length, length // 2 + 1))
    return any(folded[period:] == folded[: length - period] for period in periods)


def _is_derived(folded: str, context: Sequence[str]) -> bool:
    """Whole words of the context, in any order and number, also backwards, digits and signs aside."""
    wholes = {_alphanumeric(text) for text in context}
    if _alphanumeric(folded) in wholes - {""}:
        return True
    parts = {_letters(part) for text in context for part in re.split(r"[\W_]+", text)}
    terms = {term for term in parts | {_letters(whole) for whole in wholes} if len(term) >= _MIN_TILE}
    terms |= {term[::-1] for term in terms}

    def term_ends(text: str, start: int) -> Iterable[int]:
        return (start + len(term) for term in terms if text.startswith(term, start))

    return _is_tiled(_letters(folded), term_ends)


def _alphanumeric(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text.casefold()))


def _run_ends(text: str, start: int) -> Iterable[int]:
    """Where a stretch of at least three equal or neighbouring characters that begins at `start` can end."""
    for end in range(start + _MIN_TILE, len(text) + 1):
        stretch = text[start:end]
        if stretch not in _RUNS and stretch != stretch[0] * len(stretch):
            return
        yield end


def _is_tiled(text: str, ends: Callable[[str, int], Iterable[int]]) -> bool:
    """Tell whether pieces, whose possible ends `ends` gives for a start, cover the whole of a text."""
    reached, todo = {0}, [0]
    while todo:
        for end in ends(text, todo.pop()):
            if end not in reached:
                reached.add(end)
                todo.append(end)
    return bool(text) and len(text) in reached
