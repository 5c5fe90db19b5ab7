"""Whether a value follows a JSON schema: the only module that knows jsonschema.

Nothing is fetched: a ``$ref`` leads into the schema itself or is an error. ``pattern`` and ``patternProperties`` are
not enforced, for a pattern can be written that takes Python's ``re`` forever on a short text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

__all__ = ["SchemaProblem", "check_schema", "problem_of"]

_Validator = extend(Draft202012Validator, {"pattern": None, "patternProperties": None})


class SchemaProblem(Exception):
    """A schema is none, or cannot be applied; the message says why."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise SchemaProblem unless this is a JSON schema (2020-12)."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise SchemaProblem(f"{_place(error.absolute_path)}: {error.message[:300]}") from error
    except RecursionError as error:
        raise SchemaProblem("it is nested too deeply") from error


def problem_of(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return in words how a value breaks a schema; None where it follows it. Raises SchemaProblem."""
    try:
        found = best_match(_Validator(schema, registry=Registry()).iter_errors(value))
    except Unresolvable as error:
        raise SchemaProblem(f"it refers to {error.ref!r}, which is not in it") from error
    except RecursionError as error:
        raise SchemaProblem("it refers to itself without end") from error
    return None if found is None else f"{_place(found.absolute_path)}: {found.message[:300]}"


def _place(path: Any) -> str:
    return "/" + "/".join(map(str, path))
