"""The proof of generated clients: what it makes of a response and of a program's output."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from service.domain.events import Action
from tools.generated_clients.command import STEPS, Result, verdict
from tools.generated_clients.kits import KITS, ClientKit
from tools.generated_clients.newer_service import AFTER_2038, NEW_ACTION, newer, newer_service
from tools.generated_clients.workspace import StepFailed, Unavailable, Workspace

ALL_OK = [f"{step}: ok" for step in STEPS]


def test_make_a_response_newer_adds_a_field_to_every_object_and_unknown_values() -> None:
    page = newer({"items": [{"action": "login.succeeded", "exp": 1}], "next_cursor": None})

    added = page.pop("added_in_a_later_release")
    (event,) = page["items"]
    assert added == event.pop("added_in_a_later_release")
    assert event["action"] == NEW_ACTION not in [*Action]
    assert event["exp"] > 2**31
    assert page["next_cursor"] is None


def test_read_output_of_a_program_names_each_step_that_failed_or_is_missing() -> None:
    assert verdict(ALL_OK, "a warning") == "ok"
    assert verdict([*ALL_OK[:-2], "change a password: 406"], "") == (
        "change a password: 406; log out: not reached"
    )
    assert verdict([], "panic") == "; ".join(f"{step}: not reached" for step in STEPS) + "\npanic"


def test_judge_a_client_passes_it_only_if_it_works_with_both_releases() -> None:
    kit = KITS[0]

    assert Result(kit, "ok", ["ok", "ok"]).is_ok
    assert not Result(kit, "ok", ["ok", "log out: 406"]).is_ok
    assert not Result(kit, "undefined: X").is_ok
    assert Result(kit, unavailable="no cargo on this machine").is_ok


def test_judge_a_client_whose_compiler_is_missing_says_that_nothing_was_proved() -> None:
    assert Result(KITS[0], "ok", ["ok", "ok"]).summary == "ok"
    assert Result(KITS[0], "ok", ["ok", "log out: 406"]).summary == "fails"
    missing = Result(KITS[0], unavailable="no dotnet on this machine")
    assert missing.summary == "not proved: no dotnet on this machine"


def test_run_a_tool_says_if_it_is_missing_or_fails(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    with pytest.raises(Unavailable, match="no rollcall-no-such-tool on this machine"):
        workspace.run("rollcall-no-such-tool")
    with pytest.raises(StepFailed, match="broken"):
        workspace.run("sh", "-c", "echo broken; exit 1")
    assert "broken" in workspace.log[0]


def test_list_clients_covers_every_language_under_one_name_each() -> None:
    slugs = [kit.slug for kit in KITS]

    assert {kit.language for kit in KITS} == {"Go", "Java", "Kotlin", "Python", "TypeScript", "Rust", "C#"}
    assert len(set(slugs)) == len(slugs)
    assert ClientKit("C#", "x y", lambda _workspace: []).slug == "c---x-y"


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.mark.parametrize("body", [b'{"exp": 1}', [b'{"exp"', b": 1}"]], ids=["length", "chunked"])
def test_send_a_body_through_the_newer_service_forwards_all_of_it(body: bytes | list[bytes]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as upstream:
        serving = Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        with newer_service(f"http://127.0.0.1:{upstream.server_port}") as url:
            answer = httpx.post(url, content=iter(body) if isinstance(body, list) else body)
        upstream.shutdown()
        serving.join()

    assert answer.json()["exp"] == AFTER_2038
