"""What second factors change for the rest of an account: sessions, logins under way, mails, their loss."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from rollcall_testkit.passkeys import SoftwarePasskey

from service.db.repositories.sessions import NewSession, SessionRepository
from service.domain.callers import OPERATOR
from service.domain.keys import Scope
from service.domain.users import UserRole
from service.security.ids import new_id
from service.services import Services
from tests.support.api import Account, Api, error_of
from tests.support.databases import execute, fetch_values
from tests.support.factors import (
    PASSKEYS,
    RECOVERY_CODES,
    TOTP,
    add_passkey,
    created_passkey,
    enroll_totp,
    require_factors_agree,
    totp_code,
)
from tests.support.mail import sent_mails

Enroll = Callable[[Api], Awaitable[Any]]
CHALLENGE = """
    INSERT INTO login_challenges (token_digest, user_id, expires_at)
    VALUES (sha256(:name), :user_id, now() + interval '5 minutes')
    """
ENROLL: dict[str, Enroll] = {"totp": enroll_totp, "passkey": add_passkey}


async def is_live(api: Api, token: str) -> bool:
    return (await api.by(token).get("/v1/sessions/current")).status_code == 200


async def open_session(api: Api, account: Account) -> str:
    """Return the token of one more session; a login that needs no second factor makes it."""
    token: str = (await api.log_in(account.login_id)).json()["token"]
    return token


async def weaken(service: Services, account: Account) -> None:
    """Let the sessions of an account be those of a password alone."""
    weak = "UPDATE sessions SET amr = '{pwd}', authenticated_at = NULL WHERE user_id = :user_id"
    await execute(service.engine, weak, user_id=account.id)


async def count(service: Services, table: str, account: Account) -> Any:
    ((found,),) = await fetch_values(
        service.engine,
        f"SELECT count(*) FROM {table} WHERE user_id = :user_id",
        user_id=account.id,
    )
    return found


@pytest.mark.parametrize("factor", ENROLL)
async def test_first_factor_ends_all_other_sessions_of_the_user(api: Api, factor: str) -> None:
    """So that no session of a password alone outlives the enrolment."""
    account, eve = await api.account(), await api.account("eve")
    other = await open_session(api, account)
    await ENROLL[factor](api.by(account))
    assert [await is_live(api, token) for token in (account.token, other, eve.token)] == [True, False, True]


@pytest.mark.parametrize("factor", ENROLL)
async def test_first_factor_ends_the_logins_under_way(api: Api, service: Services, factor: str) -> None:
    account, eve = await api.account(), await api.account("eve")
    for each in (account, eve):
        await execute(service.engine, CHALLENGE, name=each.login_id.encode(), user_id=each.id)
    await ENROLL[factor](api.by(account))
    left = await fetch_values(service.engine, "SELECT user_id FROM login_challenges")
    assert left == [(eve.id,)]


async def test_further_factor_ends_no_session_and_no_login_under_way(api: Api, service: Services) -> None:
    account = await api.account()
    ada = api.by(account)
    await add_passkey(ada)
    lifetime = service.policies.sessions.lifetime_of(UserRole.USER)
    other = NewSession(new_id(), account.id, b"other", lifetime, None, None)
    async with service.database.transaction(caller=OPERATOR) as tx:
        await SessionRepository(tx).add(other)
    await execute(service.engine, CHALLENGE, name=b"ada", user_id=account.id)
    await enroll_totp(ada)
    assert await count(service, "sessions", account) == 2
    assert await count(service, "login_challenges", account) == 1
    assert (await ada.get("/v1/users/me")).json()["factors"] == ["totp", "passkey"]


@pytest.mark.parametrize("factor", ENROLL)
async def test_session_of_a_password_alone_changes_no_factor_of_a_user_who_has_one(
    api: Api, service: Services, factor: str
) -> None:
    """Such sessions are those that a release without second factors has opened."""
    account = await api.account()
    ada = api.by(account)
    await ENROLL[factor](ada)
    secret = (await ada.post(TOTP)).json()["secret"]
    body = await created_passkey(ada, SoftwarePasskey())
    await weaken(service, account)
    for answer in (
        await ada.post(f"{TOTP}/confirm", {"code": totp_code(secret)}),
        await ada.post(TOTP),
        await ada.delete(TOTP),
        await ada.post(PASSKEYS, body),
        await ada.post(f"{PASSKEYS}/options"),
        await ada.post(RECOVERY_CODES),
    ):
        assert error_of(answer) == (403, "reauthentication_required")
    assert (await ada.get("/v1/users/me")).json()["factors"] == [factor]


async def test_admin_removes_no_factor_of_its_own_by_a_password_alone(api: Api, service: Services) -> None:
    """What an administrator may do to others does not lead around the rule for one's own factors."""
    account = await api.admin()
    root = api.by(account)
    await enroll_totp(root)
    await weaken(service, account)
    for user in ("me", account.id):
        answer = await root.delete(f"/v1/users/{user}/factors")
        assert error_of(answer) == (403, "reauthentication_required")
    assert (await root.get("/v1/users/me")).json()["factors"] == ["totp"]


