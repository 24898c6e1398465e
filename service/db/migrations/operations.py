"""Register our operations in Alembic's `op`."""

from collections.abc import Callable
from typing import Any

from alembic.operations import MigrateOperation, Operations

from service.db.migrations import online, parking

_ACTIONS: tuple[Callable[..., Any], ...] = (
    parking.is_parked,
    parking.park_table,
    parking.restore_table,
    parking.park_columns,
    parking.keep_columns,
    parking.drop_kept_columns,
    parking.restore_columns,
    online.lock_tables,
    online.build_index,
    online.remove_index,
    online.add_check,
    online.add_foreign_key,
    online.set_not_null,
    online.update_in_batches,
    online.refuse_duplicates,
    online.refuse_rows,
)


def register() -> None:
    """Register our operations with `op`; a second call changes nothing."""
    for action in _ACTIONS:
        if not hasattr(Operations, action.__name__):
            _register(action)


class CustomOperation(MigrateOperation):
    """A call of one of our actions."""

    def __init__(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.action, self.arguments, self.options = action, arguments, options


@Operations.implementation_for(CustomOperation)
def _run(operations: Operations, operation: CustomOperation) -> Any:
    return operation.action(operations, *operation.arguments, **operation.options)


def _register(action: Callable[..., Any]) -> None:
    def invoke(cls: Any, operations: Operations, *arguments: Any, **options: Any) -> Any:
        return operations.invoke(cls(action, *arguments, **options))

    invoke.__name__, invoke.__doc__ = action.__name__, action.__doc__
    setattr(CustomOperation, action.__name__, classmethod(invoke))
    Operations.register_operation(action.__name__)(CustomOperation)
