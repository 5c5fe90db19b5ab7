"""Ignore rules in gitignore syntax; the only importer of pathspec."""

from __future__ import annotations

from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from rag.errors import ConfigError

__all__ = ["IGNORE_FILE", "IgnoreRules"]

IGNORE_FILE = ".ragignore"
"""Holds ignore rules for the folder it lies in."""


class IgnoreRules:
    """Patterns in gitignore syntax, for paths relative to the folder they stand in.

    ``where`` names them in messages: a file's path or an option. Raises ConfigError for a pattern that is not valid.
    """

    def __init__(self, patterns: Sequence[str], *, where: str) -> None:
        self.where = where
        self._patterns = patterns
        try:
            self._spec = GitIgnoreSpec.from_lines(patterns)
        except ValueError as error:
            raise ConfigError(
                f"{where}: {error}; patterns follow the syntax of .gitignore, correct this one"
            ) from error

    def verdict(self, path: str, *, is_folder: bool) -> tuple[bool, str] | None:
        """Return (ignored, the pattern that decided), or None where no pattern speaks of ``path``."""
        result = self._spec.check_file(path + "/" if is_folder else path)
        if result.include is None or result.index is None:
            return None
        return result.include, self._patterns[result.index]
