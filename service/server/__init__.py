"""How a process serves: HTTP server, worker processes, start and shutdown."""

import sys

if sys.argv[1:2] == ["serve"]:  # also in a worker process, which does not run `service.__main__`
    # structlog imports rich where it is installed, and a server draws no tables: a twentieth of its memory.
    sys.modules["rich"] = None  # type: ignore[assignment] # documented: importing it fails
