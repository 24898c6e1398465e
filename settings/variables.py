"""Map variables to settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from settings.values import Constraint, Variable, format_duration

PREFIX = "ROLLCALL_"
SECRETS_DIR = "ROLLCALL_SECRETS_DIR"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its variable, its path in the tree of sections, and its field."""

    variable: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def spelled_path(self) -> str:
        """The variable that the path suggests."""
        return PREFIX + "__".join(self.path).upper()

    @property
    def unset(self) -> str:
        """The spelling of "unset"."""
        return next(
            (annotation.unset for annotation in self.field.metadata if isinstance(annotation, Variable)), ""
        )

    @property
    def constraint(self) -> str:
        """What a value must be, in words after "must be "."""
        words = (
            annotation.words for annotation in _annotations(self.field) if isinstance(annotation, Constraint)
        )
        return next(words, None) or _constraint_of_type(self.field)

    @property
    def is_secret(self) -> bool:
        """Whether the value is a secret, which may come from a file."""
        return _mentions(self.field.annotation, SecretStr)

    def of(self, settings: BaseModel) -> Any:
        """Return the value of this setting."""
        value: Any = settings
        for name in self.path:
            value = getattr(value, name)
        return value


def setting_variables(model: type[BaseModel]) -> dict[str, Setting]:
    """Return all settings of a tree of sections by variable, in the order of the classes."""
    return {setting.variable: setting for setting in _walk(model, ())}


def tree_of(found: Mapping[str, str], variables: Mapping[str, Setting]) -> dict[str, Any]:
    """Arrange the values of known variables as the tree of sections."""
    tree: dict[str, Any] = {}
    for variable, value in found.items():
        if setting := variables.get(variable):
            set_path(tree, setting.path, value)
    return tree


def set_path(tree: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    """Set one value in a tree of sections."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, (*path, name))
        else:
            yield Setting(_variable_of(field, (*path, name)), (*path, name), field)


def _variable_of(field: FieldInfo, path: tuple[str, ...]) -> str:
    named = (annotation.name for annotation in field.metadata if isinstance(annotation, Variable))
    return next(named, PREFIX + "__".join(path).upper())


def _annotations(field: FieldInfo) -> Iterator[object]:
    yield from field.metadata
    for kind in get_args(field.annotation):  # the annotations of X in X | None
        yield from getattr(kind, "__metadata__", ())


def _mentions(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_mentions(part, kind) for part in get_args(annotation))


def _constraint_of_type(field: FieldInfo) -> str:
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    least, most = _bounds(field)
    if kind is bool:
        return "true or false"
    if kind is int:
        return f"a whole number from {least} to {most}"
    if kind is timedelta:
        return f"a time from {format_duration(least)} to {format_duration(most)}"
    raise TypeError(f"{kind} needs a Constraint")


def _without_none(annotation: Any) -> Any:
    others = [kind for kind in get_args(annotation) if kind is not NoneType]
    return others[0] if NoneType in get_args(annotation) else annotation


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    lows = (annotation.ge for annotation in field.metadata if hasattr(annotation, "ge"))
    highs = (annotation.le for annotation in field.metadata if hasattr(annotation, "le"))
    return next(lows, None), next(highs, None)
