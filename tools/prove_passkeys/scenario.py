"""What Ada does with passkeys and second factors, step by step, in the pages of examples/browser."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from harness.service_process import ServiceProcess
from tools.prove_passkeys.page import Authenticator, Page

LOGIN: Final = "ada@example.org"
PASSWORD: Final = "mauve otter sings at dawn"
_STATUS: Final = "#status"


@dataclass
class Stage:
    """A service, a page at its side, and what the steps leave for later ones."""

    service: ServiceProcess
    page: Page
    url: str
    """The address of the page."""
    pictures: Path
    laptop: Authenticator
    phone: Authenticator

    def expect(self, status: str) -> None:
        """Wait until the page says so."""
        self.page.wait_for(_STATUS, status)

    def picture(self, name: str) -> None:
        """Keep what the page looks like."""
        self.page.screenshot(self.pictures / f"{name}.png")

    def use(self, authenticator: Authenticator) -> None:
        """Touch this authenticator from now on, and leave the other alone."""
        for each in (self.laptop, self.phone):
            each.use(is_present=each is authenticator)

    def start_over(self) -> None:
        """Load the page again, which forgets its session."""
        self.page.open(self.url)

    def log_in_by_passkey(self) -> None:
        """Log in with the passkey of the authenticator that is in use."""
        self.start_over()
        self.page.press("#log-in-by-passkey")
        self.expect_two_factors("user", "mfa")

    def send_password(self) -> None:
        """Send login id and password, and wait for the second step."""
        self.start_over()
        self.page.fill("#log-in [name=login_id]", LOGIN)
        self.page.fill("#log-in [name=password]", PASSWORD)
        self.page.press("#log-in button")
        self.page.wait_for("#second-factor:not([hidden]) h2", "Second factor")

    def answer(self, method: str, text: str) -> None:
        """Log in with the password and this text as the second factor."""
        self.send_password()
        self.page.fill(f"#second-factor [name={method}]", text)
        self.page.press(f"#second-factor [data-method={method}] button")

    def expect_two_factors(self, *amr: str) -> None:
        """Wait for a session of assurance 2 that was authenticated in these ways."""
        self.expect("Logged in.")
        self.page.wait_for("#session", "Assurance 2: ")
        shown = self.page.text("#session").removeprefix("Assurance 2: ").split(", ")
        require(set(amr) <= set(shown), f"amr is {shown}")


Step: TypeAlias = Callable[[Stage], None]


class StepFailed(Exception):
    """A step came out otherwise than it should."""


def require(condition: bool, told: str) -> None:
    """Raise StepFailed unless the condition holds."""
    if not condition:
        raise StepFailed(told)


def register(stage: Stage) -> None:
    """Register with a password alone."""
    for name, value in (("login_id", LOGIN), ("name", "Ada Lovelace"), ("password", PASSWORD)):
        stage.page.fill(f"#register [name={name}]", value)
    stage.page.press("#register button")
    stage.expect("Logged in.")
    stage.page.wait_for("#session", "Assurance 1: pwd")


def add_passkey(stage: Stage) -> None:
    """Add the laptop's passkey, which makes the session one of two factors."""
    stage.use(stage.laptop)
    _add(stage, "laptop")
    stage.picture("passkey-added")
    (credential,) = stage.laptop.credentials()
    require(credential["isResidentCredential"], "the credential is not discoverable")


def add_passkey_again(stage: Stage) -> None:
    """A second passkey on the same authenticator is refused by the browser."""
    stage.page.fill("#add-passkey [name=name]", "laptop again")
    stage.page.press("#add-passkey button")
    stage.expect("InvalidStateError")
    require(len(stage.laptop.credentials()) == 1, "the authenticator has another passkey")


def log_out(stage: Stage) -> None:
    """Log out: the session ends."""
    stage.page.press("#log-out")
    stage.expect("Logged out.")


def log_in_by_passkey(stage: Stage) -> None:
    """Log in with the passkey alone: no name, no password, two factors."""
    stage.log_in_by_passkey()
    stage.picture("logged-in-by-passkey")
    (credential,) = stage.laptop.credentials()
    user_handle = UUID(bytes=base64.b64decode(credential["userHandle"]))
    shown = stage.service.request("GET", f"/v1/users/{user_handle}", _token_of_root(stage.service))
    require(shown.json()["login_id"] == LOGIN, "the user handle is not the id of the user")


def log_in_by_password_and_passkey(stage: Stage) -> None:
    """Log in with the password, then the passkey."""
    stage.send_password()
    stage.picture("second-factor")
    stage.page.press("#second-factor [data-method=passkey] button")
    stage.expect_two_factors("pwd", "user", "mfa")


