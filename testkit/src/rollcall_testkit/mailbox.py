"""The mails that the service has sent, read from the files that it writes."""

import re
import time
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.01
_TOKEN = re.compile(r"^ {4}(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    """A mail as its recipient reads it."""

    to: str
    subject: str
    text: str
    html: str
    token: str | None
    """The one-time token or code in it."""

    @classmethod
    def read(cls, file: Path) -> "Mail":
        """Return the mail of a file."""
        message = message_from_bytes(file.read_bytes(), policy=policy.default)
        text = _part(message, "plain")
        found = _TOKEN.search(text)
        to, subject = str(message["To"]), str(message["Subject"])
        return cls(to, subject, text, _part(message, "html"), found[1] if found else None)


class Mailbox:
    """The mails of all users since the start of the test, oldest first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def mails(self, to: str | None = None) -> list[Mail]:
        """Return the mails so far: all, or those to one address. The service takes a moment to send one."""
        files = sorted(self._directory.glob("*.eml"))
        return [mail for mail in map(Mail.read, files) if to is None or mail.to == to.lower()]

    def wait(self, to: str, *, count: int = 1, timeout: float = _TIMEOUT_S) -> Mail:
        """Return the last mail to an address, as soon as there are `count`.

        Raises: AssertionError with the subjects of all mails if there are not in time.
        """
        ends_at = time.monotonic() + timeout
        while len(found := self.mails(to)) < count:
            if time.monotonic() > ends_at:
                seen = ", ".join(f"{mail.to}: {mail.subject}" for mail in self.mails()) or "none"
                raise AssertionError(f"No mail to {to} in {timeout:.0f} s. Mails: {seen}.")
            time.sleep(_POLL_INTERVAL_S)
        return found[-1]

    def clear(self) -> None:
        """Forget all mails."""
        for file in self._directory.glob("*.eml"):
            file.unlink(missing_ok=True)


def _part(message: EmailMessage, form: str) -> str:
    part = message.get_body((form,))
    content: str = part.get_content() if part is not None else ""
    return content.replace("\r\n", "\n")
