"""The one error that settings raise."""

from collections.abc import Iterable


class SettingsError(Exception):
    """Some variables are wrong or misspelt.

    `problems` has one sentence for each, led by its full name, never quoting a value.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))
