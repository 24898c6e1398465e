"""Which variable sets which setting."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from settings.values import Expected, Variable, format_duration

PREFIX = "ROLLCALL_"
SECRETS_DIR = "ROLLCALL_SECRETS_DIR"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its variable, its place in the tree of sections, and what it must be."""

    variable: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def spelled_path(self) -> str:
        """The variable that the place in the tree would lead one to expect."""
        return PREFIX + "__".join(self.path).upper()

    @property
    def unset(self) -> str:
        """How the absence of a value is written."""
        return next((note.unset for note in self.field.metadata if isinstance(note, Variable)), "")

    @property
    def expected(self) -> str:
        """What a value must be, in words that read on from "must be "."""
        words = (note.words for note in _notes(self.field) if isinstance(note, Expected))
        return next(words, None) or _expected_of_type(self.field)

    def of(self, settings: BaseModel) -> Any:
        """Give the value of this setting."""
        value: Any = settings
        for name in self.path:
            value = getattr(value, name)
        return value


def setting_variables(model: type[BaseModel]) -> dict[str, Setting]:
    """Give all settings of a tree of sections by their variable, in the order of the classes."""
    return {setting.variable: setting for setting in _walk(model, ())}


def tree_of(found: Mapping[str, str], variables: Mapping[str, Setting]) -> dict[str, Any]:
    """Arrange the values of known variables in the tree of sections."""
    tree: dict[str, Any] = {}
    for variable, value in found.items():
        if setting := variables.get(variable):
            put(tree, setting.path, value)
    return tree


def put(tree: dict[str, Any], path: tuple[str, ...], value: object) -> None:
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
    named = (note.name for note in field.metadata if isinstance(note, Variable))
    return next(named, PREFIX + "__".join(path).upper())


def _notes(field: FieldInfo) -> Iterator[object]:
    yield from field.metadata
    for kind in get_args(field.annotation):  # the annotations of X in X | None
        yield from getattr(kind, "__metadata__", ())


def _expected_of_type(field: FieldInfo) -> str:
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
    raise TypeError(f"{kind} needs an Expected")


def _without_none(annotation: Any) -> Any:
    others = [kind for kind in get_args(annotation) if kind is not NoneType]
    return others[0] if NoneType in get_args(annotation) else annotation


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    lows = (note.ge for note in field.metadata if hasattr(note, "ge"))
    highs = (note.le for note in field.metadata if hasattr(note, "le"))
    return next(lows, None), next(highs, None)
