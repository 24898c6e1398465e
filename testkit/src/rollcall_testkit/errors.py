"""What can go wrong, in words."""


class RollcallUnavailable(Exception):
    """The service cannot be had: one sentence for whoever runs the tests, with the way out."""


class Refused(Exception):
    """The service said no: `status` is HTTP's, `code` is the problem's, stable and made for programs."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"{status} {code}: {detail}")
