"""Mails as files, for development and tests: one file each, readable by the owner alone."""

import asyncio
import os
from email import policy
from email.message import EmailMessage
from pathlib import Path

import structlog

from service.domain.mail import DeliveryFailed

_log = structlog.get_logger("rollcall")


class FileTransport:
    """Writes each mail to a file named by its Message-ID, so that a repeated delivery replaces itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def send(self, message: EmailMessage, recipient: str) -> None:  # noqa: ARG002 - it is in the message
        """Write the mail, whole or not at all.

        Raises:
            DeliveryFailed: the directory cannot be written to.
        """
        path = self._directory / f"{message['Message-ID'].strip('<>').partition('@')[0]}.eml"
        try:
            await asyncio.to_thread(_write, path, message.as_bytes(policy=policy.default))
        except OSError as error:
            raise DeliveryFailed(f"file: {error.strerror}", is_outage=True) from None
        _log.info("mail_written", file=str(path))

    async def check(self) -> None:
        """Return if the directory can be written to, or made.

        Raises: DeliveryFailed.
        """
        nearest = next(path for path in (self._directory, *self._directory.parents) if path.exists())
        if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
            raise DeliveryFailed(f"file: {nearest} cannot be written to", is_outage=True)

    def describe(self) -> str:
        """Return the directory."""
        return str(self._directory)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(content)
    unfinished.replace(path)
