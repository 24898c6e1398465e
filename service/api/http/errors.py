"""The errors that only HTTP knows."""

from typing import ClassVar

from service.domain.errors import ErrorKind, RollcallError


class TransportError(RollcallError):
    """Base of the errors of HTTP, which carry their status."""

    kind = ErrorKind.MALFORMED
    status: ClassVar[int]


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
