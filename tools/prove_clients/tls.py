"""TLS in front of the service, for clients that ask nowhere else."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Final

from tools.generated_clients.workspace import Workspace

_CHUNK_BYTES: Final = 65536
_TIMEOUT_S: Final = 30.0


@contextmanager
def tls_front(workspace: Workspace, service_port: int) -> Iterator[int]:
    """Forward TLS connections to a port of loopback, self-signed; yield the port."""
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem")
    workspace.run("openssl", "req", "-x509", "-days", "2", *key, "-out", "certificate.pem", *subject)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(workspace.directory / "certificate.pem", workspace.directory / "key.pem")

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.create_connection(("127.0.0.1", service_port), _TIMEOUT_S) as service,
            ):
                back = Thread(target=_copy, args=(service, client), daemon=True)
                back.start()
                _copy(client, service)
                back.join(_TIMEOUT_S)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
