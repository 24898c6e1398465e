"""Importing users from another system, a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.emails import EmailRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.users import ImportedUser, UserRepository
from service.domain.errors import FieldError
from service.domain.events import Action, AuditContext

_ID_TAKEN = FieldError("/id", "id_taken", "Another user has this id.")
_EMAIL_TAKEN = FieldError("/email", "email_taken", "Another user has verified this address.")
_EXTERNAL_ID_TAKEN = FieldError("/external_id", "external_id_taken", "Another user has this external id.")
_LOGIN_ID_TAKEN = FieldError("/login_id", "login_id_taken", "Another user has this login id.")


@dataclass(frozen=True, slots=True)
class ImportLine:
    """A valid line of a file. `has_id` tells whether it names the id, or has a new one."""

    number: int
    imported: ImportedUser
    has_id: bool


@dataclass(slots=True)
class BatchResult:
    """What became of the lines of a batch; every line is in one of the three."""

    added: int = 0
    present: int = 0
    rejected: list[tuple[ImportLine, list[FieldError]]] = field(default_factory=list)


async def import_batch(tx: Transaction, batch: Sequence[ImportLine], *, context: AuditContext) -> BatchResult:
    """Insert the users whose id and login id are free; no existing user is changed.

    A user is present if its login id exists, with the same id if the line names one. If another user has its
    id or its login id, the line is rejected. The login ids of a batch differ.
    """
    added = await UserRepository(tx).add_many([line.imported for line in batch])
    if added:
        await EventRepository(tx).add_many(context, Action.USER_CREATED, list(added))
    result = BatchResult(len(added))
    left = [line for line in batch if added.get(line.imported.user.id) != line.imported.user.login_id]
    owners = await UserRepository(tx).find_owners([line.imported.user for line in left]) if left else {}
    details = await _taken_details(tx, left)
    ids = {login_id: user_id for user_id, login_id in owners.items()}
    for line in left:
        if errors := _errors(line, owners, ids, details):
            result.rejected.append((line, errors))
        else:
            result.present += 1
    return result


async def _taken_details(tx: Transaction, lines: Sequence[ImportLine]) -> set[str]:
    """Return the addresses and external ids of lines that belong to users."""
    users = [line.imported.user for line in lines]
    emails = [user.email for user in users if user.email is not None and user.email_verified]
    external_ids = [user.external_id for user in users if user.external_id is not None]
    return await EmailRepository(tx).taken(emails, external_ids) if emails or external_ids else set()


def _errors(
    line: ImportLine, owners: dict[UUID, str], ids: dict[str, UUID], details: set[str]
) -> list[FieldError]:
    """Return why a user was not added; nothing if it is present."""
    user = line.imported.user
    owner_id = ids.get(user.login_id)
    if owner_id is not None and (owner_id == user.id or not line.has_id):
        return []
    errors = [_ID_TAKEN] if user.id in owners else []
    if user.email_verified and user.email in details:
        errors.append(_EMAIL_TAKEN)
    if user.external_id is not None and user.external_id in details:
        errors.append(_EXTERNAL_ID_TAKEN)
    # Without an owner of either, the one that was in the way has been deleted since.
    return [*errors, _LOGIN_ID_TAKEN] if owner_id is not None or not errors else errors
