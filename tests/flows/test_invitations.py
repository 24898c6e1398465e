"""Invitations: a mailed token sets the first password and verifies the address."""

from service.domain.keys import Scope
from service.services import Services
from tests.flows.recovering import ADDRESS, redeem
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, error_of, faults_of
from tests.support.mail import sent_mails


async def test_invite_mails_a_token_that_sets_a_password_and_verifies_the_address(
    api: Api, service: Services
) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE))
    new = {"login_id": "ada", "name": "Ada", "email": ADDRESS, "locale": "ja", "invite": True}
    made = await key.post("/v1/users", new)
    assert made.status_code == 201
    (mail,) = await sent_mails(service)
    assert (mail.recipient, mail.kind, mail.locale) == (ADDRESS, "invitation", "ja")
    assert (await redeem(api, mail.token)).status_code == 204
    assert (await api.log_in("ada", OTHER_PASSWORD)).json()["user"]["email_verified_at"] is not None


async def test_redeem_an_invitation_to_an_address_that_another_has_verified_sets_the_password_alone(
    api: Api, service: Services
) -> None:
    key = api.by(await api.key(Scope.USERS_WRITE))
    await key.post("/v1/users", {"login_id": "ada", "name": "Ada", "email": ADDRESS, "invite": True})
    (invitation,) = await sent_mails(service)
    bob = await api.account("bob")
    await api.by(bob).patch("/v1/users/me", {"email": ADDRESS})
    await api.by(bob).post("/v1/users/me/email-verification")
    (mail,) = await sent_mails(service)
    assert (await api.post("/v1/email-verifications/redeem", {"token": mail.token})).status_code == 204

    assert (await redeem(api, invitation.token)).status_code == 204

    user = (await api.log_in("ada", OTHER_PASSWORD)).json()["user"]
    assert (user["email"], user["email_verified_at"]) == (ADDRESS, None)


async def test_invite_with_a_password_or_without_an_address_names_the_field(api: Api) -> None:
    admin = api.by(await api.admin())
    new = {"login_id": "ada", "name": "Ada", "invite": True}
    assert faults_of(await admin.post("/v1/users", new)) == [("/email", "missing_field")]
    both = new | {"email": ADDRESS, "password": PASSWORD}
    assert faults_of(await admin.post("/v1/users", both)) == [("/invite", "conflicting_fields")]
    taken = await admin.post("/v1/users", new | {"email": ADDRESS, "login_id": "root"})
    assert error_of(taken) == (409, "login_id_taken")


async def test_rolled_back_creation_sends_no_invitation(api: Api, service: Services) -> None:
    admin = api.by(await api.admin())
    new = {"login_id": "root", "name": "Ada", "email": ADDRESS, "invite": True}
    assert error_of(await admin.post("/v1/users", new)) == (409, "login_id_taken")
    assert await sent_mails(service) == []
