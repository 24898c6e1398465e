"""`python -m tools.generated_clients` is `make prove-generated`."""

from tools.generated_clients.command import generated_clients

if __name__ == "__main__":
    generated_clients()
