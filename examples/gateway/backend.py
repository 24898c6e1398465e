"""A backend without tokens: it returns the caller that the gateway names."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Backend(BaseHTTPRequestHandler):
    """Returns the headers that it receives."""

    def do_GET(self) -> None:
        """Return the caller, and the token if one leaked through."""
        names = ("X-User-Id", "X-User-Login", "X-Scope", "Authorization")
        body = json.dumps({name: self.headers.get(name) for name in names}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", 9000), Backend).serve_forever()
