"""Passwords: their normal form, and the rules for a new one."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from service.domain.errors import FieldError
from service.domain.unicode import nfc, nfkc

MAX_LENGTH = 1024
"""Code points. A longer text, or one of more than `MAX_BYTES` in UTF-8, is never hashed."""
MAX_BYTES = 4096

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NEVER_HASHED = re.compile("[\x00\ud800-\udfff]")  # bcrypt ends at a NUL; surrogates have no UTF-8
_SPACES = dict.fromkeys((0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")

_MIN_PIECE_LENGTH = 3
_WORD_BORDERS = re.compile(r"[\W_]+")
_MAX_PATTERN_LENGTH = 48
_SEPARATORS = re.compile(r"[ ._-]")
_KEYBOARD_ROWS = (
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "012345678901234567890123456789",
    "qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm azertyuiop qsdfghjklm wxcvbn",
    "1qaz 2wsx 3edc 4rfv 5tgb 6yhn 7ujm 8ik 9ol",
    "1q2w3e4r5t6y7u8i9o0p qawsedrftgyhujikolp azsxdcfvgbhnjm",
    '!@#$%^&*() !"§$%&/()=',
)
_SEQUENCES = " ".join((*_KEYBOARD_ROWS, *(row[::-1] for row in _KEYBOARD_ROWS)))


def normalize_password(raw: str) -> str:
    """Return the form of a password that is hashed: NFC, with every Unicode space as U+0020.

    Nothing is trimmed, folded or truncated. The length is checked before and after normalisation.

    Raises:
        ValueError: the text is too long, or has control characters or surrogates.
    Source: NIST SP 800-63B-4 3.1.1.2; RFC 8265 4.2 (OpaqueString); CVE-2013-1443 (bounds before work).
    """
    if is_too_long(raw) or _FORBIDDEN.search(raw):
        raise ValueError("this text cannot be a password")
    normal = _normal(raw)
    if is_too_long(normal):
        raise ValueError("this text cannot be a password")
    return normal


def normalize_for_login(raw: str) -> str | None:
    """Return the form of a password that is verified, or None for a text that cannot be a password.

    The hasher does the work of a wrong password for None: login has no other error. A short password is
    accepted, because an imported one may be older than the rules.
    """
    try:
        return normalize_password(raw) or None
    except ValueError:
        return None


class TypedPassword(NamedTuple):
    """A password as typed at a login, in the forms that the system that hashed it may have hashed.

    `as_typed` and `nfkc` are None if they equal another form, because each form costs a verification.
    """

    password: str | None
    """The form that is hashed from now on, or None for a text that cannot be a password anywhere."""
    as_typed: str | None = None
    nfkc: str | None = None

    @classmethod
    def of(cls, raw: str) -> Self:
        """Return the forms of a text.

        No new password has control characters. One that was imported may: it has no normal form, and stays
        as it was typed.
        """
        if not raw or is_too_long(raw) or _NEVER_HASHED.search(raw):
            return cls(None)
        password = normalize_for_login(raw) or raw
        compatible = nfkc(raw)
        is_other = compatible not in (password, raw) and not is_too_long(compatible)
        return cls(password, raw if raw != password else None, compatible if is_other else None)


def is_too_long(text: str, *, max_length: int = MAX_LENGTH, max_bytes: int = MAX_BYTES) -> bool:
    """Return whether a text has too many code points, or too many bytes in UTF-8."""
    return len(text) > max_length or len(text.encode("utf-8", "surrogatepass")) > max_bytes


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """The rules for a new password; lengths in code points after normalisation. No composition rules.

    Source: NIST SP 800-63B-4 3.1.1.2; OWASP ASVS 5.0 6.2.1, 6.2.4, 6.2.8, 6.2.11.
    """

    min_length: int = 15
    max_length: int = MAX_LENGTH
    max_bytes: int = MAX_BYTES

    def violations(
        self, password: str, *, pointer: str, context: Sequence[str], is_common: Callable[[str], bool]
    ) -> list[FieldError]:
        """Return an error for each rule that a new password breaks.

        `password` is the text as sent. It must not consist of the `context` (login id, name, service) nor be
        common; `is_common` takes a normalised password. The details name the rule and repeat no input.
        """

        def violation(code: str, detail: str) -> FieldError:
            return FieldError(pointer, code, detail)

        found = []
        if _FORBIDDEN.search(password):
            detail = "A password has no control characters and no lone surrogates."
            found.append(violation("password_invalid_characters", detail))
        if self._is_too_long(password) or self._is_too_long(normal := _normal(password)):
            detail = f"A password has at most {self.max_length} characters and {self.max_bytes} bytes."
            return [*found, violation("password_too_long", detail)]
        if len(normal) < self.min_length:
            detail = f"A password has at least {self.min_length} characters."
            found.append(violation("password_too_short", detail))
        blocked = self._blocked_detail(normal, context, is_common)
        return [*found, violation("password_blocked", blocked)] if blocked else found

    def _is_too_long(self, text: str) -> bool:
        return is_too_long(text, max_length=self.max_length, max_bytes=self.max_bytes)

    def _blocked_detail(
        self, normal: str, context: Sequence[str], is_common: Callable[[str], bool]
    ) -> str | None:
        if is_common(normal):
            return "The password is on the list of common passwords."
        folded = normal.casefold()
        if _is_derived(folded, context, self.min_length):
            return "The password is made of the login id, the name or the name of the service."
        if len(normal) > _MAX_PATTERN_LENGTH or not normal.isascii():
            # The patterns that attackers try first are short and ASCII; the bound also limits the search.
            return None
        if _is_repetition(folded, self.min_length):
            return "The password repeats one character or a short group of characters."
        if _is_concatenation(_SEPARATORS.sub("", folded), _sequence_matches):
            return "The password follows the alphabet, a counting sequence or the keys of a keyboard."
        return None


def _normal(raw: str) -> str:
    return nfc(raw.translate(_SPACES))


def _is_repetition(folded: str, min_length: int) -> bool:
    """Return whether a text repeats a unit shorter than `min_length`, which alone would be too short."""
    length = len(folded)
    periods = range(1, min(min_length, length // 2 + 1))
    return any(folded[period:] == folded[: length - period] for period in periods)


def _is_derived(folded: str, context: Sequence[str], min_length: int) -> bool:
    """Return whether too little is left of a text without the words of the context, forwards or backwards.

    Too little: no letter, or less than half a password in letters and digits.
    """
    reductions: tuple[tuple[Callable[[str], str], int], ...] = (
        (_letters, 1),
        (_alphanumeric, (min_length + 1) // 2),
    )
    for reduce, enough in reductions:
        text = reduce(folded)
        if _uncovered(text, _words_of(context, reduce)) < min(enough, len(text)):
            return True
    return any(_is_cut_from_repeated(folded, word) for word in _words_of(context, str.casefold))


def _words_of(context: Sequence[str], reduce: Callable[[str], str]) -> set[str]:
    """Return the texts of a context and their parts, each also backwards."""
    parts = [part for text in context for part in (text, *_WORD_BORDERS.split(text))]
    words = {reduce(part) for part in parts} - {""}
    return words | {word[::-1] for word in words}


def _uncovered(text: str, words: set[str]) -> int:
    """Return the number of characters outside words of three characters and four-character parts of words."""
    size = _MIN_PIECE_LENGTH + 1
    pieces = {word for word in words if len(word) == _MIN_PIECE_LENGTH}
    pieces |= {word[start : start + size] for word in words for start in range(len(word) - size + 1)}
    left, covered_to = 0, 0
    for start in range(len(text)):
        for length in (_MIN_PIECE_LENGTH, size):
            if text[start : start + length] in pieces:
                covered_to = start + length
        left += start >= covered_to
    return left


def _is_cut_from_repeated(text: str, word: str) -> bool:
    return text in word * (len(text) // len(word) + 2)


def _alphanumeric(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text.casefold()))


def _sequence_matches(text: str, start: int) -> Iterable[int]:
    """Yield the ends of the runs of at least three equal or consecutive characters from `start`."""
    for end in range(start + _MIN_PIECE_LENGTH, len(text) + 1):
        run = text[start:end]
        if run not in _SEQUENCES and run != run[0] * len(run):
            return
        yield end


def _is_concatenation(text: str, matches: Callable[[str, int], Iterable[int]]) -> bool:
    """Return whether pieces cover the text; `matches` yields the ends of the pieces at a start."""
    reached, pending = {0}, [0]
    while pending:
        for end in matches(text, pending.pop()):
            if end not in reached:
                reached.add(end)
                pending.append(end)
    return bool(text) and len(text) in reached
