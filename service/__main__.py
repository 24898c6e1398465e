"""`python -m service` is the command line."""

import sys

from service.server.gc import gc_paused

if sys.argv[1:2] == ["serve"]:
    # structlog imports rich where it is installed, and a server draws no tables: a twentieth of its memory.
    sys.modules["rich"] = None  # type: ignore[assignment] # documented: importing it fails

with gc_paused():
    from service.cli import main
    from service.cli.machine import interrupt_on_termination

if __name__ == "__main__":
    interrupt_on_termination()
    main()
