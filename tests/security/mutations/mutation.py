"""A defence, and how it is broken for a moment."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mutation:
    """One defence, taken out by replacing one piece of one file."""

    defence: str
    file: str
    old: str
    new: str
    test: str


FLOWS: Final = "tests/flows"
FAULTS: Final = "tests/faults"
LOGIN: Final = "service/usecases/login.py"
THROTTLE: Final = "service/usecases/throttle.py"
THROTTLE_SQL: Final = "service/db/repositories/throttle.py"
CALLERS: Final = "service/domain/callers.py"
LOGINS_SQL: Final = "service/db/repositories/login.py"
PASSWORDS: Final = "service/usecases/passwords.py"
