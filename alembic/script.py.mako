# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

# "expand" only adds; "data" fills in batches and can run twice; "contract" drops what the release before no
# longer touches. Say what is locked and for how long. See alembic/README.md.
phase = "${"contract" if upgrades and "op.park_" in upgrades else "expand"}"
locks = "none"
lossless = True


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
