"""Signing keys: rotation by one process at a time, and the decrypted keys that each process keeps."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.encrypted import PRIVATE_KEYS
from service.db.repositories.events import EventRepository
from service.db.repositories.signing_keys import EncryptedSigningKey, SigningKeyReads, SigningKeyRepository
from service.domain.callers import OPERATOR
from service.domain.events import Action, AuditContext
from service.domain.signing import (
    PUBLISHED_AFTER,
    PUBLISHED_BEFORE,
    ROTATION_INTERVAL,
    SignatureAlgorithm,
    SigningKey,
)
from service.security.encryption import SecretCipher
from service.security.ids import new_id
from service.security.signing import Signer, new_key_pair

REFRESH_INTERVAL: Final = timedelta(minutes=1)
"""How long a process keeps the keys before it reads them again."""
_OPERATOR: Final = AuditContext(OPERATOR)


async def rotate_if_due(
    tx: Transaction, *, cipher: SecretCipher, algorithm: SignatureAlgorithm
) -> SigningKey | None:
    """Add a key if there is none, or the newest is old or of another algorithm; delete what has ended.

    Locks: the rotation; of processes that run it at once, one adds a key.
    """
    keys = SigningKeyRepository(tx)
    await keys.lock()
    await keys.purge()
    newest = await keys.get_newest()
    if newest is not None and newest[0].algorithm is algorithm and newest[1] < ROTATION_INTERVAL:
        return None
    return await _add_key(tx, cipher, algorithm, delay=PUBLISHED_BEFORE if newest else timedelta(0))


async def rotate(tx: Transaction, *, cipher: SecretCipher, algorithm: SignatureAlgorithm) -> SigningKey:
    """Add a key now. It is published at once, and signs once verifiers know it.

    Locks: the rotation.
    """
    keys = SigningKeyRepository(tx)
    await keys.lock()
    delay = PUBLISHED_BEFORE if await keys.get_newest() is not None else timedelta(0)
    return await _add_key(tx, cipher, algorithm, delay=delay)


async def replace_all(tx: Transaction, *, cipher: SecretCipher, algorithm: SignatureAlgorithm) -> SigningKey:
    """Delete every key and add one that signs at once: no token that was signed before is valid any more.

    Verifiers that keep the published keys learn of it when they next read them.

    Locks: the rotation.
    """
    keys = SigningKeyRepository(tx)
    await keys.lock()
    await keys.delete_all()
    return await _add_key(tx, cipher, algorithm, delay=timedelta(0))


async def _add_key(
    tx: Transaction, cipher: SecretCipher, algorithm: SignatureAlgorithm, *, delay: timedelta
) -> SigningKey:
    keys, key_id = SigningKeyRepository(tx), new_id()
    public_jwk, private_key = new_key_pair(str(key_id), algorithm)
    encrypted = cipher.encrypt(private_key, PRIVATE_KEYS.place_of(key_id))
    await keys.retire(delay=delay + PUBLISHED_AFTER)
    key = await keys.add(key_id, algorithm, public_jwk, encrypted, delay=delay)
    await EventRepository(tx).add(_OPERATOR, Action.SIGNING_KEY_ROTATED, key_id)
    return key


class SigningKeyRing:
    """The keys of this process: read again once a minute while they are used, and decrypted once.

    Times are the database's: callers pass the time of their own authentication.
    """

    def __init__(
        self, reads: SigningKeyReads, database: Database, cipher: SecretCipher, algorithm: SignatureAlgorithm
    ) -> None:
        self._reads = reads
        self._database = database
        self._cipher = cipher
        self._algorithm = algorithm
        self._encrypted: list[EncryptedSigningKey] = []
        self._signers: dict[UUID, Signer] = {}
        self._reading = asyncio.Lock()

    async def signer_at(self, now: datetime) -> Signer:
        """Return the key that signs at a time: the newest one that may.

        Raises:
            SecretUnreadable: no key of `ROLLCALL_SECRETS__KEY` decrypts it.
            DatabaseUnavailable: the keys cannot be read.
        """
        if not self._is_current(now):
            async with self._reading:
                if not self._is_current(now):
                    await self._refresh()
        encrypted, *later = self._encrypted  # the first key signs at once, though created after `now`
        for each in later:
            if each.key.signs_from <= now:
                encrypted = each
        return self._signer_of(encrypted)

    async def list_published(self) -> list[SigningKey]:
        """List the keys that verifiers need, as the database has them now; the first call creates one."""
        published = await self._reads.list_published()
        if not published:
            await self.rotate_if_due()
            published = await self._reads.list_published()
        return published

    async def rotate_if_due(self) -> None:
        """Rotate the keys if it is time; one of the processes that try does it."""
        work = partial(rotate_if_due, cipher=self._cipher, algorithm=self._algorithm)
        if await self._database.run(work, caller=OPERATOR) is not None:
            self.invalidate()

    def invalidate(self) -> None:
        """Read the keys again before the next signature."""
        self._encrypted = []

    def _is_current(self, now: datetime) -> bool:
        return bool(self._encrypted) and now < self._encrypted[0].now + REFRESH_INTERVAL

    async def _refresh(self) -> None:
        if not (encrypted := await self._reads.list_encrypted()):
            await self.rotate_if_due()
            encrypted = await self._reads.list_encrypted()
        known = {each.key.id for each in encrypted}
        self._signers = {id_: signer for id_, signer in self._signers.items() if id_ in known}
        self._encrypted = encrypted

    def _signer_of(self, encrypted: EncryptedSigningKey) -> Signer:
        key = encrypted.key
        if (signer := self._signers.get(key.id)) is None:
            private_key = self._cipher.decrypt(encrypted.private_key, PRIVATE_KEYS.place_of(key.id))
            signer = self._signers[key.id] = Signer(str(key.id), key.algorithm, private_key)
        return signer
