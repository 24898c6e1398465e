"""The second step of a login: a challenge, and the factor that answers it."""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest
from rollcall_testkit.passkeys import SoftwarePasskey
from sqlalchemy import text

from service.db.core.statements import Statement
from service.domain.callers import OPERATOR
from service.domain.events import AuditContext
from service.security.recovery_codes import digest_of_recovery_code
from service.security.webauthn import PasskeyLogin
from service.services import Services
from service.usecases.factor_proofs import PasskeyProof, Proof, RecoveryCodeProof, TotpProof
from tests.flows.recovering import account_with_address
from tests.flows.throttling import SETTINGS, WRONG
from tests.support.api import PASSWORD, Api, error_of, faults_of, running_with
from tests.support.databases import count_rows, execute, fetch_values
from tests.support.mail import sent_mails
from tests.support.second_factors import INVALID, Factors, ada_with, answer, ask, enroll

CHALLENGE = "rcc_" + "A" * 43

running = running_with(SETTINGS)


async def test_log_in_with_totp_opens_a_session_of_two_factors(api: Api, service: Services) -> None:
    """Source: OWASP ASVS 5.0 6.3.3."""
    ada = await ada_with(api, totp=True)
    problem = await ask(api)
    assert problem["methods"] == ["totp"]
    assert "public_key" not in problem
    assert "errors" not in problem
    before = await fetch_values(service.engine, "SELECT last_login_at FROM users")

    opened = await answer(api, problem["challenge"], totp=ada.code())

    assert (before, opened.status_code) == ([(None,)], 201)
    session = opened.json()["session"]
    assert (session["amr"], session["assurance"]) == (["pwd", "otp", "mfa"], 2)
    assert opened.json()["user"]["factors"] == ["totp"]
    assert (await api.by(opened.json()["token"]).get("/v1/users/me")).status_code == 200
    assert await fetch_values(service.engine, "SELECT last_login_at IS NULL FROM users") == [(False,)]


async def test_right_password_with_a_factor_opens_no_session(api: Api, service: Services) -> None:
    await ada_with(api, totp=True)
    before = await count_rows(service.engine, "sessions")
    problem = await ask(api)
    assert await count_rows(service.engine, "sessions") == before
    assert await count_rows(service.engine, "devices") == 0
    stored = await fetch_values(service.engine, "SELECT token_digest FROM login_challenges")
    assert stored == [(sha256(problem["challenge"].encode()).digest(),)]
    assert error_of(await api.by(problem["challenge"]).get("/v1/users/me")) == (401, "invalid_token")


async def test_wrong_password_with_a_factor_is_served_like_any_other(api: Api) -> None:
    await ada_with(api, totp=True)
    answers = [await api.log_in(name, WRONG) for name in ("ada", "nobody")]
    assert {error_of(refused) for refused in answers} == {INVALID}
    assert len({str({**refused.json(), "instance": ""}) for refused in answers}) == 1


async def test_log_in_with_a_passkey_as_second_factor_combines_the_ways(api: Api) -> None:
    ada = await ada_with(api, passkey=SoftwarePasskey())
    problem = await ask(api)
    opened = await answer(api, problem["challenge"], passkey=ada.sign(problem["public_key"]))
    assert opened.status_code == 201
    assert opened.json()["session"]["amr"] == ["pwd", "hwk", "user", "mfa"]


async def test_log_in_with_a_recovery_code_uses_it_up_and_tells_the_owner(
    api: Api, service: Services
) -> None:
    ada = await enroll(api, await account_with_address(api), totp=True, recovery_codes=True)
    code = ada.recovery_codes[0]
    challenge = (await ask(api))["challenge"]
    opened = await answer(api, challenge, recovery_code=code.upper().replace("-", " "))
    assert opened.status_code == 201
    assert opened.json()["session"]["amr"] == ["pwd", "otp", "mfa"]
    mails = [mail for mail in await sent_mails(service) if mail.kind == "recovery_code_used"]
    assert len(mails) == 1
    assert "9" in mails[0].text
    again = await answer(api, (await ask(api))["challenge"], recovery_code=code)
    assert error_of(again) == INVALID
    assert await count_rows(service.engine, "recovery_codes") == 9


