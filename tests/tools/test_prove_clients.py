"""The recipes of docs/integrations.md, and the tool that runs clients by them."""

import asyncio
import re
import shutil
from pathlib import Path

import httpx
import pytest

from harness.service_process import ROOT
from tests.support.api import Api, RunningService
from tests.support.servers import listening
from tools.generated_clients.workspace import Workspace
from tools.prove_clients.builds import PROGRAMS
from tools.prove_clients.clients import CLIENTS
from tools.prove_clients.command import Result
from tools.prove_clients.gateways import nginx
from tools.prove_clients.target import Target, recipe, verdict
from tools.prove_clients.verifiers import VERIFIER_STEPS, VERIFIERS, forged

PAGE = (ROOT / "docs/integrations.md").read_text(encoding="utf-8")
PROVED = {
    "nginx": {"nginx auth_request"},
    "Caddy": {"Caddy forward_auth"},
    "Apache mod_auth_openidc": {"Apache mod_auth_openidc"},
    "Spring Boot": {"Spring Security"},
    "Go: zitadel/oidc": {"Go, zitadel/oidc"},
    "Node: openid-client": {"Node, openid-client"},
    "Node: token-introspection": {"Node, token-introspection"},
    "Python: Authlib, requests-oauth2client": {"Python, Authlib", "Python, requests-oauth2client"},
    "Django OAuth Toolkit": {"Python, Django OAuth Toolkit"},
    "FastMCP": {"Python, FastMCP"},
    "Python: PyJWT": {"Python, PyJWT"},
    "Go: go-oidc": {"Go, go-oidc"},
    "Node: jose": {"Node, jose"},
    "Java: Spring Security": {"Java, Spring Security"},
    "Rust: jsonwebtoken": {"Rust, jsonwebtoken"},
}


def test_page_marks_exactly_what_is_proved() -> None:
    assert set(re.findall(r"^### (.*) ✓$", PAGE, re.MULTILINE)) == set(PROVED)
    everything = (*CLIENTS, *VERIFIERS)
    assert set.union(*PROVED.values()) == {client.name for client in everything}
    assert len({client.slug for client in everything}) == len(everything)


def test_recipe_of_a_heading_is_its_first_block_of_code() -> None:
    assert recipe("nginx").startswith("location = /_rollcall {\n")
    assert recipe("Traefik").startswith("http:\n")
    with pytest.raises(LookupError, match="no recipe for nothing"):
        recipe("nothing")


def test_programs_are_those_of_the_page() -> None:
    """What a program does beyond the recipe is to read its environment and to print."""
    programs = [path.read_text(encoding="utf-8") for path in PROGRAMS.rglob("*.*")]
    for line in (
        "rs.NewResourceServerClientCredentials(ctx,",
        "client.tokenIntrospection(config,",
        "keys.get_signing_key_from_jwt(token)",
        "SupportedSigningAlgs: []string{oidc.ES256}",
        "jwtVerify(token, keys,",
        ".jwsAlgorithm(SignatureAlgorithm.ES256).validateType(false).build();",
        "Validation::new(Algorithm::ES256);",
    ):
        assert line in PAGE
        assert any(line in program for program in programs)


@pytest.mark.parametrize(
    ("result", "is_ok"),
    [
        (Result(CLIENTS[0], cells=["ok", "ok", "ok"]), True),
        (Result(CLIENTS[0], cells=["ok", "ok"], failed="it ended"), False),
        (Result(CLIENTS[0], cells=["ok", "'ada', not 'refused'", "ok"]), False),
        (Result(CLIENTS[0], unavailable="no mvn on this machine"), True),
        (Result(VERIFIERS[0], VERIFIER_STEPS, ["ok"] * 5), True),
        (Result(VERIFIERS[0], VERIFIER_STEPS, ["ok"] * 4), False),
    ],
)
def test_judge_a_client_passes_it_only_if_every_step_is_ok(result: Result, is_ok: bool) -> None:
    assert result.is_ok is is_ok


def test_forge_a_token_changes_its_signature_alone() -> None:
    assert forged("head.claims.ABC") == "head.claims.BBC"
    assert forged("head.claims.xBC") == "head.claims.ABC"
    assert verdict("ada", "ada") == "ok"
    assert verdict("ada", "refused") == "'ada', not 'refused'"


if shutil.which("nginx"):

    async def test_nginx_as_the_page_configures_it_lets_in_live_sessions_alone(
        api: Api, running: RunningService, tmp_path: Path
    ) -> None:
        ada = await api.account("ada")

        def visit(url: str) -> list[str]:
            with nginx(Workspace(tmp_path), Target(url, "")) as ask:
                told = [ask(ada.token), ask("rcs_" + "A" * 43)]
                httpx.delete(f"{url}/v1/sessions/current", headers=ada.headers).raise_for_status()
                return [*told, ask(ada.token)]

        async with listening(running) as server:
            assert await asyncio.to_thread(visit, server.url) == ["ada", "refused", "refused"]
