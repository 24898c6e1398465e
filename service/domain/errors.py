"""The expected errors, independent of the transport.

`code` is stable and public. `title` and `detail` are safe to show to the caller: they repeat no input. The
transport decides how to present each `kind`.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from service.domain.factors import LoginChallenge


class ErrorKind(Enum):
    """The class of an error, by what the caller can do about it."""

    MALFORMED = auto()
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    NOT_FOUND = auto()
    CONFLICT = auto()
    PRECONDITION = auto()
    INVALID = auto()
    THROTTLED = auto()
    INTERNAL = auto()
    UNAVAILABLE = auto()


class RollcallError(Exception):
    """Base of the expected errors. Raised inside a transaction, one promises that nothing was changed."""

    code: ClassVar[str]
    kind: ClassVar[ErrorKind]
    title: ClassVar[str]
    remedy: ClassVar[str] = ""
    """What the caller can do, if that is more than is due to every error of its kind."""
    detail: str = ""
    retry_after: int | None = None
    """Seconds after which a retry makes sense."""

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        self.detail = detail if detail is not None else type(self).detail
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.detail)


class InvalidCursor(RollcallError):
    """The cursor was altered, or belongs to another filter or sort order."""

    code, kind = "invalid_cursor", ErrorKind.MALFORMED
    title = "The cursor is not valid here"
    detail = "A cursor is valid only for the filter and sort order that it came from."
    remedy = "Start again at the first page, without a cursor."


class Unauthenticated(RollcallError):
    """No credentials were sent."""

    code, kind = "unauthenticated", ErrorKind.UNAUTHENTICATED
    title = "Authentication is required"
    detail = "The request has neither a session token nor an API key."


class InvalidToken(RollcallError):
    """The token is unknown, expired or revoked."""

    code, kind = "invalid_token", ErrorKind.UNAUTHENTICATED
    title = "The token is not valid"
    detail = "The token is unknown, expired or revoked."


class InvalidCredentials(RollcallError):
    """A login failed: one error for every reason. Source: OWASP ASVS 5.0 6.3.8."""

    code, kind = "invalid_credentials", ErrorKind.UNAUTHENTICATED
    title = "The credentials are wrong"
    detail = "No active account has these credentials."
    remedy = "Ask for the credentials again; nothing tells which one was wrong."


class Forbidden(RollcallError):
    """The caller is authenticated and lacks the right."""

    code, kind = "forbidden", ErrorKind.FORBIDDEN
    title = "The caller may not do this"
    detail = "These credentials do not carry the right to do this."


class ReauthenticationRequired(RollcallError):
    """The login of the session is too long ago for this operation. Source: OWASP ASVS 5.0 7.5.1."""

    code, kind = "reauthentication_required", ErrorKind.FORBIDDEN
    title = "A recent login is required"
    detail = "The login of this session is too long ago for this operation."
    remedy = "Log in again, and repeat with the new token."


class SecondFactorRequired(RollcallError):
    """The first factor was right, and the account has a second one. Source: OWASP ASVS 5.0 6.3.3."""

    code, kind = "second_factor_required", ErrorKind.FORBIDDEN
    title = "A second factor is required"
    detail = "The login goes on with this challenge and one of these methods."
    remedy = "Log in with the challenge and a second factor, within five minutes."

    def __init__(self, challenge: LoginChallenge) -> None:
        super().__init__()
        self.challenge = challenge


class FactorEnrollmentRequired(RollcallError):
    """The account needs two factors, and the session was opened with one. Source: OWASP ASVS 5.0 6.3.3."""

    code, kind = "factor_enrollment_required", ErrorKind.FORBIDDEN
    title = "A second factor has to be enrolled first"
    detail = "This session may only enrol a second factor, change its password or log out."
    remedy = "Enrol an authenticator app or a passkey, or log in with the one that is there. Then repeat."


class PasswordChangeRequired(RollcallError):
    """The password was set by an administrator and has to be changed. Source: OWASP ASVS 5.0 6.4.1."""

    code, kind = "password_change_required", ErrorKind.FORBIDDEN
    title = "The password has to be changed first"
    detail = "Until the password is changed, this session may only change it or log out."
    remedy = "Change the password, then repeat."


class NotFound(RollcallError):
    """The resource does not exist, or the caller may not know that it does."""

    code, kind = "not_found", ErrorKind.NOT_FOUND
    title = "There is no such resource"
    detail = "The resource does not exist, or these credentials may not see it."


class LoginIdTaken(RollcallError):
    """Another user has this login id."""

    code, kind = "login_id_taken", ErrorKind.CONFLICT
    title = "The login id is taken"
    detail = "Another account has this login id."
    remedy = "Choose another login id."


class LastAdmin(RollcallError):
    """The last active administrator cannot be demoted, disabled or deleted."""

    code, kind = "last_admin", ErrorKind.CONFLICT
    title = "This is the last active administrator"
    detail = "The last active administrator cannot be demoted, disabled or deleted."
    remedy = "Make another active account an administrator first."


class PreconditionFailed(RollcallError):
    """The resource is not the version that the caller expects."""

    code, kind = "precondition_failed", ErrorKind.PRECONDITION
    title = "The resource has changed"
    detail = "The resource is no longer the version that the request names."


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error in one field. `pointer` is a JSON Pointer into the body, or `?name` for a query parameter."""

    pointer: str
    code: str
    detail: str


