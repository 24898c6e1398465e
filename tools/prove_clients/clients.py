"""Which clients are proved, and how each is run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from tools.generated_clients.workspace import StepFailed, Workspace, run_program
from tools.prove_clients import gateways
from tools.prove_clients.builds import Build, go_program, java_program, node_program, python_program
from tools.prove_clients.target import Ask, Running, Target

Start: TypeAlias = Callable[[Workspace, Target], AbstractContextManager[Running]]

_AUTHLIB: Final = ("authlib==1.9.10", "requests==2.32.5")
_ZITADEL: Final = "github.com/zitadel/oidc/v3@v3.52.0"


@dataclass(frozen=True)
class Client:
    """A client or gateway of another project. `start` builds it and runs it as long as the block."""

    name: str
    credentials: str
    """How it authenticates, or finds the keys."""
    start: Start

    @property
    def slug(self) -> str:
        """The name of its directory."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


def _program(build: Build, *, revokes: bool = False) -> Start:
    """Return how to run a program that prints the login id of `TOKEN`, or `refused`."""

    @contextmanager
    def start(workspace: Workspace, target: Target) -> Iterator[Running]:
        command = [*build(workspace)]

        def run(token: str, *more: str) -> str:
            environment = {"ROLLCALL_URL": target.url, "ROLLCALL_KEY": target.key, "TOKEN": token}
            done = run_program([*command, *more], **environment)
            if done.returncode:
                raise StepFailed(done.stderr.strip()[-500:])
            return done.stdout.strip()

        def revoke(token: str) -> None:
            run(token, "revoke")

        yield Running(run, revoke if revokes else None)

    return start


def _without_program(ask: Callable[[Workspace, Target], AbstractContextManager[Ask]]) -> Start:
    @contextmanager
    def start(workspace: Workspace, target: Target) -> Iterator[Running]:
        with ask(workspace, target) as asking:
            yield Running(asking, None)

    return start


CLIENTS: Final = (
    Client("Spring Security", "Basic", _program(java_program())),
    Client("Go, zitadel/oidc", "Basic, discovery", _program(go_program("main.go", _ZITADEL))),
    Client(
        "Node, openid-client",
        "form, discovery",
        _program(node_program("client.mjs", "openid-client@6.9.0"), revokes=True),
    ),
    Client(
        "Node, token-introspection",
        "Basic",
        _program(node_program("introspect.mjs", "token-introspection@3.3.0")),
    ),
    Client(
        "Python, Authlib", "Basic", _program(python_program("authlib_client.py", *_AUTHLIB), revokes=True)
    ),
    Client(
        "Python, requests-oauth2client",
        "Basic",
        _program(
            python_program("requests_oauth2client_client.py", "requests-oauth2client==1.8.0"), revokes=True
        ),
    ),
    Client("Python, FastMCP", "Basic", _program(python_program("fastmcp_client.py", "fastmcp==4.2.3"))),
    Client(
        "Python, Django OAuth Toolkit",
        "Basic",
        _program(python_program("django_client.py", "django-oauth-toolkit==3.4.1", "requests==2.32.5")),
    ),
    Client("nginx auth_request", "the visitor's token", _without_program(gateways.nginx)),
    Client("Caddy forward_auth", "the visitor's token", _without_program(gateways.caddy)),
    Client("Apache mod_auth_openidc", "Basic", _without_program(gateways.apache)),
)
