"""What Rollcall is compared with, one application a module; they run in bench/.venv."""