async def test_log_in_by_mailed_code_needs_the_second_factor_too(api: Api, service: Services) -> None:
    ada = await enroll(api, await account_with_address(api), totp=True)
    code_token = (await api.post("/v1/login-codes", {"login_id": "ada"})).json()["code_token"]
    (mail,) = await sent_mails(service)
    body = {"code_token": code_token, "code": mail.token}
    refused = await api.post("/v1/sessions", body)
    assert error_of(refused) == (403, "second_factor_required")
    assert error_of(await api.post("/v1/sessions", body)) == INVALID
    opened = await answer(api, refused.json()["challenge"], totp=ada.code())
    assert opened.json()["session"]["amr"] == ["otp", "mfa"]


async def test_code_is_accepted_once(api: Api) -> None:
    """Source: RFC 6238 5.2; OWASP ASVS 5.0 6.5.1."""
    ada = await ada_with(api, totp=True)
    code = ada.code()
    assert (await answer(api, (await ask(api))["challenge"], totp=code)).status_code == 201
    assert error_of(await answer(api, (await ask(api))["challenge"], totp=code)) == INVALID


Fail = Callable[[Api, Factors, str], Awaitable[httpx.Response]]
FAILURES: dict[str, Fail] = {
    "wrong code": lambda api, ada, challenge: answer(api, challenge, totp=ada.wrong_code()),
    "no code": lambda api, _, challenge: answer(api, challenge, totp="x"),
    "old code": lambda api, ada, challenge: answer(api, challenge, totp=ada.code(steps=-3)),
    "wrong recovery code": lambda api, _, challenge: answer(
        api, challenge, recovery_code="000000-000000-000000-000000"
    ),
    "no recovery code": lambda api, _, challenge: answer(api, challenge, recovery_code="0"),
    "no passkey": lambda api, _, challenge: answer(api, challenge, passkey={}),
    "unknown challenge": lambda api, ada, _: answer(api, CHALLENGE, totp=ada.code()),
    "no challenge": lambda api, ada, _: answer(api, "x", totp=ada.code()),
}


@pytest.mark.parametrize("why", FAILURES)
async def test_every_failure_is_the_same_and_leaves_the_challenge(
    api: Api, service: Services, why: str
) -> None:
    ada = await ada_with(api, totp=True, passkey=SoftwarePasskey(), recovery_codes=True)
    challenge = (await ask(api))["challenge"]
    reference = await answer(api, challenge, totp=ada.wrong_code())
    refused = await FAILURES[why](api, ada, challenge)
    assert error_of(refused) == INVALID
    assert {**refused.json(), "instance": ""} == {**reference.json(), "instance": ""}
    assert await count_rows(service.engine, "sessions") == 1
    assert (await answer(api, challenge, totp=ada.code())).status_code == 201


def without_user_handle(passkey: dict[str, Any]) -> dict[str, Any]:
    return {**passkey, "response": {**passkey["response"], "userHandle": None}}


async def test_log_in_with_a_passkey_as_second_factor_needs_no_user_handle(api: Api) -> None:
    """The challenge has told who it is. Source: WebAuthn Level 3 7.2."""
    ada = await ada_with(api, passkey=SoftwarePasskey())
    problem = await ask(api)
    passkey = without_user_handle(ada.sign(problem["public_key"]))
    assert (await answer(api, problem["challenge"], passkey=passkey)).status_code == 201


async def test_factors_of_another_user_fail(api: Api) -> None:
    ada = await ada_with(api, totp=True, passkey=SoftwarePasskey(), recovery_codes=True)
    eve = await enroll(
        api, await api.account("eve"), totp=True, passkey=SoftwarePasskey(), recovery_codes=True
    )
    problem = await ask(api)
    challenge, public_key = problem["challenge"], {**problem["public_key"], "allowCredentials": []}
    stolen: list[dict[str, Any]] = [
        {"totp": eve.code()},
        {"recovery_code": eve.recovery_codes[0]},
        {"passkey": eve.sign(public_key)},
        {"passkey": without_user_handle(eve.sign(public_key))},
    ]
    for factor in stolen:
        assert error_of(await answer(api, challenge, **factor)) == INVALID
    hers = (await ask(api, "eve"))["challenge"]
    assert error_of(await answer(api, hers, totp=ada.code())) == INVALID


