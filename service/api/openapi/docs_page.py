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

_PAGE: Final = """\
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

# By default Swagger UI sends the schema to a public validator.
_INIT: Final = """\
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  queryConfigEnabled: false,
  validatorUrl: null,
});
"""


def docs_page() -> bytes:
    """Return the page for `/docs`, which is sent with `DOCS_POLICY`."""
    return _PAGE.encode()


def init_script() -> bytes:
    """Return the script that starts Swagger UI on `/openapi.json`."""
    return _INIT.encode()


@cache
def asset(name: str) -> bytes:
    """Return a file of Swagger UI, which is read once."""
    return (_ASSETS / name).read_bytes()


ASSETS: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "/docs/init.js": ("text/javascript; charset=utf-8", init_script),
    "/docs/swagger-ui-bundle.js": (
        "text/javascript; charset=utf-8",
        partial(asset, "swagger-ui-bundle.js"),
    ),
    "/docs/swagger-ui.css": ("text/css; charset=utf-8", partial(asset, "swagger-ui.css")),
}
"""What the page loads: path → content type and a function that returns the bytes."""
