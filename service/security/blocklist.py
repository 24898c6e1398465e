"""The list of common passwords that are not accepted."""

from functools import cache
from importlib.resources import files


def is_common(password: str) -> bool:
    """Return whether a normalised password is on the list, as a whole and ignoring case.

    The first call reads the list, in a few milliseconds.
    Source: NIST SP 800-63B-4 3.1.1.2; OWASP ASVS 5.0 6.2.4 (the top 3000 that are long enough).
    """
    return password.casefold() in common_passwords()


@cache
def common_passwords() -> frozenset[str]:
    """Return the list, in lower case."""
    text = files(__package__).joinpath("common_passwords.txt").read_text(encoding="ascii")
    return frozenset(text.splitlines())
