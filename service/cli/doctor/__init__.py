"""The command `doctor`: checks of settings, machine, mail and database."""
