"""Accounts with a verified address, and reset tokens redeemed."""

from typing import Any

from tests.support.api import OTHER_PASSWORD, Account, Api
from tests.support.databases import execute

ADDRESS = "ada@example.org"
AGE = "UPDATE {table} SET expires_at = now()"


async def account_with_address(api: Api, *, login_id: str = "ada", email: str = ADDRESS) -> Account:
    ada = await api.account(login_id)
    await execute(
        api.service.engine,
        "UPDATE users SET email = :email, email_verified_at = now() WHERE id = :id",
        email=email,
        id=ada.id,
    )
    return ada


async def redeem(api: Api, token: str, password: str = OTHER_PASSWORD) -> Any:
    return await api.post("/v1/reset-tokens/redeem", {"token": token, "new_password": password})
