"""Draws evaluations as bars with their intervals; the only importer of matplotlib in the packages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from api.evaluating import Evaluation
from rag.errors import ConfigError

__all__ = ["draw"]

_HEIGHT = 3.6  # inches
_WIDTH_A_MEASURE = 1.3


def draw(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Write a bar for each measure and evaluation, with its 95 % interval; the ending of ``path`` is the format.

    Raises ConfigError where matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # an extra: nothing else in the packages draws
    except ImportError as error:
        raise ConfigError(
            "drawing needs matplotlib, which is not installed; run pip install 'footnote-rag[notebooks]', or leave "
            "--plot out"
        ) from error
    names = evaluations[0].names
    figure = Figure(figsize=(1.5 + _WIDTH_A_MEASURE * len(names), _HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(evaluations)
    for place, evaluation in enumerate(evaluations):
        means = evaluation.means()
        heights = [means[name].mean for name in names]
        errors = (
            [means[name].mean - means[name].low for name in names],
            [means[name].high - means[name].mean for name in names],
        )
        left = [at + width * (place - (len(evaluations) - 1) / 2) for at in range(len(names))]
        axes.bar(left, heights, width=width * 0.92, yerr=errors, capsize=3, label=evaluation.label)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1)
    axes.set_title(f"{len(evaluations[0].questions):,} questions; bars are means, whiskers 95 % intervals", fontsize=9)
    axes.legend(fontsize=8)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the plot cannot be written to {path}: {error}; name a .png, .svg or .pdf file") from error
