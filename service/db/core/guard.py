"""A check that opens a transaction: sent together with BEGIN, so it costs no round trip of its own."""

import re
from typing import Any, Final, NamedTuple

from service.db.core.statements import Statement

_PLACEHOLDER: Final = re.compile(r"\$(\d+)")


class Guard(NamedTuple):
    """A statement that finds a row if the transaction may go on, and its parameters by name.

    BEGIN and a statement with parameters fit into one message only as text: the values are quoted. On a
    connection of our own the statement is prepared once, since planning it costs more than running it.
    """

    name: str
    statement: Statement
    params: dict[str, Any]

    def opening(self, prepared: set[str] | None) -> str:
        """Return BEGIN with the check; `prepared` are the names on the connection, None behind a pooler."""
        values = [_quoted(value) for value in self.statement.arguments(self.params)]
        if prepared is None:
            sql = _PLACEHOLDER.sub(lambda found: values[int(found[1]) - 1], self.statement.sql)
            return f"BEGIN; {sql}"
        prepare = f"PREPARE {self.name} AS {self.statement.sql}; " if self.name not in prepared else ""
        prepared.add(self.name)
        return f"{prepare}BEGIN; EXECUTE {self.name}({', '.join(values)})"


def _quoted(value: object) -> str:
    if isinstance(value, list):
        items = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in value)
        value = "{" + ",".join(f'"{item}"' for item in items) + "}"
    return "'" + str(value).replace("'", "''") + "'"
