"""The metadata with its naming convention, and the column types of Python types."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, LargeBinary, MetaData, Text, func, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}

Id = Annotated[UUID, mapped_column(primary_key=True)]
AtNow = Annotated[datetime, mapped_column(server_default=func.now())]
Count = Annotated[int, mapped_column(server_default=text("0"))]
OfUser = Annotated[UUID, mapped_column(ForeignKey("users.id", ondelete="CASCADE"))]
"""A row that is deleted with its user."""


class Base(DeclarativeBase):
    """Base of the declared schema, which Alembic compares with the real one."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        bytes: LargeBinary(),
        datetime: DateTime(timezone=True),
        UUID: postgresql.UUID(as_uuid=True),
    }
