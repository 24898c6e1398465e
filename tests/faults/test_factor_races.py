"""Second factors that are added, confirmed and removed at once."""

from typing import Any

from rollcall_testkit.passkeys import SoftwarePasskey

from service.services import Services
from tests.faults.racing import concurrently
from tests.support.api import Account, Api
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
    wrong_code,
)

CONFIRM = f"{TOTP}/confirm"


def statuses(answers: Any) -> list[int]:
    return sorted(answer.status_code for answer in answers)


async def test_confirm_one_code_many_times_at_once_enrols_once(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    secret = (await ada.post(TOTP)).json()["secret"]
    code = {"code": totp_code(secret)}
    answers = await concurrently(*(ada.post(CONFIRM, code) for _ in range(10)))
    assert statuses(answers) == [204] + [404] * 9
    enrolled = "SELECT count(*) FROM events WHERE action = 'totp.enrolled'"
    assert await fetch_values(service.engine, enrolled) == [(1,)]
    await require_factors_agree(service)


async def test_confirm_wrong_codes_at_once_tries_no_more_than_in_a_row(api: Api, service: Services) -> None:
    """Source: CVE-2023-47111."""
    ada = api.by(await api.account())
    secret = (await ada.post(TOTP)).json()["secret"]
    code = {"code": wrong_code(secret)}
    await ada.post(CONFIRM, code)
    await execute(service.engine, "UPDATE login_buckets SET failures = 12")  # the next one waits for minutes
    answers = await concurrently(*(ada.post(CONFIRM, code) for _ in range(10)))
    assert statuses(answers) == [422] + [429] * 9
    assert await fetch_values(service.engine, "SELECT failures FROM login_buckets") == [(13,)]


async def test_enrol_first_factors_in_two_sessions_at_once_leaves_one_session(
    api: Api, service: Services
) -> None:
    """Whoever is second has a session that the first one ended, or one of a password alone."""
    for round_ in range(10):
        account = await api.account(f"ada{round_}")
        one, two = api.by(account), api.by((await api.log_in(account.login_id)).json()["token"])
        body = await created_passkey(one, SoftwarePasskey())
        secret = (await two.post(TOTP)).json()["secret"]
        answers = await concurrently(one.post(PASSKEYS, body), two.post(CONFIRM, {"code": totp_code(secret)}))
        assert [answer.is_success for answer in answers].count(True) == 1
        left = "SELECT amr @> '{mfa}' FROM sessions WHERE user_id = :user_id"
        assert await fetch_values(service.engine, left, user_id=account.id) == [(True,)]
    await require_factors_agree(service)


async def test_add_passkey_by_one_challenge_many_times_at_once_adds_one(api: Api, service: Services) -> None:
    ada = api.by(await api.account())
    body = await created_passkey(ada, SoftwarePasskey())
    answers = await concurrently(*(ada.post(PASSKEYS, body) for _ in range(10)))
    assert statuses(answers) == [201] + [422] * 9
    assert await fetch_values(service.engine, "SELECT count(*) FROM passkeys") == [(1,)]


async def churn(api: Api, account: Account, round_: int) -> None:
    """Add and remove factors of an account at once, in one session."""
    ada = api.by(account)
    listed = (await ada.get(PASSKEYS)).json()["items"]
    body = await created_passkey(ada, SoftwarePasskey())
    secret = (await ada.post(TOTP)).json()["secret"]
    requests = [
        ada.post(PASSKEYS, body),
        ada.post(CONFIRM, {"code": totp_code(secret)}),
        ada.post(RECOVERY_CODES),
        ada.delete(TOTP),
        *(ada.delete(f"{PASSKEYS}/{passkey['id']}") for passkey in listed),
    ]
    await concurrently(*(requests if round_ % 2 else reversed(requests)))


async def test_add_and_remove_factors_at_once_keeps_the_users_row_in_step(
    api: Api, service: Services
) -> None:
    account = await api.account()
    await enroll_totp(api.by(account))
    await add_passkey(api.by(account))
    for round_ in range(12):
        await churn(api, account, round_)
        await require_factors_agree(service)
        await execute(service.engine, "DELETE FROM login_buckets")


async def test_remove_all_factors_beside_enrolment_leaves_none_or_a_whole_one(
    api: Api, service: Services
) -> None:
    root = await api.admin()
    for round_ in range(10):
        account = await api.account(f"ada{round_}")
        ada = api.by(account)
        secret = (await ada.post(TOTP)).json()["secret"]
        enrolled, removed = await concurrently(
            ada.post(CONFIRM, {"code": totp_code(secret)}),
            api.by(root).delete(f"/v1/users/{account.id}/factors"),
        )
        assert removed.status_code == 204
        assert enrolled.status_code in (204, 401)
        ((factors, sessions),) = await fetch_values(
            service.engine,
            "SELECT factors, (SELECT count(*) FROM sessions s WHERE s.user_id = u.id) FROM users u"
            " WHERE id = :id",
            id=account.id,
        )
        assert (factors, sessions) == ([], 0)
        await require_factors_agree(service)
