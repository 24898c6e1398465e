"""What a login reads of second factors and passkeys, and what it spends."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, delete, func, or_, select, update

from service.db.core.columns import Columns
from service.db.core.statements import Statement
from service.db.repositories.base import Repository, require_row
from service.db.repositories.login import RECOGNITION, AttemptLookup, Recognition
from service.db.repositories.passkeys import PASSKEY, PasskeyReads
from service.db.tables import PasskeyRow, RecoveryCodeRow, TotpSecretRow, UserRow
from service.domain.factors import Passkey
from service.domain.networks import Networks
from service.domain.throttle import ThrottlePolicy


@dataclass(frozen=True, slots=True)
class StoredTotp:
    """The encrypted secret of an authenticator app, and the time by the database's clock."""

    id: UUID
    encrypted: bytes
    last_step: int | None
    now: datetime


@dataclass(frozen=True, slots=True)
class PasskeyHolder:
    """A passkey, and how its user's device and network are recognized."""

    passkey: Passkey
    recognition: Recognition


STORED_TOTP = Columns(
    StoredTotp, TotpSecretRow.id, TotpSecretRow.secret, TotpSecretRow.last_step, func.now().label("at")
)
_GET_TOTP = Statement(
    select(*STORED_TOTP).where(
        TotpSecretRow.user_id == bindparam("of_user"), TotpSecretRow.confirmed_at.is_not(None)
    )
)
_GET_PASSKEY = Statement(select(*PASSKEY).where(PasskeyRow.credential_id == bindparam("credential_id")))
_HOLDER = Columns(PasskeyHolder, PASSKEY, RECOGNITION)
_FIND_HOLDER = AttemptLookup(
    _HOLDER,
    (PasskeyRow, PasskeyRow.credential_id == bindparam("credential_id")),
    (UserRow, UserRow.id == PasskeyRow.user_id),
)
_COUNT_CODES = Statement(select(func.count()).where(RecoveryCodeRow.user_id == bindparam("of_user")))
_ACCEPT_STEP = Statement(
    update(TotpSecretRow)
    .where(
        TotpSecretRow.id == bindparam("secret_id"),
        TotpSecretRow.user_id == bindparam("of_user"),
        TotpSecretRow.confirmed_at.is_not(None),
        or_(TotpSecretRow.last_step.is_(None), TotpSecretRow.last_step < bindparam("step")),
    )
    .values(last_step=bindparam("step"), last_used_at=func.now())
)
_USE_CODE = Statement(
    delete(RecoveryCodeRow).where(
        RecoveryCodeRow.code_digest == bindparam("digest"), RecoveryCodeRow.user_id == bindparam("of_user")
    )
)
_USE_PASSKEY = Statement(
    update(PasskeyRow)
    .where(PasskeyRow.id == bindparam("passkey_id"))
    .values(
        sign_count=func.greatest(
            PasskeyRow.sign_count, bindparam("new_count", type_=PasskeyRow.sign_count.type)
        ),
        is_backed_up=bindparam("backed_up", type_=PasskeyRow.is_backed_up.type),
        last_used_at=func.now(),
    )
)


class SecondFactorReads(PasskeyReads):
    """Reads of factors, on the primary: what is used up stays used up."""

    async def get_totp(self, user_id: UUID) -> StoredTotp | None:
        """Return the authenticator app that a user has confirmed."""
        return STORED_TOTP.decode_optional(await self._executor.fetch_one(_GET_TOTP, of_user=user_id))

    async def get_passkey(self, credential_id: bytes) -> Passkey | None:
        """Return the passkey that its authenticator calls so."""
        row = await self._executor.fetch_one(_GET_PASSKEY, credential_id=credential_id)
        return PASSKEY.decode_optional(row)

    async def find_holder(
        self, credential_id: bytes, *, device_digest: bytes | None, networks: Networks, policy: ThrottlePolicy
    ) -> tuple[PasskeyHolder | None, timedelta | None]:
        """Return a passkey and its holder's known device, and the wait of networks with too many failures."""
        params = {"credential_id": credential_id, "device_digest": device_digest}
        return await _FIND_HOLDER.run(self._executor, networks, policy, **params)

    async def count_recovery_codes(self, user_id: UUID) -> int:
        """Return how many recovery codes a user has left."""
        return int(require_row(await self._executor.fetch_one(_COUNT_CODES, of_user=user_id))[0])


class SecondFactorRepository(SecondFactorReads, Repository):
    """The use of factors inside a transaction. The user has to be locked."""

    async def accept_step(self, secret_id: UUID, user_id: UUID, step: int) -> bool:
        """Use up a time step of an authenticator app and all before it; False if it was used before."""
        return await self._tx.execute(_ACCEPT_STEP, secret_id=secret_id, of_user=user_id, step=step) == 1

    async def use_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        """Use up a recovery code; return False if the user has none like it."""
        return await self._tx.execute(_USE_CODE, digest=digest, of_user=user_id) == 1

    async def use_passkey(self, passkey_id: UUID, *, sign_count: int, is_backed_up: bool) -> bool:
        """Record the use of a passkey; return False if it was removed. A lower count is not stored."""
        changed = await self._tx.execute(
            _USE_PASSKEY, passkey_id=passkey_id, new_count=sign_count, backed_up=is_backed_up
        )
        return changed == 1