class ValidationFailed(RollcallError):
    """The input is well-formed and breaks rules; `errors` names them, never what was sent."""

    code, kind = "validation_failed", ErrorKind.INVALID
    title = "The request breaks a rule"
    detail = "One or more fields break a rule."

    def __init__(self, *errors: FieldError) -> None:
        super().__init__()
        self.errors = errors


class UnknownAudience(RollcallError):
    """No service of this name is configured to get access tokens."""

    code, kind = "unknown_audience", ErrorKind.INVALID
    title = "There is no such audience"
    detail = "Access tokens are issued for configured audiences only."
    remedy = "Ask for an audience that the operator has configured."


class EmailTaken(RollcallError):
    """Another user has verified the address."""

    code, kind = "email_taken", ErrorKind.CONFLICT
    title = "The address belongs to another account"
    detail = "Another account has verified this address."


class ExternalIdTaken(RollcallError):
    """Another user has the external id."""

    code, kind = "external_id_taken", ErrorKind.CONFLICT
    title = "The external id belongs to another account"
    detail = "Another account has this external id."


class RateLimited(RollcallError):
    """Too many requests from a network; this one was not looked at. Source: OWASP ASVS 5.0 2.4.1."""

    code, kind = "rate_limited", ErrorKind.THROTTLED
    title = "Too many requests"
    detail = "There were too many requests like this one from this network. Nothing was done."
    retry_after = 1


class MailThrottled(RollcallError):
    """Too many mails were asked for. Source: OWASP ASVS 5.0 2.4.1."""

    code, kind = "mail_throttled", ErrorKind.THROTTLED
    title = "Too many mails were asked for"
    detail = "No mail is sent for this request."
    retry_after = 1


class LoginThrottled(RollcallError):
    """Too many failed logins; this one was neither verified nor counted. Source: NIST SP 800-63B-4 3.2.2."""

    code, kind = "login_throttled", ErrorKind.THROTTLED
    title = "Too many failed logins"
    detail = "This attempt was neither verified nor counted."
    retry_after = 1


class RegistrationThrottled(RollcallError):
    """Too many registrations from a network; this one was not looked at. Source: OWASP ASVS 5.0 2.4.1."""

    code, kind = "registration_throttled", ErrorKind.THROTTLED
    title = "Too many registrations"
    detail = "There were too many registrations from this network. Nothing was done."
    retry_after = 1


class InternalError(RollcallError):
    """An unexpected error; the log has its cause under the request id."""

    code, kind = "internal_error", ErrorKind.INTERNAL
    title = "The service failed"
    detail = "The service failed. Its log has the cause under this request id."


class HashingBusy(RollcallError):
    """Password hashing is overloaded, or short of memory or threads. Source: OWASP ASVS 5.0 15.2.2."""

    code, kind = "hashing_busy", ErrorKind.UNAVAILABLE
    title = "Too many logins at once"
    detail = "Password hashing is overloaded. Nothing was done."
    retry_after = 1


class DatabaseUnavailable(RollcallError):
    """The database cannot be used; nothing was changed."""

    code, kind = "database_unavailable", ErrorKind.UNAVAILABLE
    title = "The database cannot be used now"
    detail = "Nothing was changed."
    retry_after = 1


class SchemaBehind(DatabaseUnavailable):
    """The operation needs a table or column of a newer schema revision; nothing was changed."""

    code, kind = "schema_behind", ErrorKind.UNAVAILABLE
    title = "The database's schema does not have this yet"
    detail = "Nothing was changed. The operation works once the schema is migrated; others are not affected."
    retry_after = 30


class OutcomeUnknown(RollcallError):
    """COMMIT was sent and never confirmed: the change was made as a whole or not at all."""

    code, kind = "outcome_unknown", ErrorKind.UNAVAILABLE
    title = "The outcome is not known"
    detail = "The change was made as a whole or not at all."
    remedy = "Check whether the change was made before you repeat it."
    retry_after = 1


class RequestInProgress(RollcallError):
    """A request with the same idempotency key is still running."""

    code, kind = "request_in_progress", ErrorKind.CONFLICT
    title = "The same request is still running"
    detail = "A request with this idempotency key is still running; repeat it for the answer."
    remedy = "Wait `Retry-After` seconds, then repeat with the same idempotency key."
    retry_after = 1


class IdempotencyKeyReused(RollcallError):
    """The idempotency key was sent with another request before."""

    code, kind = "idempotency_key_reused", ErrorKind.INVALID
    title = "The idempotency key was used for another request"
    detail = "This idempotency key was sent with another request before."
    remedy = "Use a new idempotency key for a new request."
