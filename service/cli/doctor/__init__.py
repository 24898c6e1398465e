"""The command `doctor`: checks of settings, machine and database."""
