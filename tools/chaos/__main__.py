"""`python -m tools.chaos` is `make chaos`."""

from tools.chaos.command import storm

if __name__ == "__main__":
    storm()
