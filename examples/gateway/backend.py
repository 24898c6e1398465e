"""A backend that knows nothing of tokens: it says who the gateway says is calling."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Backend(BaseHTTPRequestHandler):
    """Tells what it was told."""

    def do_GET(self) -> None:
        """Answer with the caller, and with whether a token leaked through."""
        names = ("X-User-Id", "X-User-Name", "X-Scope", "Authorization")
        body = json.dumps({name: self.headers.get(name) for name in names}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", 9000), Backend).serve_forever()
