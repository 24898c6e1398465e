"""The documentation page. It works offline: it loads nothing from another host.

Swagger UI is in `assets/` as it was released; `assets/VERSION` names the release.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Final

_ASSETS: Final = Path(__file__).with_name("assets")

DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy of the page. Source: OWASP ASVS 5.0 3.4.3, 3.4.6.

Swagger UI sets styles from scripts, hence `'unsafe-inline'` for styles; scripts come from files only.
"""

DOCS_PAGE: Final = b"""\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Rollcall API</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/init.js"></script>
</body>
</html>
"""
"""The page for `/docs`, which is sent with `DOCS_POLICY`."""

# By default Swagger UI sends the schema to a public validator.
_INIT: Final = b"""\
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  queryConfigEnabled: false,
  validatorUrl: null,
});
"""


@cache
def _asset(name: str) -> bytes:
    """Return a file of Swagger UI, which is read once."""
    return (_ASSETS / name).read_bytes()


_JAVASCRIPT: Final = "text/javascript; charset=utf-8"
ASSETS: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "/docs/init.js": (_JAVASCRIPT, lambda: _INIT),
    "/docs/swagger-ui-bundle.js": (_JAVASCRIPT, partial(_asset, "swagger-ui-bundle.js")),
    "/docs/swagger-ui.css": ("text/css; charset=utf-8", partial(_asset, "swagger-ui.css")),
}
"""What the page loads: path → content type and a function that returns the bytes."""