def fail_user_verification(stage: Stage) -> None:
    """A passkey whose owner is not recognised logs nobody in."""
    stage.start_over()
    stage.laptop.verify_user(is_verified=False)
    stage.page.press("#log-in-by-passkey")
    stage.expect("NotAllowedError")
    stage.laptop.verify_user(is_verified=True)
    stage.log_in_by_passkey()


def use_a_copy(stage: Stage) -> None:
    """A passkey whose counter went back logs in, and the audit trail tells of it."""
    (credential,) = stage.laptop.credentials()
    require(credential["signCount"] > 2, "the authenticator does not count")
    stage.laptop.restore({**credential, "signCount": 1})
    stage.log_in_by_passkey()
    events = stage.service.request("GET", "/v1/events", _token_of_root(stage.service)).json()["items"]
    told = [event["action"] for event in events]
    require("passkey.counter_regressed" in told, f"no event tells of the counter: {told}")


def add_second_passkey(stage: Stage) -> None:
    """Add a passkey on a phone and log in with it, in a browser that cannot convert JSON itself."""
    stage.start_over()
    stage.page.become_older()
    stage.page.press("#log-in-by-passkey")
    stage.expect_two_factors("user", "mfa")
    stage.use(stage.phone)
    _add(stage, "phone")
    stage.picture("two-passkeys")
    require(len(stage.page.texts("#passkeys li")) == 2, "the page does not list two passkeys")
    log_out(stage)
    stage.page.press("#log-in-by-passkey")
    stage.expect_two_factors("user", "mfa")


def remove_passkey(stage: Stage) -> None:
    """Remove the laptop's passkey: it logs nobody in any more, the phone's does."""
    names = stage.page.texts("#passkeys li")
    position = next(number for number, name in enumerate(names, 1) if "laptop" in name)
    stage.page.press(f"#passkeys li:nth-child({position}) button")
    stage.expect("laptop is removed.")
    stage.use(stage.laptop)
    stage.start_over()
    stage.page.press("#log-in-by-passkey")
    stage.expect("invalid_credentials")
    stage.picture("removed-passkey")
    stage.use(stage.phone)
    stage.log_in_by_passkey()


def use_authenticator_app(stage: Stage) -> None:
    """Set up an authenticator app, and log in with a code of it; the same code again is refused."""
    stage.page.press("#enroll-totp")
    stage.expect("Add the key")
    secret = stage.page.text("#totp-secret")
    stage.page.fill("#confirm-totp [name=code]", _code_of(secret))
    stage.page.press("#confirm-totp button")
    stage.expect("is set up")
    code = _code_of(secret, steps_ahead=1)  # that of now has been used
    stage.answer("totp", code)
    stage.expect_two_factors("pwd", "otp", "mfa")
    stage.answer("totp", code)
    stage.expect("invalid_credentials")


def use_recovery_code(stage: Stage) -> None:
    """Make recovery codes, and log in with one of them; the same again is refused."""
    stage.log_in_by_passkey()
    stage.page.press("#make-recovery-codes")
    stage.expect("shown once")
    codes = stage.page.texts("#recovery-codes li")
    require(len(set(codes)) == 10, f"there are {len(codes)} codes")
    stage.answer("recovery_code", codes[0].upper())
    stage.expect_two_factors("pwd", "mfa")
    stage.answer("recovery_code", codes[0])
    stage.expect("invalid_credentials")


STEPS: Final[tuple[Step, ...]] = (
    register,
    add_passkey,
    add_passkey_again,
    log_out,
    log_in_by_passkey,
    log_in_by_password_and_passkey,
    fail_user_verification,
    use_a_copy,
    add_second_passkey,
    remove_passkey,
    use_authenticator_app,
    use_recovery_code,
)


def _add(stage: Stage, name: str) -> None:
    stage.page.fill("#add-passkey [name=name]", name)
    stage.page.press("#add-passkey button")
    stage.expect(f"{name} is added.")


def _token_of_root(service: ServiceProcess) -> str:
    root = {"login_id": "root", "password": service.first_password()}
    token: str = service.request("POST", "/v1/sessions", json=root).raise_for_status().json()["token"]
    return token


def _code_of(secret: str, *, steps_ahead: int = 0) -> str:
    """Return the code that an authenticator app shows for a key."""
    app = TOTP(base64.b32decode(secret), 6, SHA1(), 30)  # noqa: S303 - of RFC 6238
    return app.generate(int(time.time()) + 30 * steps_ahead).decode()
