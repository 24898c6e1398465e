"""From the name of a violated constraint to the refusal it means. A name that is not here is a bug."""

from service.db.core.error_classes import constraint_of
from service.domain.errors import LoginIdTaken, RollcallError

_REFUSALS: dict[str, type[RollcallError]] = {
    "uq_users_login_id": LoginIdTaken,
}


def error_of_constraint(error: BaseException) -> RollcallError | None:
    """Give the refusal that a violated constraint means, or None when it means none."""
    refusal = _REFUSALS.get(constraint_of(error) or "")
    return refusal() if refusal is not None else None
