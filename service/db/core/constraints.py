"""The error that a violated constraint means, by the constraint's name. Any other name is a bug."""

from service.db.core.error_classes import constraint_of
from service.domain.errors import EmailTaken, ExternalIdTaken, LoginIdTaken, RollcallError

_ERRORS: dict[str, type[RollcallError]] = {
    "uq_users_login_id": LoginIdTaken,
    "uq_users_email": EmailTaken,
    "uq_users_external_id": ExternalIdTaken,  # before revision 0024
    "uq_users_external_id_present": ExternalIdTaken,
}


def error_of_constraint(error: BaseException) -> RollcallError | None:
    """Return the domain error of a violated constraint, or None if there is none."""
    error_class = _ERRORS.get(constraint_of(error) or "")
    return error_class() if error_class is not None else None
