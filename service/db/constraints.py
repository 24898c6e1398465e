"""From the name of a violated constraint to the refusal it means. A name that is not here is a bug."""

from sqlalchemy.exc import DBAPIError

from service.domain.errors import LoginIdTaken, RollcallError

_REFUSALS: dict[str, type[RollcallError]] = {
    "uq_users_login_id": LoginIdTaken,
}


def refusal_of(error: BaseException) -> RollcallError | None:
    """Give the refusal that a violated constraint means, or None when it means none."""
    if not isinstance(error, DBAPIError):
        return None
    refusal = _REFUSALS.get(getattr(error.driver_exception, "constraint_name", None) or "")
    return refusal() if refusal is not None else None