async def test_change_of_factors_is_told_by_mail(api: Api, service: Services) -> None:
    """Source: OWASP ASVS 5.0 6.3.7."""
    account = await api.account()
    await execute(service.engine, "UPDATE users SET email = 'ada@example.org', email_verified_at = now()")
    ada = api.by(account)
    told: list[tuple[str, str]] = []

    async def learn() -> None:
        told.extend((mail.kind, " ".join(mail.text.split())) for mail in await sent_mails(service))

    await enroll_totp(ada)
    await learn()
    passkey = (await add_passkey(ada)).json()
    await learn()
    await ada.post(RECOVERY_CODES)
    await learn()
    await ada.delete(TOTP)
    await learn()
    await ada.delete(f"{PASSKEYS}/{passkey['id']}")
    await learn()
    expected = [
        ("factor_added", "an authenticator app was added to your account ada"),
        ("factor_added", "a passkey was added to your account ada"),
        ("factor_added", "new recovery codes were made for your account ada"),
        ("factor_removed", "the authenticator app was removed from your account ada"),
        ("factor_removed", "a passkey was removed from your account ada"),
    ]
    assert [kind for kind, _ in told] == [kind for kind, _ in expected]
    assert all(words in text for (_, text), (_, words) in zip(told, expected, strict=True))


async def lose_everything(api: Api, account: Account) -> None:
    """Enrol every factor, with codes and challenges, which the account then has no more."""
    ada = api.by(account)
    await enroll_totp(ada)
    await ada.post(TOTP)
    await add_passkey(ada)
    await ada.post(RECOVERY_CODES)
    await ada.post(f"{PASSKEYS}/options")
    await execute(api.service.engine, CHALLENGE, name=b"ada", user_id=account.id)


async def test_remove_factors_removes_all_and_ends_all_sessions(api: Api, service: Services) -> None:
    account, root, eve = await api.account(), await api.admin(), await api.account("eve")
    await enroll_totp(api.by(eve))
    await lose_everything(api, account)
    tables = (
        "totp_secrets",
        "passkeys",
        "recovery_codes",
        "login_challenges",
        "passkey_challenges",
        "sessions",
    )
    assert [await count(service, table, account) for table in tables] == [2, 1, 10, 1, 1, 1]

    assert (await api.by(root).delete(f"/v1/users/{account.id}/factors")).status_code == 204

    assert [await count(service, table, account) for table in tables] == [0] * 6
    assert (await api.by(root).get(f"/v1/users/{account.id}")).json()["factors"] == []
    assert (await api.by(eve).get("/v1/users/me")).json()["factors"] == ["totp"]
    assert await is_live(api, root.token)
    await require_factors_agree(service)
    assert (await api.log_in("ada")).status_code == 201


async def test_remove_factors_is_recorded_and_told_by_mail(api: Api, service: Services) -> None:
    account, root = await api.account(), await api.admin()
    await execute(
        service.engine, "UPDATE users SET email = login_id || '@example.org', email_verified_at = now()"
    )
    await api.by(root).delete(f"/v1/users/{account.id}/factors")
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind) == ("ada@example.org", "factor_removed")
    assert "every second factor was removed" in mail.text
    recorded = "SELECT actor_id, subject_id FROM events WHERE action = 'factors.removed'"
    assert await fetch_values(service.engine, recorded) == [(root.id, account.id)]


@pytest.mark.parametrize("role", UserRole)
@pytest.mark.parametrize("scope", Scope)
async def test_remove_factors_by_key_needs_authority_over_administrators(
    api: Api, scope: Scope, role: UserRole
) -> None:
    account = await api.account(role=role)
    await enroll_totp(api.by(account))
    answer: httpx.Response = await api.by(await api.key(scope)).delete(f"/v1/users/{account.id}/factors")
    assert answer.status_code == (204 if scope is Scope.ADMINS_WRITE else 403)


async def test_remove_factors_of_nobody_gets_404(api: Api) -> None:
    root, unknown = await api.admin(), "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
    assert error_of(await api.by(root).delete(f"/v1/users/{unknown}/factors")) == (404, "not_found")


async def test_reset_of_the_password_keeps_the_factors(api: Api, service: Services) -> None:
    """Source: OWASP ASVS 5.0 6.4.3 (a reset does not go around a second factor)."""
    account, root = await api.account(), await api.admin()
    await enroll_totp(api.by(account))
    token = (await api.by(root).post(f"/v1/users/{account.id}/reset-tokens")).json()["token"]
    body = {"token": token, "new_password": "an entirely different phrase"}
    assert (await api.post("/v1/reset-tokens/redeem", body)).status_code == 204
    assert (await api.by(root).get(f"/v1/users/{account.id}")).json()["factors"] == ["totp"]
    await require_factors_agree(service)
