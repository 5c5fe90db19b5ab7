"""The ignore files that lie in an archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ingest.archives.member import Member
from ingest.archives.names import folders_of
from ingest.ignoring import IGNORE_FILE, IgnoreRules
from rag.errors import ConfigError, DocumentReadError

__all__ = ["sifted"]


def sifted(members: Iterable[Member], rules: Mapping[str, str], name: str) -> Iterator[Member]:
    """Yield the members with what the archive's own ignore files leave out as skipped, a folder once for all in it.

    They can leave out, and bring back what another of them leaves out; what the walk leaves out stays so. This is done
    here since a pattern can be made to take for ever. Raises DocumentReadError for rules that are not valid.
    """
    try:
        own = [
            (folder, IgnoreRules(text.splitlines(), where=f"{name}/{folder}{IGNORE_FILE}"))
            for folder, text in sorted(rules.items(), key=lambda item: -item[0].count("/"))  # the innermost first
        ]
    except ConfigError as error:
        raise DocumentReadError(f"cannot read {name!r}: {error}") from error
    folders: dict[str, str] = {}
    for member in members:
        path = "/".join(member.path)
        for folder in folders_of(path):
            if folder not in folders:
                folders[folder] = _reason(own, folder, is_folder=True)
                if folders[folder]:
                    yield Member((f"{folder}/",), state="skipped", reason=folders[folder])
            if folders[folder]:
                break
        else:
            reason = _reason(own, path, is_folder=False)
            yield replace(member, state="skipped", reason=reason) if reason else member


def _reason(own: Sequence[tuple[str, IgnoreRules]], path: str, *, is_folder: bool) -> str:
    """Return the rule that leaves a path out, or nothing."""
    for folder, rules in own:
        if path.startswith(folder) and (found := rules.verdict(path[len(folder) :], is_folder=is_folder)):
            return f"ignored by {found[1]!r} in {rules.where}" if found[0] else ""
    return ""
