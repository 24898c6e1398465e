"""The test kit's authenticator app, held against the service's own check of codes."""

import time
from base64 import b32decode
from datetime import UTC, datetime

import pytest
from rollcall_testkit.totp import AuthenticatorApp, code_at

from service.security.totp import base32_of, matching_step, new_totp_secret

HALF_MINUTE = 63_333_333
BEGIN, LATE = 30.0 * HALF_MINUTE, 30.0 * HALF_MINUTE + 27


class Clock:
    """Time that passes by sleeping."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = BEGIN
        self.slept: list[float] = []
        patch.setattr(time, "clock_gettime", lambda clock: self.now)
        patch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def app() -> AuthenticatorApp:
    return AuthenticatorApp(base32_of(new_totp_secret()))


@pytest.mark.parametrize(("step", "code"), [(1, "287082"), (37_037_036, "081804"), (666_666_666, "353130")])
def test_code_at_a_step_is_that_of_the_standard(step: int, code: str) -> None:
    """RFC 6238, appendix B."""
    assert code_at("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", step) == code


def test_code_is_one_that_the_service_takes() -> None:
    secret = new_totp_secret()
    for step in range(0, 100_000, 997):
        code, at = code_at(base32_of(secret), step), datetime.fromtimestamp(step * 30, UTC)
        assert step == 0 or matching_step(secret, code, at, after_step=step - 1) == step


@pytest.mark.parametrize(
    ("now", "offsets", "slept"),
    [(BEGIN, [-1, 0, 1, 2, 3], [30, 30]), (LATE, [0, 1, 2, 3], [3, 30])],
    ids=["early", "late"],
)
def test_code_again_is_the_next_one_as_soon_as_the_service_takes_it(
    app: AuthenticatorApp, clock: Clock, now: float, offsets: list[int], slept: list[float]
) -> None:
    clock.now = now
    secret = b32decode(app.secret)
    last_step = None
    for offset in offsets:
        code = app.code()
        at = datetime.fromtimestamp(clock.now + 3, UTC)  # when it has reached the service
        last_step = matching_step(secret, code, at, after_step=last_step)
        assert last_step == HALF_MINUTE + offset
    assert clock.slept == slept


def test_code_after_a_while_is_again_the_earliest(app: AuthenticatorApp, clock: Clock) -> None:
    app.code()
    clock.now += 3000
    assert app.code() == code_at(app.secret, HALF_MINUTE + 99)
    assert clock.slept == []
