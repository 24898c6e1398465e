"""Reset tokens that others make, and their use."""

import asyncio

from service.domain.keys import Scope
from service.security.tokens import DEVICE_PREFIX, digest_of
from service.services import Services
from tests.flows.recovering import redeem
from tests.flows.test_passwords import THIRD_PASSWORD, codes, status
from tests.support.api import OTHER_PASSWORD, Account, Api
from tests.support.databases import execute, fetch_values


async def reset_token(api: Api, ada: Account) -> str:
    key = await api.key(Scope.USERS_WRITE)
    answer = await api.by(key).post(f"/v1/users/{ada.id}/reset-tokens")
    assert answer.status_code == 201
    return str(answer.json()["token"])


async def test_redeem_reset_token_works_once_and_ends_all_sessions(api: Api, service: Services) -> None:
    ada = await api.account("ada")
    known = (await api.log_in("ada")).json()
    token = await reset_token(api, ada)
    assert (await redeem(api, token)).status_code == 204
    assert (await status(api, ada), await status(api, known["token"])) == (401, 401)
    again = await redeem(api, token, THIRD_PASSWORD)
    assert (again.status_code, again.json()["code"]) == (401, "invalid_token")
    left = await fetch_values(service.engine, "SELECT network, token_digest FROM devices")
    assert [network for network, _ in left] == ["127.0.0.1/32"], "where the token was redeemed"
    assert digest_of(known["device_token"], DEVICE_PREFIX) not in {digest for _, digest in left}
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 201


async def test_redeem_bad_reset_token_has_the_same_response_without_hashing(
    api: Api, service: Services
) -> None:
    """Source: Keycloak CVE-2026-18963; Vikunja CVE-2026-28268."""
    ada, bo, cy = await api.account("ada"), await api.account("bo"), await api.account("cy")
    used, replaced, expired, orphaned = [await reset_token(api, who) for who in (ada, bo, cy, ada)]
    assert (await redeem(api, orphaned)).status_code == 204
    await reset_token(api, bo)
    await execute(service.engine, "UPDATE reset_tokens SET expires_at = now() WHERE user_id = :id", id=cy.id)
    gone = await api.account("gone")
    deleted = await reset_token(api, gone)
    await execute(service.engine, "DELETE FROM users WHERE id = :id", id=gone.id)
    before = service.hasher.stats().done_total
    bad = [
        used,
        replaced,
        expired,
        orphaned,
        deleted,
        "",
        "rcr_",
        "rcr_" + "A" * 43,
        cy.token,
        "é",
        "x" * 500,
    ]
    answers = [await redeem(api, token) for token in bad]
    bodies = {answer.text.replace(answer.headers["X-Request-Id"], "") for answer in answers}
    assert {answer.status_code for answer in answers} == {401}
    assert len(bodies) == 1
    assert service.hasher.stats().done_total == before
    assert (await api.log_in("cy")).status_code == 201


async def test_redeem_reset_token_with_invalid_password_keeps_the_token(api: Api) -> None:
    token = await reset_token(api, await api.account("ada"))
    assert codes(await redeem(api, token, "short")) == ["password_too_short"]
    assert (await redeem(api, token)).status_code == 204


async def test_redeem_reset_token_concurrently_succeeds_exactly_once(api: Api) -> None:
    """Source: OWASP ASVS 5.0 6.5.1; CVE-2026-107276."""
    token = await reset_token(api, await api.account("ada"))
    passwords = [f"phrase of attempt number {turn}" for turn in range(20)]
    answers = await asyncio.gather(*(redeem(api, token, password) for password in passwords))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [204] + [401] * 19
    assert (await api.log_in("ada", passwords[statuses.index(204)])).status_code == 201


async def test_redeem_reset_token_of_disabled_user_does_not_enable_login(api: Api) -> None:
    admin, ada = api.by(await api.admin()), await api.account("ada")
    await admin.patch(f"/v1/users/{ada.id}", {"state": "disabled"})
    assert (await redeem(api, await reset_token(api, ada))).status_code == 204
    assert (await api.log_in("ada", OTHER_PASSWORD)).status_code == 401


async def test_disable_user_ends_its_reset_token(api: Api) -> None:
    """An account is disabled because somebody else has it, and may be enabled within a week."""
    admin, ada = api.by(await api.admin()), await api.account("ada")
    token = await reset_token(api, ada)
    for state in ("disabled", "active"):
        assert (await admin.patch(f"/v1/users/{ada.id}", {"state": state})).status_code == 200
    assert (await redeem(api, token)).json()["code"] == "invalid_token"
