"""Take outputs, counters and the traces of a machine out of the notebooks, so that a commit holds what was written.

    python scripts/strip_notebooks.py            strips notebooks/*.ipynb in place
    python scripts/strip_notebooks.py --check    changes nothing; exits 1 and names those that are not stripped

Run it before committing. Needs the packages of the extra "notebooks".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(text: str) -> str:
    """Return a notebook, as the text of its file, without outputs, counters and metadata; idempotent."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return nbformat.writes(notebook, indent=1, ensure_ascii=False, sort_keys=True).rstrip("\n") + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if a notebook is not stripped")
    args = parser.parse_args()
    changed = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        if stripped(text) != text:
            changed.append(path)
            if not args.check:
                path.write_text(stripped(text), encoding="utf-8", newline="\n")
    for path in changed:
        print(f"{path.name}: {'not stripped' if args.check else 'stripped'}", file=sys.stderr)
    return 1 if args.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
