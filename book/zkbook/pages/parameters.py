"""A chapter's parameters: what a notebook declares, by the book's vocabulary, and the check of what it is given.

A notebook declares its parameters in one cell tagged ``parameters``, one annotated literal a line::

    alpha: float = 2.0  # steering strength

The cell is read with :mod:`ast`: papermill's own reader is a regular expression that drops lines without saying so.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from zkbook.pages.vocabulary import VOCABULARY, FileOrFolder, Finite
from zkit.errors import ZkitError, first_line
from zkit.reading import DEPTH_LIMIT, shown

_SIMPLE: dict[str, Any] = {
    "int": int,
    "float": Finite,
    "bool": bool,
    "str": str,
    "list[int]": list[int],
    "list[float]": list[Finite],
    "list[str]": list[str],
    "path": FileOrFolder,
}
"""Types of parameters that a reader's own notebook declares and the vocabulary does not know. ``texts: "path" = ""``
is one whose contents count."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: ``annotation`` as written ("" if none), ``default`` its literal value."""

    name: str
    annotation: str
    default: Any

    @property
    def type(self) -> Any:
        if self.name in VOCABULARY:
            return VOCABULARY[self.name][0]
        return _SIMPLE.get(self.annotation, Any)

    @property
    def schema(self) -> dict[str, Any]:
        """The type as JSON schema."""
        return TypeAdapter(self.type).json_schema()

    @property
    def reads(self) -> str:
        """ "file" or "file or folder" where the value is the path of one that the chapter reads; else ""."""
        return str(self.schema.get("reads", ""))

    @property
    def is_typed(self) -> bool:
        """Whether there is a type to check it by."""
        return self.name in VOCABULARY or self.annotation in _SIMPLE

    @property
    def meaning(self) -> str:
        return VOCABULARY[self.name][1] if self.name in VOCABULARY else self.annotation or "any value"


def declared(source: str, chapter: str) -> dict[str, Parameter]:
    """Parameters of a parameters cell, in order.

    Raises ZkitError, naming the line, for anything but assignments of literals and for an annotation that disagrees
    with the vocabulary.
    """
    found: dict[str, Parameter] = {}
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ZkitError(f"{chapter}: the parameters cell is not Python: line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ZkitError(
            f"{chapter}: the parameters cell is not Python ({first_line(error)}); write it again"
        ) from error
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        name, annotation, value = _assignment(statement)
        if name is None or value is None:
            raise ZkitError(
                f"{chapter}: line {statement.lineno} of the parameters cell is not of the form `name: type = value`: "
                f"{ast.unparse(statement)}"
            )
        try:
            default = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            raise ZkitError(
                f"{chapter}: the default of parameter {name!r} must be a literal (a number, a string, a list), "
                f"not `{ast.unparse(value)}`; compute it in a later cell"
            ) from error
        found[name] = Parameter(name, annotation, default)
        _agrees(found[name], chapter)
    return found


def inspect(cells: Iterable[Mapping[str, Any]], chapter: str) -> dict[str, Parameter]:
    """Parameters that a notebook declares: those of its first cell tagged ``parameters``; none without one."""
    for cell in cells:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            return declared(text(cell["source"]), chapter)
    return {}


def validate(known: Mapping[str, Parameter], given: Mapping[str, Any], chapter: str) -> dict[str, Any]:
    """All parameters of a chapter: its defaults, replaced by ``given``; each checked for name, type and range.

    Raises ZkitError for a name that the chapter does not have (the message lists those it has and the closest one)
    and for a value of the wrong type, out of range or not finite.
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            have = ", ".join(known) or "none: no cell of it is tagged `parameters`"
            raise ZkitError(f"{chapter} has no parameter {name!r}{hint} (its parameters: {have})")
    values = {name: parameter.default for name, parameter in known.items()} | dict(given)
    return {name: _checked(known[name], value, chapter) for name, value in values.items()}


def parse(assignment: str, known: Mapping[str, Parameter]) -> tuple[str, Any]:
    """``"name=value"`` as typed in a shell -> (name, value), read by the declared type.

    A text is what was typed; numbers are decimal (``010`` is ten, ``5e-1`` a half); a list is ``[1, 2]`` or
    ``[a, "b c"]``. What cannot be read as the type stays text, which :func:`validate` refuses with names and ranges.
    Raises ZkitError if there is no ``=`` or a list is not closed.
    """
    name, equals, typed = assignment.partition("=")
    name = name.strip()
    if not equals or not name:
        raise ZkitError(f"-p {assignment!r}: write -p name=value")
    schema = known[name].schema if name in known else {}
    if schema.get("type") == "string":
        return name, typed
    try:
        depth = 0
        for event in yaml.parse(typed, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise ZkitError(f"-p {assignment}: the value has an alias (*); write it out")
            if depth > DEPTH_LIMIT:
                raise ZkitError(f"-p {assignment}: the value nests deeper than {DEPTH_LIMIT} lists; write it flat")
        node = yaml.compose(typed, Loader=yaml.SafeLoader)
        return name, "" if node is None else _value(node, schema)
    except (yaml.YAMLError, RecursionError) as error:
        raise ZkitError(f"-p {assignment}: the value is neither a number, a list nor plain text") from error


def text(source: str | list[str]) -> str:
    """A cell's source; the notebook format allows a list of lines."""
    return source if isinstance(source, str) else "".join(source)


def _value(node: yaml.Node, schema: Mapping[str, Any]) -> Any:
    """A value as typed, by its JSON schema. YAML finds the parts and their quotes; it does not say what a number is."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, schema.get("items", {})) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key.value: _value(value, {}) for key, value in node.value}
    kind = schema.get("type")
    if kind == "string" or (kind is None and node.style is not None):  # quoted
        return node.value
    if kind == "boolean" or kind is None:
        word = {"true": True, "yes": True, "false": False, "no": False}.get(node.value.lower())
        if word is not None and (kind or node.value.lower() in ("true", "false")):
            return word
    return _number(node.value)


def _number(typed: str) -> int | float | str:
    """A decimal number, also ``1_000``, ``010`` and ``5e-1``; any other text as it is."""
    try:
        return int(typed) if re.fullmatch(r"[+-]?\d[\d_]*", typed, re.ASCII) else float(typed)
    except ValueError:
        return typed


def _assignment(statement: ast.stmt) -> tuple[str | None, str, ast.expr | None]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id, ast.unparse(statement.annotation).strip("'\""), statement.value
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            return target.id, "", statement.value
    return None, "", None


def _agrees(parameter: Parameter, chapter: str) -> None:
    """The annotation is for the reader of the notebook; it must not contradict the vocabulary."""
    if parameter.name not in VOCABULARY:
        return
    expected = {"string": "str", "integer": "int", "number": "float", "array": "list"}[parameter.schema["type"]]
    if parameter.annotation.split("[")[0] != expected:
        raise ZkitError(
            f"{chapter}: annotate {parameter.name!r} as {expected}, not {parameter.annotation or 'nothing'!r} "
            "(book/zkbook/pages/parameters.py says what each name means)"
        )


def _checked(parameter: Parameter, value: Any, chapter: str) -> Any:
    try:
        return TypeAdapter(parameter.type).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{index}]" for index in first["loc"])
        reason = first["msg"].replace("Input", f"{parameter.name}{place}", 1)
        raise ZkitError(
            f"{chapter}: parameter {parameter.name} = {shown(value)} is refused: {reason} ({parameter.meaning})"
        ) from error
