"""Mail while its server is away, slow or refusing, and while the service is killed: nothing is lost."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from harness.mail_server import MailServer, mail_server
from harness.service_process import ServiceProcess, service_process
from service.domain.keys import Scope
from tests.support.api import Api
from tests.support.databases import execute

ROUNDS = 3
PER_ROUND = 8


async def invite(service: ServiceProcess, token: str, name: str) -> int:
    body = {"login_id": name, "name": name.title(), "email": f"{name}@example.org", "invite": True}
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60) as client:
        return (await client.post("/v1/users", json=body)).status_code


async def end_leases(api: Api) -> None:
    """Have nobody wait for the lease of a process that was killed."""
    await execute(api.service.engine, "UPDATE outbox SET locked_until = NULL")


async def wait_for(api: Api, server: MailServer, recipients: set[str]) -> None:
    """Wait until all have a mail, without the waits between attempts."""
    async with asyncio.timeout(100):
        while not recipients <= set(server.recipients):
            await execute(api.service.engine, "UPDATE outbox SET next_attempt_at = now()")
            server.accepted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await server.accepted.wait()


async def test_kill_service_while_the_mail_server_fails_loses_no_mail_and_sends_none_before_its_commit(
    api: Api, shared_database: str, tmp_path: Path
) -> None:
    chance, key = random.Random(1), await api.key(Scope.USERS_WRITE)
    await api.account("taken")
    async with mail_server() as server:
        settings: dict[str, Any] = {
            "DATABASE_URL": shared_database,
            "ROLLCALL_MAIL__SMTP_URL": f"smtp://127.0.0.1:{server.port}",
            "ROLLCALL_MAIL__FROM": "us@example.org",
            "ROLLCALL_MAIL__INTERVAL": "50ms",
            "ROLLCALL_MAIL__TIMEOUT": "1s",
        }
        with service_process(tmp_path, **settings) as service:
            acknowledged: set[str] = set()
            for number in range(ROUNDS):
                server.hangs = number == 0
                server.recipient_reply = "450 later" if number == 1 else "250 OK"
                names = [f"user{number}-{place}" for place in range(PER_ROUND)]
                statuses = await asyncio.gather(*(invite(service, key, name) for name in names))
                assert set(statuses) == {201}
                acknowledged |= {f"{name}@example.org" for name in names}
                assert await invite(service, key, "taken") == 409  # rolled back
                await asyncio.sleep(chance.uniform(0, 0.3))
                await asyncio.to_thread(service.kill)
                await asyncio.to_thread(service.start)
                await asyncio.to_thread(service.wait_until, "/health/ready", 200)
                await end_leases(api)
            server.hangs, server.recipient_reply = False, "250 OK"
            await wait_for(api, server, acknowledged)

    assert set(server.recipients) == acknowledged  # nobody else
    for recipient, times in Counter(server.recipients).items():
        ids = {message["Message-ID"] for message in server.messages if message["To"] == recipient}
        assert (recipient, times, len(ids)) == (recipient, times, 1)