@pytest.mark.parametrize(
    "alter",
    [
        lambda ada, public_key: ada.sign(public_key, "https://evil.example"),
        lambda ada, public_key: ada.sign({**public_key, "challenge": "A" * 43}),
        lambda ada, public_key: (
            ada.sign(public_key) | {"response": {**ada.sign(public_key)["response"], "signature": "AAAA"}}
        ),
    ],
    ids=["other origin", "other challenge", "other signature"],
)
async def test_passkey_that_signed_something_else_fails(
    api: Api, alter: Callable[[Factors, dict[str, Any]], dict[str, Any]]
) -> None:
    ada = await ada_with(api, passkey=SoftwarePasskey())
    problem = await ask(api)
    challenge, public_key = problem["challenge"], problem["public_key"]
    assert error_of(await answer(api, challenge, passkey=alter(ada, public_key))) == INVALID
    assert (await answer(api, challenge, passkey=ada.sign(public_key))).status_code == 201


async def test_use_up_a_factor_removed_after_its_check_returns_none(api: Api, service: Services) -> None:
    """It was there when it was verified."""
    ada = await ada_with(api, totp=True, passkey=SoftwarePasskey(), recovery_codes=True)
    assert service.totp_secrets is not None
    (passkey,) = await service.reads.second_factors.list_all(ada.account.id)
    stored = await service.reads.second_factors.get_totp(ada.account.id)
    digest = digest_of_recovery_code(ada.account.id, ada.recovery_codes[0])
    assert stored is not None
    assert digest is not None
    used = PasskeyLogin(1, sign_count_went_back=False, is_backed_up=False, user_verified=True)
    proofs: list[Proof] = [
        TotpProof(stored.id, 1),
        RecoveryCodeProof(digest),
        PasskeyProof(passkey, used),
    ]
    user = await service.reads.users.get(ada.account.id)
    assert user is not None
    for statement, expected in (("SELECT 1", [True] * 3), ("DELETE FROM users", [False] * 3)):
        async with service.database.transaction(caller=OPERATOR) as tx:
            await tx.execute(Statement(text(statement)))
            spent = [await proof.spend(tx, user, AuditContext(OPERATOR)) for proof in proofs]
            tx.abandon()
        assert spent == expected


async def test_log_in_with_a_second_factor_ends_the_session_that_it_replaces(api: Api) -> None:
    """Source: OWASP ASVS 5.0 7.2.4."""
    ada = await ada_with(api, totp=True)
    old = api.by(ada.account)
    challenge = (await ask(old))["challenge"]
    assert (await old.get("/v1/users/me")).status_code == 200
    assert (await answer(old, challenge, totp=ada.code())).status_code == 201
    assert (await old.get("/v1/users/me")).status_code == 401


async def test_totp_without_its_key_is_neither_offered_nor_right(
    api: Api, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await ada_with(api, totp=True, recovery_codes=True)
    monkeypatch.setattr(service.login.factors, "totp_secrets", None)
    problem = await ask(api)
    assert problem["methods"] == ["recovery_code"]
    assert error_of(await answer(api, problem["challenge"], totp=ada.code())) == INVALID
    recovered = await answer(api, problem["challenge"], recovery_code=ada.recovery_codes[0])
    assert recovered.status_code == 201


async def test_unreadable_secret_fails_like_a_wrong_code(api: Api, service: Services) -> None:
    ada = await ada_with(api, totp=True)
    await execute(service.engine, "UPDATE totp_secrets SET id = gen_random_uuid()")
    assert error_of(await answer(api, (await ask(api))["challenge"], totp=ada.code())) == INVALID


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"challenge": CHALLENGE}, [("/totp", "missing_field")]),
        ({"totp": "123456"}, [("/challenge", "missing_field")]),
        (
            {"challenge": CHALLENGE, "totp": "123456", "recovery_code": "x"},
            [("/recovery_code", "conflicting_fields")],
        ),
        (
            {"login_id": "ada", "password": PASSWORD, "totp": "123456"},
            [("/totp", "conflicting_fields")],
        ),
        ({"challenge_id": "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"}, [("/passkey", "missing_field")]),
    ],
)
async def test_log_in_with_the_fields_of_two_ways_names_them(
    api: Api, body: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    assert faults_of(await api.post("/v1/sessions", body)) == faults
