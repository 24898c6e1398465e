"""Read a file of users, one JSON object a line, and name what is wrong with a line as the API does."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

import click
import msgspec
from msgspec import UNSET, UnsetType

from service.api.http.errors import MalformedJson
from service.api.http.strict_json import decode
from service.api.schemas.common import Input, InputTime, in_utc
from service.domain.details import DetailsPatch
from service.domain.errors import FieldError, ValidationFailed
from service.domain.users import LOGIN_ID_MAX, NAME_MAX, UserRole, UserState
from service.usecases.users import Registration

MAX_LINE_BYTES = 64 * 1024

_UTF8_MARK = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"{\x00\x00\x00", "UTF-32LE"),
    (b"\x00\x00\x00{", "UTF-32BE"),
    (b"{\x00", "UTF-16LE"),
    (b"\x00{", "UTF-16BE"),
)
"""The bytes that a file of another encoding begins with, longer ones first."""
_UNUSABLE = "!"  # what Django stores for an account without a password begins with it


class UserLine(Input, frozen=True, omit_defaults=True):
    """A user in a file. `updated_at` is exported, and ignored by an import."""

    login_id: str
    name: str | None = None
    id: UUID | UnsetType = UNSET
    role: UserRole = UserRole.USER
    state: UserState = UserState.ACTIVE
    must_change: bool = False
    password_hash: str | UnsetType | None = UNSET
    created_at: InputTime | UnsetType | None = UNSET
    updated_at: InputTime | UnsetType | None = UNSET
    last_login_at: InputTime | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    email_verified: bool = False
    locale: str | UnsetType | None = UNSET
    external_id: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET

    @property
    def details(self) -> DetailsPatch:
        """The details that the line names."""
        values = {name: getattr(self, name) for name in ("email", "locale", "external_id", "metadata")}
        given = {name: value for name, value in values.items() if value is not UNSET}
        if self.email_verified or isinstance(self.email, str):
            given["email_verified"] = self.email_verified
        return DetailsPatch.of(given)

    @property
    def registration(self) -> Registration:
        """The user as an administrator would create it; its name is the login id if the line has none."""
        name = self.login_id[:NAME_MAX] if self.name is None else self.name
        return Registration(
            self.login_id,
            name,
            password_hash=self.usable_hash,
            role=self.role,
            state=self.state,
            details=self.details,
        )

    @property
    def usable_hash(self) -> str | None:
        """The password hash, None for an account without a password."""
        if not self.password_hash or self.password_hash.startswith(_UNUSABLE):
            return None
        return self.password_hash


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line; no more than `MAX_LINE_BYTES` and one of a longer one.

    A UTF-8 byte order mark at the start is skipped.

    Raises:
        click.ClickException: the file is in another encoding than UTF-8.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        yield number, _without_mark(line) if number == 1 else line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 1)


def parse_line(line: bytes) -> UserLine:
    """Return the user of a line.

    Raises:
        ValidationFailed: the line is too long, not UTF-8, not JSON, or breaks the schema.
    """
    if len(line) > MAX_LINE_BYTES:
        raise _line_error("too_long", f"A line has at most {MAX_LINE_BYTES} bytes.")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise _line_error("invalid_encoding", f"Byte {error.start + 1} of the line is not UTF-8.") from None
    try:
        return decode(line.strip(), UserLine)
    except MalformedJson:
        raise _line_error("malformed_json", "This is not one JSON object with distinct keys.") from None


def login_id_in(line: bytes) -> str | None:
    """Return the login id that a line names, valid or not, for a report; None if it cannot be told."""
    try:
        found = msgspec.json.decode(line, type=dict[str, object]).get("login_id")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found[:LOGIN_ID_MAX] if isinstance(found, str) else None


def time_of(value: datetime | UnsetType | None, field: str) -> datetime | None:
    """Return a time of a line in UTC, None if the line does not have it.

    Raises:
        ValidationFailed: in UTC it is outside the years 1 to 9999.
    """
    return in_utc(value, f"/{field}") if isinstance(value, datetime) else None


def _without_mark(line: bytes) -> bytes:
    for start, name in _OTHER_ENCODINGS:
        if line.startswith(start):
            raise click.ClickException(f"The file is {name}: convert it with `iconv -f {name} -t UTF-8`.")
    return line.removeprefix(_UTF8_MARK)


def _line_error(code: str, message: str) -> ValidationFailed:
    return ValidationFailed(FieldError("", code, message))
