"""Requests that schemathesis generates get documented responses; `make fuzz` takes longer."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT

from service.domain.keys import Scope
from tests.support.api import Api, RunningService
from tests.support.servers import listening
from tools.fuzz import ROLES, schemathesis_command, schemathesis_environment

FEW = ("--phases", "fuzzing,stateful", "--max-examples", "2", "--generation-deterministic", "--no-shrink")


async def tokens_of(api: Api) -> dict[str, list[str]]:
    await api.admin()
    await api.account("ada")
    sessions = {
        role: [(await api.log_in(login_id)).json()["token"] for _ in range(10)]
        for role, login_id in (("admin", "root"), ("user", "ada"))
    }
    return {**sessions, "key": [await api.key(*Scope)]}


async def test_fuzz_in_every_role_gets_only_documented_responses(api: Api, running: RunningService) -> None:
    tokens = await tokens_of(api)
    assert set(tokens) == set(ROLES)

    async with listening(running) as server:

        async def fuzz(role: str) -> tuple[int, str]:
            process = await asyncio.create_subprocess_exec(
                *schemathesis_command(server.url, role, *FEW),
                env=schemathesis_environment(tokens[role]),
                stdout=PIPE,
                stderr=STDOUT,
            )
            output, _ = await process.communicate()
            return process.returncode or 0, output.decode()

        results = dict(zip(ROLES, await asyncio.gather(*map(fuzz, ROLES)), strict=True))

    for role, (status, output) in results.items():
        assert status == 0, f"{role}: {output}"
        assert "No test cases were generated" not in output
