"""Applications that Rollcall is compared with, one a module; they run in bench/.venv."""
