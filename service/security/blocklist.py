"""The common passwords that nobody may choose, bundled as a text file, one a line."""

from functools import cache
from importlib.resources import files


def is_common(password: str) -> bool:
    """Tell whether a normalised password, as a whole and whatever its case, is on the list.

    The list is read at the first call, in a few milliseconds, and kept.
    Source: NIST SP 800-63B-4 3.1.1.2; OWASP ASVS 5.0 6.2.4 (the top 3000 that are long enough).
    """
    return password.casefold() in _common_passwords()


@cache
def _common_passwords() -> frozenset[str]:
    text = files(__package__).joinpath("common_passwords.txt").read_text(encoding="ascii")
    return frozenset(text.splitlines())
