"""The test kit's authenticator app, held against the service's own check of codes."""

import time
from datetime import UTC, datetime

import pytest
from rollcall_testkit.totp import AuthenticatorApp, NoCodeLeft, code_at

from service.security.totp import base32_of, matching_step, new_totp_secret

NOW = 1_900_000_000


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> AuthenticatorApp:
    monkeypatch.setattr(time, "time", lambda: float(NOW))
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


def test_code_is_good_three_times_in_half_a_minute(
    app: AuthenticatorApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [NOW // 30 + offset for offset in (-1, 0, 1)]
    assert [app.code() for _ in steps] == [code_at(app.secret, step) for step in steps]
    with pytest.raises(NoCodeLeft):
        app.code()
    monkeypatch.setattr(time, "time", lambda: float(NOW + 30))
    assert app.code() == code_at(app.secret, NOW // 30 + 2)
    with pytest.raises(NoCodeLeft):
        app.code()


def test_code_after_a_while_is_again_the_earliest(
    app: AuthenticatorApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.code()
    monkeypatch.setattr(time, "time", lambda: float(NOW + 3000))
    assert app.code() == code_at(app.secret, NOW // 30 + 99)
