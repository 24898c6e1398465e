"""HTTP requests, with the standard library alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """A response of the service; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded JSON body, or None if there is no body."""
        return json.loads(self.body or b"null")


def send(
    url: str, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Send a request, with a JSON body unless `body` is None, and return the response of any status.

    Raises: OSError without a response.
    """
    # One connection each: keeping it would save 0.2 ms, and bind it to one thread.
    connection = HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
    data = None if body is None else json.dumps(body).encode()
    content_type = {} if data is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, path, data, {**content_type, **(headers or {})})
        response = connection.getresponse()
        lower_case = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, lower_case, response.read())
    finally:
        connection.close()
