"""How likely a sentence answers a question: a few measures, weighed by logistic regression.

``python benchmarks/abstention.py --fit --questions 400`` prints the weights: with cosines they are fitted on nq_oracle,
without on cmrc2018_trial, and tested on other sets. The threshold lets 15 % of the unanswerable questions through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rag.answering.alignment import features
from rag.local.candidates import Candidate
from rag.local.question_terms import QuestionTerms, term_weights
from rag.types import Source

__all__ = ["MEASURES", "N_LEXICAL", "log_odds", "measure", "threshold"]

MEASURES = (
    "sentence",  # share of the question's terms, by weight, in the sentence
    "around",  # ... in the sentence, its neighbours, its title and headings
    "source",  # ... in the whole source
    "names_missing",  # share of the question's names and numbers that the source lacks
    "cue",  # whether what is asked for (a number, a date, a person, a reason) shows
    "prose",  # whether it is a sentence
    "characters",  # share of the question's CJK characters in the sentence; without any, the same as "sentence"
    "rank",  # score of the source, relative to the best
    "cosine",  # of question and sentence
    "source_cosine",  # the best of its source's sentences
)
N_LEXICAL = 8

# In the order of MEASURES, the bias last.
_WITH_COSINE = np.array([0.21, 1.32, 0.74, -0.12, 0.55, 0.65, 0.21, 0.90, 2.42, 2.43, -7.75])
# cmrc2018_trial has nothing but prose, so "prose" cannot be learnt there: set to 0.8, and the bias lowered by that.
_LEXICAL = np.array([1.44, 1.50, 1.08, -0.24, 0.37, 0.80, 1.68, 0.95, -7.75])
_LEAST_WITH_COSINE, _LEAST_LEXICAL = -1.94, -3.63


def measure(
    question: QuestionTerms,
    found: Sequence[Candidate],
    sources: Sequence[Source],
    *,
    cosines: NDArray[np.float32] | None,
) -> NDArray[np.float64]:
    """Return one row per candidate with a column per measure, each in [0, 1]; the last two only with ``cosines``."""
    held = [features(candidate.meant) for candidate in found]
    whole = [features("\n".join((source.title, *source.headings, source.context, source.text))) for source in sources]
    best_score = max((source.score for source in sources), default=0) or 1
    weights = term_weights(question.terms, held)
    rows = np.zeros((len(found), N_LEXICAL if cosines is None else len(MEASURES)))
    for row, (candidate, words) in enumerate(zip(found, held, strict=True)):
        sentence = _coverage(weights, words)
        rows[row, :N_LEXICAL] = (
            sentence,
            _coverage(weights, words | features(candidate.around)),
            _coverage(weights, whole[candidate.source]),
            len(question.names - whole[candidate.source]) / max(len(question.names), 1),
            question.cue_met(candidate.text),
            candidate.is_prose,
            question.character_share(candidate.text, default=sentence),
            sources[candidate.source].score / best_score,
        )
    if cosines is not None:
        rows[:, -2] = np.maximum(cosines, 0)
        origin = np.array([candidate.source for candidate in found])
        for number in set(origin.tolist()):
            rows[origin == number, -1] = rows[origin == number, -2].max()
    return rows


def log_odds(measures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each row the logarithm of the odds that it answers, up to a constant; see ``threshold``."""
    weights = _WITH_COSINE if measures.shape[1] == len(MEASURES) else _LEXICAL
    odds: NDArray[np.float64] = measures @ weights[:-1] + weights[-1]
    return odds


def threshold(measures: NDArray[np.float64]) -> float:
    """Return the log-odds which the best row must reach for the question to be answered at all."""
    return _LEAST_WITH_COSINE if measures.shape[1] == len(MEASURES) else _LEAST_LEXICAL


def _coverage(weights: Mapping[str, float], words: frozenset[str]) -> float:
    return sum(weight for term, weight in weights.items() if term in words)
