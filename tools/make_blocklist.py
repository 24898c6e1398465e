"""Write the blocklist: long passwords that people choose and guessing tools try first.

Run `python tools/make_blocklist.py` after a change. It extends the words and phrases in `blocklist/` as
people extend a short password: repeated, counted on, dated, with substituted characters. Most entries have
the usual minimum length; shorter ones are for installations that lower it.
"""

from collections.abc import Iterator
from itertools import chain, permutations
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "service" / "security" / "common_passwords.txt"
LOWEST_LENGTH = 8
MIN_LENGTH = 15
MAX_LENGTH = 40

DIGITS = "1234567890" * 2
COUNTS = (DIGITS, "0123456789" * 2, "9876543210" * 2, "1" * 20, "0" * 20, "!" * 20)
ENDINGS = ("1", "12", "123", "1234", "!", "1!", "2025", "2026")
YEARS = ("2023", "2024", "2025", "2026")
SEPARATORS = ("", " ", "-", "_", ".")
SPELLINGS = (str.maketrans("", ""), str.maketrans("ao", "@0"), str.maketrans("aeio", "4310"))
PAIRED = (
    "admin",
    "baby",
    "hello",
    "jesus",
    "login",
    "love",
    "master",
    "password",
    "secret",
    "test",
    "user",
    "welcome",
)
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890")
WALKS = (
    "1q2w3e4r5t6y7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb",
    "1qazxsw23edcvfr45tgb",
    "abcdefghijklmnopqrstuvwxyz",
    "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujm",
    "zaq12wsxcde34rfvbgt5",
)


def common_passwords() -> list[str]:
    """Return the whole list: folded, sorted, each entry once and within the length bounds."""
    words, phrases = _lines("words.txt"), _lines("phrases.txt")
    made = chain(
        *(_plain(words), _repeated(words), _counted(words), _dated(words)),
        *(_phrased(phrases), _paired(), _walked()),
    )
    return sorted({entry.casefold() for entry in made if LOWEST_LENGTH <= len(entry) <= MAX_LENGTH})


def _plain(words: list[str]) -> Iterator[str]:
    for word in words:
        yield from (word.translate(spelling) for spelling in SPELLINGS)
        yield from (word + ending for ending in ENDINGS)


def _repeated(words: list[str]) -> Iterator[str]:
    for word in words:
        times = max(2, -(-MIN_LENGTH // len(word)))
        for spelling in SPELLINGS:
            yield word.translate(spelling) * times
        yield from (
            " ".join([word] * times),
            "-".join([word] * times),
            word * (times + 1),
            word * times + "1",
        )


def _counted(words: list[str]) -> Iterator[str]:
    """Yield sequences that reach the minimum length, or a little more."""
    for word in words:
        missing = max(1, MIN_LENGTH - len(word))
        yield from (word + digits[:missing] for digits in COUNTS)
        yield from (word + DIGITS[:count] for count in range(missing, missing + 4))
        yield DIGITS[:missing] + word


def _dated(words: list[str]) -> Iterator[str]:
    for word in words:
        yield from (word + year for year in YEARS)
        yield from (word + year + year for year in YEARS)


def _phrased(phrases: list[str]) -> Iterator[str]:
    for phrase in phrases:
        yield from (phrase.replace(" ", separator) for separator in SEPARATORS)
        joined = phrase.replace(" ", "")
        yield from (joined.translate(spelling) for spelling in SPELLINGS)
        yield from (joined + ending for ending in ENDINGS)
        yield joined * 2


def _paired() -> Iterator[str]:
    return map("".join, permutations(PAIRED, 2))


def _walked() -> Iterator[str]:
    for size in (2, 3):
        for rows in permutations(ROWS, size):
            yield from ("".join(rows), "".join(rows)[::-1])
    for walk in (*WALKS, *(rows * 2 for rows in ROWS), "".join(ROWS), *(digits for digits in COUNTS)):
        yield from (walk[:length] for length in range(LOWEST_LENGTH, len(walk) + 1))
    for character in "abcdefghijklmnopqrstuvwxyz0123456789":
        yield from (character * length for length in range(LOWEST_LENGTH, 21))


def _lines(name: str) -> list[str]:
    return (HERE / "blocklist" / name).read_text(encoding="ascii").splitlines()


if __name__ == "__main__":
    TARGET.write_text("\n".join(common_passwords()) + "\n", encoding="ascii")
