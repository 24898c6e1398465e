"""Limits on mails that people ask for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailLimits:
    """How many mails an hour may be asked for: by a client's network, and for one user, name or address.

    A network around it has a multiple: its share (service.domain.networks).
    """

    per_network: int = 30
    per_name: int = 5
