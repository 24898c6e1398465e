"""What can go wrong."""


class RollcallUnavailable(Exception):
    """The service cannot be started; the message is one sentence with the remedy."""


class ApiError(Exception):
    """The service responded with an error: `status` is HTTP's, `code` is stable and meant for programs."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"{status} {code}: {detail}")
