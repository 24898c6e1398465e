"""Authenticator apps: enrolment, confirmation and removal."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from service.domain.callers import Caller, CallerKind
from service.domain.errors import NotFound
from service.domain.events import AuditContext
from service.security.tokens import SESSION_PREFIX, digest_of
from service.security.totp import base32_of, matching_step
from service.services import Services
from service.usecases import totp
from settings.factors import FactorSettings
from tests.support.api import Api, error_of, faults_of, serving
from tests.support.databases import execute, fetch_values
from tests.support.factors import TOTP, enroll_totp, totp_code, wrong_code
from tests.support.settings import settings_for_tests

CONFIRM = f"{TOTP}/confirm"


async def stored(service: Services, columns: str) -> list[tuple[Any, ...]]:
    """Return columns of the secrets."""
    return list(await fetch_values(service.engine, f"SELECT {columns} FROM totp_secrets"))


async def factors_of(api: Api) -> Any:
    return (await api.get("/v1/users/me")).json()["factors"]


async def test_enroll_totp_shows_a_secret_and_its_uri(api: Api) -> None:
    ada = api.by(await api.account("ada@example.org"))
    made = await ada.post(TOTP)
    assert made.status_code == 201
    assert re.fullmatch(r"[A-Z2-7]{32}", made.json()["secret"])
    uri = urlsplit(made.json()["uri"])
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", "/rollcall:ada@example.org")
    assert parse_qs(uri.query)["secret"] == [made.json()["secret"]]
    assert await factors_of(ada) == []


async def test_enroll_totp_stores_the_secret_encrypted_for_its_row(api: Api, service: Services) -> None:
    """Source: OWASP ASVS 5.0 11.3.2."""
    ada = api.by(await api.account())
    await ada.post(TOTP)
    ((row_id, ciphertext),) = await stored(service, "id, secret")
    assert service.totp_secrets is not None
    secret = service.totp_secrets.decrypt(row_id, ciphertext)
    assert len(secret) == 20
    assert secret not in ciphertext


async def test_confirm_totp_with_the_code_of_the_app_enrols_it(api: Api) -> None:
    ada = api.by(await api.account())
    secret = (await ada.post(TOTP)).json()["secret"]
    code = totp_code(secret)
    assert (await ada.post(CONFIRM, {"code": f" {code[:3]} {code[3:]}"})).status_code == 204
    assert await factors_of(ada) == ["totp"]


async def test_confirm_totp_notes_the_step_of_the_code(api: Api, service: Services) -> None:
    """Its code cannot log in as well. Source: RFC 6238 5.2."""
    secret = await enroll_totp(api.by(await api.account()))
    ((row_id, ciphertext, step, now),) = await stored(service, "id, secret, last_step, now()")
    assert service.totp_secrets is not None
    key = service.totp_secrets.decrypt(row_id, ciphertext)
    assert base32_of(key) == secret
    used = [totp_code(secret, steps_ahead=steps) for steps in (-1, 0)]
    assert all(matching_step(key, code, now, after_step=step) is None for code in used)


async def test_confirm_totp_lets_the_session_count_as_two_factors_and_as_new(
    api: Api, service: Services
) -> None:
    account = await api.account()
    ada = api.by(account)
    aged = "UPDATE sessions SET created_at = created_at - interval '9 minutes' WHERE id = :id"
    await execute(service.engine, aged, id=account.session_id)
    await enroll_totp(ada)
    session = (await ada.get("/v1/sessions/current")).json()["session"]
    assert (session["amr"], session["assurance"]) == (["pwd", "otp", "mfa"], 2)
    assert session["auth_time"] > session["created_at"]
    await execute(service.engine, aged, id=account.session_id)
    assert (await ada.post(TOTP)).status_code == 201  # within ten minutes of the confirmation


async def test_confirm_totp_with_a_wrong_code_enrols_nothing(api: Api) -> None:
    ada = api.by(await api.account())
    secret = (await ada.post(TOTP)).json()["secret"]
    wrong = await ada.post(CONFIRM, {"code": wrong_code(secret)})
    assert faults_of(wrong) == [("/code", "wrong_code")]
    assert faults_of(await ada.post(CONFIRM, {"code": "no code"})) == [("/code", "wrong_code")]
    assert await factors_of(ada) == []
    session = (await ada.get("/v1/sessions/current")).json()["session"]
    assert (session["amr"], session["assurance"]) == (["pwd"], 1)


async def test_confirm_totp_with_a_secret_that_no_key_decrypts_enrols_nothing(
    api: Api, service: Services
) -> None:
    ada = api.by(await api.account())
    secret = (await ada.post(TOTP)).json()["secret"]
    await execute(service.engine, "UPDATE totp_secrets SET secret = '\\x0100'")
    assert faults_of(await ada.post(CONFIRM, {"code": totp_code(secret)})) == [("/code", "wrong_code")]
    assert await factors_of(ada) == []


async def test_confirm_totp_with_wrong_codes_is_throttled_for_the_session_alone(
    api: Api, service: Services
) -> None:
    """Source: OWASP ASVS 5.0 6.3.1."""
    account = await api.account()
    ada, other = api.by(account), api.by((await api.log_in("ada")).json()["token"])
    secret = (await ada.post(TOTP)).json()["secret"]
    wrong = {"code": wrong_code(secret)}
    assert (await other.post(CONFIRM, wrong)).status_code == 422
    await execute(service.engine, "UPDATE login_buckets SET failures = 12")  # the next one waits for minutes
    assert [(await other.post(CONFIRM, wrong)).status_code for _ in range(2)] == [422, 429]
    assert error_of(await other.post(CONFIRM, {"code": totp_code(secret)})) == (429, "login_throttled")
    assert (await ada.post(CONFIRM, {"code": totp_code(secret)})).status_code == 204


async def test_confirm_totp_forgives_no_wrong_code_before(api: Api, service: Services) -> None:
    """The right code takes back its own attempt, and clears none of those before."""
    ada = api.by(await api.account())
    secret = (await ada.post(TOTP)).json()["secret"]
    for _ in range(2):
        await ada.post(CONFIRM, {"code": wrong_code(secret)})
    await ada.post(CONFIRM, {"code": totp_code(secret)})
    assert await fetch_values(service.engine, "SELECT failures FROM login_buckets") == [(2,)]


async def test_confirm_totp_without_a_pending_secret_gets_404_and_counts_nothing(
    api: Api, service: Services
) -> None:
    ada = api.by(await api.account())
    assert error_of(await ada.post(CONFIRM, {"code": "123456"})) == (404, "not_found")
    await enroll_totp(ada)
    assert error_of(await ada.post(CONFIRM, {"code": "123456"})) == (404, "not_found")
    assert await fetch_values(service.engine, "SELECT coalesce(max(failures), 0) FROM login_buckets") == [
        (0,)
    ]


async def test_enroll_totp_again_replaces_the_pending_secret(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    first = (await ada.post(TOTP)).json()["secret"]
    second = (await ada.post(TOTP)).json()["secret"]
    assert len(await stored(service, "id")) == 1
    assert faults_of(await ada.post(CONFIRM, {"code": totp_code(first)})) == [("/code", "wrong_code")]
    assert (await ada.post(CONFIRM, {"code": totp_code(second)})).status_code == 204


async def test_enroll_totp_again_keeps_the_confirmed_app_until_the_new_one_is_confirmed(
    api: Api, service: Services
) -> None:
    ada = api.by(await api.account())
    await enroll_totp(ada)
    ((first, _),) = await stored(service, "id, confirmed_at")
    secret = (await ada.post(TOTP)).json()["secret"]
    confirmed = {row_id for row_id, at in await stored(service, "id, confirmed_at") if at is not None}
    assert confirmed == {first}
    assert (await ada.post(CONFIRM, {"code": totp_code(secret)})).status_code == 204
    ((second, at),) = await stored(service, "id, confirmed_at")
    assert second != first
    assert at is not None
    assert await factors_of(ada) == ["totp"]


async def test_remove_totp_removes_confirmed_and_pending_secrets(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    await enroll_totp(ada)
    await ada.post(TOTP)
    assert (await ada.delete(TOTP)).status_code == 204
    assert await stored(service, "id") == []
    assert await factors_of(ada) == []
    assert error_of(await ada.delete(TOTP)) == (404, "not_found")


async def test_remove_totp_that_is_only_pending_tells_nobody(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    await ada.post(TOTP)
    assert (await ada.delete(TOTP)).status_code == 204
    assert await fetch_values(service.engine, "SELECT count(*) FROM events") == [(0,)]


async def test_totp_without_a_secrets_key_raises_not_found(api: Api, service: Services) -> None:
    account = await api.account()
    digest = digest_of(account.token, SESSION_PREFIX)
    assert digest is not None
    found = await service.reads.sessions.find_live(digest)
    assert found is not None
    context = AuditContext(Caller(CallerKind.USER, found))
    parts = replace(service.factors, totp_secrets=None)
    with pytest.raises(NotFound):
        await totp.enroll_totp(parts, context=context)
    with pytest.raises(NotFound):
        await totp.confirm_totp(parts, found, "123456", context=context)
    assert (await api.by(account).post(TOTP)).status_code == 201


@pytest.mark.parametrize("required", ["admins", "everybody"])
async def test_session_without_a_required_factor_may_only_enrol_one(
    api: Api, shared_database: str, required: Literal["admins", "everybody"]
) -> None:
    """Source: OWASP ASVS 5.0 6.3.3."""
    demanding = settings_for_tests(factors=FactorSettings(required=required))
    async with serving(demanding, shared_database) as running, running.client() as client:
        ours = Api(client, running.service)
        root = ours.by(await ours.admin())
        for path in ("/v1/users", "/v1/users/me/devices", "/v1/users/me/passkeys"):
            assert error_of(await root.get(path)) == (403, "factor_enrollment_required")
        await enroll_totp(root)
        assert (await root.get("/v1/users")).status_code == 200
        assert (await root.delete(TOTP)).status_code == 204
        assert error_of(await root.get("/v1/users")) == (403, "factor_enrollment_required")


async def test_enroll_totp_lasts_no_longer_than_the_login_is_recent(api: Api, service: Services) -> None:
    account = await api.account()
    await execute(
        service.engine,
        "UPDATE sessions SET created_at = created_at - CAST(:age AS interval)",
        age=timedelta(minutes=10),
    )
    ada = api.by(account)
    for answer in (await ada.post(TOTP), await ada.post(CONFIRM, {"code": "1"}), await ada.delete(TOTP)):
        assert error_of(answer) == (403, "reauthentication_required")
