"""How a process serves: HTTP server, worker processes, start and shutdown."""
