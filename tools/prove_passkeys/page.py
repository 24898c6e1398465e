"""A page in the browser, used as a person does: fill in, press, read; and authenticators to do it with."""

import base64
import json
import time
from pathlib import Path
from typing import Any, Final

from tools.prove_passkeys.devtools import BrowserFailed, Pipe

_WAIT_S: Final = 15.0
_POLL_INTERVAL_S: Final = 0.02


class Authenticator:
    """A virtual authenticator that keeps discoverable credentials and verifies its user."""

    def __init__(self, page: "Page", transport: str) -> None:
        options = {
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": transport,
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self._page = page
        self.id: str = page.command("WebAuthn.addVirtualAuthenticator", options=options)["authenticatorId"]

    def use(self, *, is_present: bool) -> None:
        """Have the person touch it when a page asks, or leave it alone."""
        self._page.command(
            "WebAuthn.setAutomaticPresenceSimulation", authenticatorId=self.id, enabled=is_present
        )

    def verify_user(self, *, is_verified: bool) -> None:
        """Have the person pass or fail the authenticator's own check, such as a finger or a PIN."""
        self._page.command("WebAuthn.setUserVerified", authenticatorId=self.id, isUserVerified=is_verified)

    def credentials(self) -> list[dict[str, Any]]:
        """Return its credentials, with `signCount` and `userHandle`."""
        found: list[dict[str, Any]] = self._page.command("WebAuthn.getCredentials", authenticatorId=self.id)[
            "credentials"
        ]
        return found

    def restore(self, credential: dict[str, Any]) -> None:
        """Replace a credential, as somebody does who has an older copy of it."""
        self._page.command(
            "WebAuthn.removeCredential", authenticatorId=self.id, credentialId=credential["credentialId"]
        )
        self._page.command("WebAuthn.addCredential", authenticatorId=self.id, credential=credential)


class Page:
    """One page with virtual authenticators in place of real ones."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        target = pipe.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = pipe.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.command("Page.enable")
        self.command("WebAuthn.enable")

    def command(self, method: str, /, **parameters: object) -> dict[str, Any]:
        """Send a command of the DevTools protocol to the page."""
        return self._pipe.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Open an address, and wait until it is loaded."""
        self.command("Page.navigate", url=url)
        self._wait("document.readyState === 'complete' && location.href", url)

    def become_older(self) -> None:
        """Take away what browsers have only had since 2025: the conversion from and to JSON."""
        self._evaluate(
            "delete PublicKeyCredential.parseCreationOptionsFromJSON;"
            "delete PublicKeyCredential.parseRequestOptionsFromJSON;"
            "delete PublicKeyCredential.prototype.toJSON"
        )

    def fill(self, selector: str, text: str) -> None:
        """Fill in a field."""
        self._evaluate(f"{_element(selector)}.value = {json.dumps(text)}")

    def press(self, selector: str) -> None:
        """Press a button that is visible.

        Raises: BrowserFailed without one.
        """
        self._evaluate(f"if (!{_element(selector)}.checkVisibility()) throw Error('hidden')")
        self._evaluate(f"{_element(selector)}.click()")

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self._evaluate(f"{_element(selector)}.textContent"))

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that match."""
        found: list[str] = self._evaluate(
            f"Array.from(document.querySelectorAll({json.dumps(selector)}), (one) => one.textContent)"
        )
        return found

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until there is such an element, and it shows a text.

        Raises: BrowserFailed with the text that it shows instead.
        """
        self._wait(f"{_element(selector)}?.textContent", text)

    def screenshot(self, file: Path) -> None:
        """Write what the page looks like, as PNG."""
        file.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))

    def _wait(self, expression: str, wanted: str) -> None:
        ends_at, shown = time.monotonic() + _WAIT_S, ""
        while time.monotonic() < ends_at:
            if wanted in (shown := str(self._evaluate(expression))):
                return
            time.sleep(_POLL_INTERVAL_S)
        raise BrowserFailed(f"{shown!r} is shown, not {wanted!r}")

    def _evaluate(self, expression: str) -> Any:
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        if "exceptionDetails" in result:
            raise BrowserFailed(f"{expression}: {result['exceptionDetails']['exception']['description']}")
        return result["result"].get("value")


def _element(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"
