"""Every fault: importing its module has registered it."""

from tools.chaos import client_faults, database_faults, mail_faults, network_faults, process_faults
from tools.chaos.faults import FAULTS

__all__ = [
    "FAULTS",
    "client_faults",
    "database_faults",
    "mail_faults",
    "network_faults",
    "process_faults",
]
