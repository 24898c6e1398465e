"""`python -m service` is the command line."""

from service.server.gc import gc_paused

with gc_paused():
    from service.cli import main

if __name__ == "__main__":
    main()
