"""The errors that only HTTP knows."""

from typing import ClassVar

from service.domain.errors import ErrorKind, RollcallError


class TransportError(RollcallError):
    """Base of the errors of HTTP, which carry their status."""

    kind = ErrorKind.MALFORMED
    status: ClassVar[int]


class OAuthError(TransportError):
    """Base of the errors that OAuth clients read in the member `error`. Source: RFC 6749 5.2."""


class InvalidClient(OAuthError):
    """A service did not authenticate with a valid API key. Source: RFC 6749 5.2, RFC 7662 2.3."""

    code, status = "invalid_client", 401
    kind = ErrorKind.UNAUTHENTICATED
    title = "The client is not authenticated"
    detail = (
        "Send a valid API key: as bearer token, as the password of Basic, or as client_secret in the form."
    )
    remedy = "Send a valid API key."


class UnsupportedTokenType(OAuthError):
    """API keys are revoked by administrators, not at this endpoint. Source: RFC 7009 2.2.1."""

    code, status = "unsupported_token_type", 400
    title = "Tokens of this type are not revoked here"
    detail = "An API key is revoked by an administrator: DELETE /v1/keys/{key_id}."
    remedy = "Revoke the API key by its id."


class MalformedJson(TransportError):
    """The body is not valid JSON."""

    code, status = "malformed_json", 400
    title = "The body is not valid JSON"
    detail = "The request body could not be read as JSON."


class MalformedRequest(TransportError):
    """The request line, a header or the query string is malformed."""

    code, status = "malformed_request", 400
    title = "The request is malformed"
    detail = "The request line, a header, the query string or the framing of the body is malformed."


class MethodNotAllowed(TransportError):
    """The resource exists and does not support the method."""

    code, status = "method_not_allowed", 405
    title = "The method is not allowed here"
    detail = "The resource does not support this method."
    remedy = "Use a method that `Allow` names."


class MethodNotImplemented(TransportError):
    """No resource supports the method. Source: RFC 9110 9.1, 15.6.2."""

    code, status = "method_not_implemented", 501
    title = "The method is not implemented"
    detail = "There is no such method here. The case of letters counts."
    remedy = "Use a method of HTTP, in capitals."


class BodyTooLarge(TransportError):
    """The body is larger than the operation accepts."""

    code, status = "body_too_large", 413
    title = "The body is too large"
    detail = "The request body is larger than this operation takes."
    remedy = "Send less."


class UnsupportedMediaType(TransportError):
    """The operation does not accept this media type or content encoding."""

    code, status = "unsupported_media_type", 415
    title = "The media type is not supported"
    detail = "Send application/json in UTF-8, without a content encoding."
    remedy = "Send the media type that `detail` names, in UTF-8, uncompressed."

    def __init__(self, *accepted: str) -> None:
        self.accepted = accepted or ("application/json",)
        super().__init__(f"Send {' or '.join(self.accepted)} in UTF-8, without a content encoding.")


class HeaderTooLarge(TransportError):
    """The request line and the header, or the trailers, are larger than the service accepts."""

    code, status = "header_too_large", 431
    title = "The header is too large"
    detail = "A header may have 100 fields and 16 KiB, target included."
    remedy = "Send less."


class TooManyConnections(TransportError):
    """The client has too many open connections, or too many requests queued on one."""

    code, status = "too_many_connections", 503
    kind = ErrorKind.UNAVAILABLE
    title = "Too many connections"
    detail = "Too many connections are open. Nothing was done."
    remedy = "Reuse connections; repeat after `Retry-After` seconds."
    retry_after = 1
