"""A process that runs the service for as long as pytest lives; a program of its own, and nothing imports it.

It ends the service when its standard input does. The kernel closes that when pytest ends, however it ends.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading

_PATIENCE_S = 20.0


def main(scratch: str, command: list[str]) -> int:
    """Run the command until it or pytest ends, then remove the scratch directory."""
    service = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - the words are the kit's
    signal.signal(signal.SIGTERM, lambda *_: service.terminate())
    threading.Thread(target=_end_with_pytest, args=(service,), daemon=True).start()
    status = service.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    return status


def _end_with_pytest(service: subprocess.Popen[bytes]) -> None:
    # Not through sys.stdin, whose lock this thread would hold while the interpreter ends.
    while os.read(0, 1):
        pass
    service.terminate()
    try:
        service.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        service.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
