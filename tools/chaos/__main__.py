"""`python -m tools.chaos` is `make chaos`."""

from tools.chaos.command import chaos

if __name__ == "__main__":
    chaos()
