"""`python -m service` is the command line."""

from service.server.gc import gc_paused

with gc_paused():
    from service.cli import main
    from service.cli.machine import interrupt_on_termination

if __name__ == "__main__":
    interrupt_on_termination()
    main()
