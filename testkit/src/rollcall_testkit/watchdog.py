"""A process between pytest and the service, which stops the service when pytest ends; run as a script.

Its standard input is a pipe from pytest. The kernel closes that when pytest ends, even by SIGKILL.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading

_STOP_TIMEOUT_S = 20.0


def main(scratch: str, command: list[str]) -> int:
    """Run the command until it or pytest ends, then remove the scratch directory."""
    service = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - the kit's own command
    signal.signal(signal.SIGTERM, lambda *_: service.terminate())
    threading.Thread(target=_stop_with_pytest, args=(service,), daemon=True).start()
    status = service.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    return status


def _stop_with_pytest(service: subprocess.Popen[bytes]) -> None:
    # Not through sys.stdin: this thread would hold its lock while the interpreter shuts down.
    while os.read(0, 1):
        pass
    service.terminate()
    try:
        service.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        service.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
