"""Every refusal the service can utter, without a word about HTTP.

`code` is stable and public; `kind` is mapped to a status in `service.api.http.problems` alone; `detail` is
safe to show to the caller and never repeats what was sent.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar


class Kind(Enum):
    """What sort of refusal an error is; the transport decides how to say it."""

    MALFORMED = auto()
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    NOT_FOUND = auto()
    METHOD_NOT_ALLOWED = auto()
    NOT_ACCEPTABLE = auto()
    CONFLICT = auto()
    PRECONDITION = auto()
    TOO_LARGE = auto()
    UNSUPPORTED_MEDIA_TYPE = auto()
    INVALID = auto()
    THROTTLED = auto()
    INTERNAL = auto()
    UNAVAILABLE = auto()


class RollcallError(Exception):
    """Base of all refusals. Raising one promises that nothing was changed."""

    code: ClassVar[str]
    kind: ClassVar[Kind]
    title: ClassVar[str]
    detail: str = ""
    retry_after: int | None = None
    """Seconds after which a repetition makes sense, for throttles and outages."""

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        self.detail = detail if detail is not None else type(self).detail
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.detail)


class MalformedJson(RollcallError):
    """The body is not the JSON it claims to be."""

    code, kind = "malformed_json", Kind.MALFORMED
    title = "The body is not valid JSON"
    detail = "The request body could not be read as JSON."


class MalformedRequest(RollcallError):
    """The request line, a header or the query string cannot be read."""

    code, kind = "malformed_request", Kind.MALFORMED
    title = "The request is malformed"
    detail = "The request could not be read."


class InvalidCursor(RollcallError):
    """The cursor was altered, or belongs to another filter or sort."""

    code, kind = "invalid_cursor", Kind.MALFORMED
    title = "The cursor is not valid here"
    detail = "Start again without a cursor; a cursor is valid only for the filter and sort it came from."


class Unauthenticated(RollcallError):
    """No credentials were sent."""

    code, kind = "unauthenticated", Kind.UNAUTHENTICATED
    title = "Authentication is required"
    detail = "Send a session token or an API key as a bearer token."


class InvalidToken(RollcallError):
    """A token was sent that is not, or is no longer, valid."""

    code, kind = "invalid_token", Kind.UNAUTHENTICATED
    title = "The token is not valid"
    detail = "The token is unknown, expired or revoked."


class InvalidCredentials(RollcallError):
    """A log-in failed. One class for every reason. Source: OWASP ASVS 5.0 6.3.8."""

    code, kind = "invalid_credentials", Kind.UNAUTHENTICATED
    title = "The login id or the password is wrong"
    detail = "The login id or the password is wrong."


class Forbidden(RollcallError):
    """The caller is known and lacks the right."""

    code, kind = "forbidden", Kind.FORBIDDEN
    title = "The caller may not do this"
    detail = "These credentials do not carry the right to do this."


class ReauthenticationRequired(RollcallError):
    """The session is valid and its log-in too long ago for this step. Source: OWASP ASVS 5.0 7.5.1."""

    code, kind = "reauthentication_required", Kind.FORBIDDEN
    title = "A recent log-in is required"
    detail = "Log in again and repeat the request with the new token."


class PasswordChangeRequired(RollcallError):
    """The password was set by somebody else and has to be changed first. Source: OWASP ASVS 5.0 6.4.1."""

    code, kind = "password_change_required", Kind.FORBIDDEN
    title = "The password has to be changed first"
    detail = "Until the password is changed, this session may only change it or log out."


class NotFound(RollcallError):
    """There is no such thing, or none that this caller may know of."""

    code, kind = "not_found", Kind.NOT_FOUND
    title = "There is no such resource"
    detail = "There is no such resource."


class MethodNotAllowed(RollcallError):
    """The resource exists and does not take this method."""

    code, kind = "method_not_allowed", Kind.METHOD_NOT_ALLOWED
    title = "The method is not allowed here"
    detail = "The Allow header names the methods this resource takes."


class NotAcceptable(RollcallError):
    """The caller accepts no representation the service has."""

    code, kind = "not_acceptable", Kind.NOT_ACCEPTABLE
    title = "No acceptable representation"
    detail = "This service answers in application/json."


class LoginIdTaken(RollcallError):
    """Another account has this login id."""

    code, kind = "login_id_taken", Kind.CONFLICT
    title = "The login id is taken"
    detail = "Another account has this login id."


class LastAdmin(RollcallError):
    """The last active administrator cannot be demoted, disabled or deleted."""

    code, kind = "last_admin", Kind.CONFLICT
    title = "This is the last active administrator"
    detail = "Give another active account the role first."


class RequestInProgress(RollcallError):
    """A request with the same idempotency key is still running."""

    code, kind = "request_in_progress", Kind.CONFLICT
    title = "The same request is still running"
    detail = "A request with this Idempotency-Key is still running; repeat it for the answer."
    retry_after = 1


class PreconditionFailed(RollcallError):
    """The resource is no longer the one the caller saw."""

    code, kind = "precondition_failed", Kind.PRECONDITION
    title = "The resource has changed"
    detail = "The If-Match header does not name the current version."


class BodyTooLarge(RollcallError):
    """The body is larger than the operation takes."""

    code, kind = "body_too_large", Kind.TOO_LARGE
    title = "The body is too large"
    detail = "The request body is larger than this operation takes."


class UnsupportedMediaType(RollcallError):
    """The body is of a type or encoding the operation does not take."""

    code, kind = "unsupported_media_type", Kind.UNSUPPORTED_MEDIA_TYPE
    title = "The media type is not supported"
    detail = "Send application/json in UTF-8, without a content encoding."


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in one field. `pointer` is a JSON Pointer into the body, or `?name` for a query parameter."""

    pointer: str
    code: str
    detail: str


