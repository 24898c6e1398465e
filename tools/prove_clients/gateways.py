"""Gateways, configured as docs/integrations.md says, in front of a service that shows what it receives."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import httpx

from harness.service_process import free_port
from tools.generated_clients.workspace import StepFailed, Unavailable, Workspace
from tools.prove_clients.target import REFUSED, Ask, Target, recipe
from tools.prove_clients.tls import tls_front

FORGED: Final = {
    "X-User-Id": "forged",
    "X-User-Login": "forged",
    "X-User-Role": "admin",
    "Accept": "text/html",
    "If-None-Match": "*",
}
"""What a visitor may try. Each of these once became a 500, or passed."""
_QUERY: Final = "/page?scope=x&role=admin&a=%ff"
_START_TIMEOUT_S: Final = 20.0
_APACHE_PACKAGES: Final = (
    "apache2-bin",
    "libapache2-mod-auth-openidc",
    "libapr1",
    "libaprutil1",
    "libcjose0",
    "libhiredis0.14",
)
_APACHE_TLS: Final = (
    "OIDCSSLValidateServer Off\nOIDCOAuthSSLValidateServer Off\nOIDCCryptoPassphrase unused\n"
)
_APACHE_MODULES: Final = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "auth_openidc")


class _Backend(BaseHTTPRequestHandler):
    """A service without tokens: returns the header fields that the gateway sends."""

    def do_GET(self) -> None:
        """Return the header fields."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the base class names it so

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing."""


@contextmanager
def backend() -> Iterator[int]:
    """Run the service behind the gateway; yield its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Backend) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def nginx_configuration(port: int, *, service_port: int, backend_port: int) -> str:
    """Return the recipe for nginx, as a whole configuration that runs in any directory."""
    places = "".join(
        f"    {name}_temp_path temp/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    locations = _placed(recipe("nginx"), service_port, backend_port)
    return (
        "pid nginx.pid;\nerror_log stderr warn;\nevents {}\n"
        f"http {{\n    access_log off;\n{places}"
        f"    server {{\n    listen 127.0.0.1:{port};\n{locations}    }}\n}}\n"
    )


@contextmanager
def nginx(workspace: Workspace, target: Target) -> Iterator[Ask]:
    """Run nginx with `auth_request`."""
    program, port = _program("nginx"), free_port()
    with backend() as backend_port:
        (workspace.directory / "temp").mkdir()
        text = nginx_configuration(port, service_port=target.port, backend_port=backend_port)
        (workspace.directory / "nginx.conf").write_text(text)
        command = [program, "-p", f"{workspace.directory}/", "-c", "nginx.conf", "-g", "daemon off;"]
        with _running(workspace, command, port):
            yield lambda token: ask_through(port, token)


@contextmanager
def caddy(workspace: Workspace, target: Target) -> Iterator[Ask]:
    """Run Caddy with `forward_auth`."""
    program, port = _program("caddy", workspace, "caddy"), free_port()
    with backend() as backend_port:
        text = _placed(recipe("Caddy"), target.port, backend_port)
        site = f"{{\n    admin off\n    auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n{text}}}\n"
        (workspace.directory / "Caddyfile").write_text(site)
        command = [program, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
        with _running(workspace, command, port, HOME=str(workspace.directory)):
            yield lambda token: ask_through(port, token)


@contextmanager
def apache(workspace: Workspace, target: Target) -> Iterator[Ask]:
    """Run Apache with mod_auth_openidc, which demands a TLS endpoint."""
    program, port = _program("apache2", workspace, *_APACHE_PACKAGES), free_port()
    root = Path(program).parents[2]
    with ExitStack() as stack:
        tls_port = stack.enter_context(tls_front(workspace, target.port))
        text = recipe("Apache mod_auth_openidc").replace("rck_…", target.key)
        text = text.replace("https://accounts.example.org", f"https://127.0.0.1:{tls_port}")
        (workspace.directory / "page").write_text("let in")
        (workspace.directory / "apache.conf").write_text(_apache_configuration(workspace, root, port, text))
        command = [program, "-DFOREGROUND", "-f", str(workspace.directory / "apache.conf")]
        libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib"
        stack.enter_context(_running(workspace, command, port, LD_LIBRARY_PATH=libraries))
        yield lambda token: _remote_user(port, token)


def _apache_configuration(workspace: Workspace, root: Path, port: int, text: str) -> str:
    modules = "".join(
        f"LoadModule {name}_module {root}/usr/lib/apache2/modules/mod_{name}.so\n" for name in _APACHE_MODULES
    )
    return (
        f"ServerRoot {workspace.directory}\nServerName localhost\nListen 127.0.0.1:{port}\n"
        f"PidFile apache.pid\nErrorLog {workspace.directory}/error.log\nUser #65534\nGroup #65534\n"
        f"{modules}DocumentRoot {workspace.directory}\n{_APACHE_TLS}{text}"
        f'Header set X-Remote-User "expr=%{{REMOTE_USER}}"\n'
    )


def ask_through(port: int, token: str) -> str:
    """Send a GET and a POST through a gateway; return the login id that the service behind it gets."""
    told = {_ask_once(port, token, method) for method in ("GET", "POST")}
    return told.pop() if len(told) == 1 else f"GET and POST differ: {sorted(told)}"


def _ask_once(port: int, token: str, method: str) -> str:
    headers = {**FORGED, "Authorization": f"Bearer {token}"}
    content = b"body" if method == "POST" else None
    response = httpx.request(method, f"http://127.0.0.1:{port}{_QUERY}", headers=headers, content=content)
    if response.status_code == 401:
        return REFUSED
    if response.status_code != 200:
        return f"{response.status_code}"
    received: dict[str, str] = response.json()
    if "forged" in received.values() or "authorization" in received:
        return f"passed on: {received}"
    return received["x-user-login"]


def _remote_user(port: int, token: str) -> str:
    response = httpx.get(f"http://127.0.0.1:{port}/page", headers={"Authorization": f"Bearer {token}"})
    if response.status_code == 401:
        return REFUSED
    return (
        response.headers.get("X-Remote-User", "")
        if response.status_code == 200
        else str(response.status_code)
    )


def _placed(text: str, service_port: int, backend_port: int) -> str:
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{service_port}").replace(
        "127.0.0.1:9000", f"127.0.0.1:{backend_port}"
    )


def _program(name: str, workspace: Workspace | None = None, *packages: str) -> str:
    """Return the path of a program, from packages of Debian unpacked in the workspace if need be.

    Raises: Unavailable.
    """
    if (found := shutil.which(name)) is not None:
        return found
    if workspace is None or shutil.which("apt-get") is None:
        raise Unavailable(f"no {name} on this machine")
    try:
        workspace.run("apt-get", "download", *packages)
    except StepFailed:
        raise Unavailable(f"no {name} on this machine, and apt-get has no package of it") from None
    for package in workspace.directory.glob("*.deb"):
        workspace.run("dpkg", "-x", package, "debian")
    places = [workspace.directory / "debian/usr" / part / name for part in ("bin", "sbin")]
    return str(next(place for place in places if place.exists()))


@contextmanager
def _running(workspace: Workspace, command: Sequence[str], port: int, **variables: str) -> Iterator[None]:
    """Run a server until the block ends.

    Raises: StepFailed if it does not listen.
    """
    log = workspace.directory / "server.log"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - commands of this package
            command, cwd=workspace.directory, env=environment, stdout=output, stderr=output
        )
    try:
        _wait_until_listening(process, port, log)
        yield
    finally:
        process.terminate()
        process.wait(_START_TIMEOUT_S)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends_at = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise StepFailed(log.read_text(encoding="utf-8", errors="replace")[-500:] or "it does not listen")
