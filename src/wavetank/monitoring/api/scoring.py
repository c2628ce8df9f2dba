"""Which values a search accepts, and their scores.

Mirrors buildSearchFilter of web/api/v1/search.go and ApplySearchHints of storage/generic.go: several terms
are alternatives, the best counts; a fuzzy threshold from 0 to 1 bounds what is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from wavetank.limits import SEARCH_VALUES_AT_ONCE
from wavetank.monitoring.api.scoring_kernels import score_jaro_winkler, score_subsequence, score_substring

__all__ = ["ALGORITHMS", "Filter", "Found", "Ordering", "search", "warm"]

Ordering = Literal["ascending", "descending", "score"]
#: A value and its score.
Found = tuple[str, float]
Points = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]

ALGORITHMS: Final = ("subsequence", "jarowinkler")
_FIRST_PART: Final = 2048
_I_WITH_DOT: Final = 0x130  # Python makes two letters of it, Go one


@dataclass(frozen=True, slots=True)
class Filter:
    """``terms`` are alternatives and not empty; ``threshold`` is from 0 to 1."""

    terms: Sequence[str]
    algorithm: str = "subsequence"
    threshold: float = 0.0
    case_sensitive: bool = True

    @classmethod
    def of(cls, terms: Sequence[str], algorithm: str, threshold: float, case_sensitive: bool) -> Filter:
        return cls([term for term in terms if term], algorithm, threshold, case_sensitive)

    def scores(self, values: Sequence[str]) -> Floats:
        """One a value; -1 for those that are not accepted."""
        if not self.terms:
            return np.ones(len(values))
        text = self._points("".join(values))
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
        best = np.full(len(values), -1.0)
        for term in self.terms:
            np.maximum(best, self._of_term(text, offsets, self._points(term)), out=best)
        return best

    def _points(self, text: str) -> Points:
        if text.isascii():
            points = np.frombuffer(
                (text if self.case_sensitive else text.lower()).encode("ascii"), np.uint8
            ).astype(np.uint32)
            return points
        points = np.frombuffer(bytearray(text.encode("utf-32-le", "surrogatepass")), np.uint32)
        return points if self.case_sensitive else _lower(points)

    def _of_term(self, text: Points, offsets: npt.NDArray[np.int64], term: Points) -> Floats:
        scores = np.empty(len(offsets) - 1)
        if self.algorithm == "subsequence":
            score_subsequence(text, offsets, term, scores)
            return np.where((scores > 0) & (scores >= self.threshold), scores, -1.0)
        score_substring(text, offsets, term, scores)
        if self.threshold > 0:
            fuzzy = np.empty(len(scores))
            score_jaro_winkler(text, offsets, term, fuzzy)
            scores = np.where((scores < 0) & (fuzzy >= self.threshold), fuzzy, scores)
        return scores


def _lower(points: Points) -> Points:
    """Each letter by itself, as Go does it."""
    distinct, places = np.unique(points, return_inverse=True)
    lower = [ord("i") if p == _I_WITH_DOT else ord(chr(p).lower()) for p in distinct.tolist()]
    return np.array(lower, np.uint32)[places]


def warm() -> None:
    """Compile or load the kernels, before anybody waits for them."""
    for algorithm in ALGORITHMS:
        Filter(["a"], algorithm, 0.5).scores(["b"])


def search(
    values: Sequence[str],
    accept: Filter,
    ordering: Ordering,
    limit: int,
    check: Callable[[], None] = lambda: None,
) -> list[Found]:
    """The first ``limit`` accepted values in this order; ``values`` are sorted and distinct.

    Values are looked at in parts, and ``check`` is called before each: what it raises ends the search.
    """
    order = values[::-1] if ordering == "descending" else values
    found: list[Found] = []
    begin, size = 0, _FIRST_PART
    while begin < len(order) and (ordering == "score" or len(found) < limit):
        check()
        part = order[begin : begin + size]
        scores = accept.scores(part)
        accepted = np.flatnonzero(scores >= 0).tolist()
        found += [(part[i], score) for i, score in zip(accepted, scores[accepted].tolist(), strict=True)]
        begin, size = begin + size, min(2 * size, SEARCH_VALUES_AT_ONCE)
    if ordering == "score":
        found.sort(key=lambda entry: -entry[1])  # of equal scores the lesser value comes first
    return found[:limit]