class ValidationFailed(RollcallError):
    """The request could be read and breaks a rule; `faults` says which, never what was sent."""

    code, kind = "validation_failed", Kind.INVALID
    title = "The request breaks a rule"
    detail = "One or more fields break a rule."

    def __init__(self, *faults: FieldError) -> None:
        super().__init__()
        self.faults = faults


class IdempotencyKeyReused(RollcallError):
    """The idempotency key came with another request before."""

    code, kind = "idempotency_key_reused", Kind.INVALID
    title = "The idempotency key was used for another request"
    detail = "Use a new Idempotency-Key for a new request."


class LoginThrottled(RollcallError):
    """Too many failed log-ins; this one was neither verified nor counted. Source: NIST SP 800-63B-4 3.2.2."""

    code, kind = "login_throttled", Kind.THROTTLED
    title = "Too many failed log-ins"
    detail = "Wait as long as the Retry-After header says."
    retry_after = 1


class RateLimited(RollcallError):
    """The caller sends more than its share."""

    code, kind = "rate_limited", Kind.THROTTLED
    title = "Too many requests"
    detail = "Wait as long as the Retry-After header says."
    retry_after = 1


class InternalError(RollcallError):
    """A fault of the service; the log has the cause under the request id."""

    code, kind = "internal_error", Kind.INTERNAL
    title = "The service failed"
    detail = "The service failed. Its log has the cause under this request id."


class HashingBusy(RollcallError):
    """More passwords wait to be hashed than there is room, or time, for. Source: OWASP ASVS 5.0 15.2.2."""

    code, kind = "hashing_busy", Kind.UNAVAILABLE
    title = "Too many log-ins at once"
    detail = "Nothing was done. Wait as long as the Retry-After header says."
    retry_after = 1


class DatabaseUnavailable(RollcallError):
    """The database cannot be used now; nothing was changed."""

    code, kind = "database_unavailable", Kind.UNAVAILABLE
    title = "The database cannot be used now"
    detail = "Nothing was changed. Wait as long as the Retry-After header says."
    retry_after = 1


class SchemaBehind(DatabaseUnavailable):
    """The operation needs a table or column of a newer schema revision; nothing was changed."""

    code, kind = "schema_behind", Kind.UNAVAILABLE
    title = "The database's schema does not have this yet"
    detail = "Nothing was changed. The operation works once the schema is migrated; others are not affected."
    retry_after = 30


class OutcomeUnknown(RollcallError):
    """COMMIT was sent and no answer came: the change is whole or absent, and only a look tells which."""

    code, kind = "outcome_unknown", Kind.UNAVAILABLE
    title = "The outcome is not known"
    detail = "The change was made as a whole or not at all. Look before repeating it."
    retry_after = 1
