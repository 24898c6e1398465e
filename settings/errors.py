"""The error that settings raise."""

from collections.abc import Iterable


class SettingsError(Exception):
    """Some variables are wrong or misspelt.

    `problems` has one sentence each, which begins with the variable's full name and never quotes a value.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))
