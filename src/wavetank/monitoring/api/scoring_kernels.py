"""How well a term fits each of many values: the kernels.

The formulas are those of util/strutil (subsequence, Jaro-Winkler) and web/api/v1/search_filters.go
(substring) of prometheus/prometheus. Values and term are code points, flat and with offsets, so that letters
beyond ASCII count as one. A value that a term would be compared with for too long keeps the best score found
until then.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.limits import SEARCH_STEPS_MAX

__all__ = ["score_jaro_winkler", "score_subsequence", "score_substring"]

Points = npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_STEPS_MAX: Final = SEARCH_STEPS_MAX
_NOT_EXACT: Final = 0.999  # what is not the term itself stays below 1
_PREFIX_WEIGHT: Final = 0.1  # Winkler's
_FIRST_WORST: Final = 0.9  # a term at the very end of a value scores a tenth


@kernel(inline=True)
def _starts_with(text: Any, begin: Any, end: Any, term: Any) -> Any:
    if end - begin < len(term):
        return False
    for k in range(len(term)):  # noqa: SIM110  (kernels know no generators)
        if text[begin + k] != term[k]:
            return False
    return True


@kernel(inline=True)
def _run_score(text: Any, begin: Any, end: Any, start: Any, term: Any) -> Any:
    """The raw score of the match that begins at ``start``, and the steps it took; -inf where there is none.

    Runs of consecutive letters count with their square, letters passed over cost their share of the value,
    those after the last match half of it.
    """
    length = end - begin
    share = 1.0 / length
    score = 0.0
    last = begin - 1
    at = start
    k = 0
    while k < len(term):
        while at < end and text[at] != term[k]:
            at += 1
        if at == end:
            return -np.inf, at - start
        first = at
        while at < end and k < len(term) and text[at] == term[k]:
            at += 1
            k += 1
        gap = first - last - 1
        if gap > 0:
            score -= gap * share
        size = at - first
        score += float(size * size)
        last = at - 1
    trailing = end - 1 - last
    if trailing > 0:
        score -= trailing * share * 0.5
    return score, at - start


@kernel("void(uint32[::1], int64[::1], uint32[::1], float64[::1])")
def score_subsequence(text: Points, offsets: Int64s, term: Points, scores: Floats) -> None:
    """The letters of ``term`` in their order, with as few gaps as some start allows; 0: not contained.

    ``text`` holds all values, value i from ``offsets[i]`` to ``offsets[i + 1]``; ``scores`` is written, one a
    value. The term has at least one letter.
    """
    for i in range(len(offsets) - 1):
        begin, end = offsets[i], offsets[i + 1]
        scores[i] = 0.0
        if end - begin < len(term):
            continue
        if _starts_with(text, begin, end, term):
            scores[i] = 1.0
            continue
        best = -1.0
        steps = 0
        for start in range(begin, end - len(term) + 1):
            if text[start] != term[0]:
                continue
            score, taken = _run_score(text, begin, end, start, term)
            steps += taken
            if score == -np.inf or steps > _STEPS_MAX:
                break  # what does not fit from here fits from no later start
            best = max(best, score)
        if best >= 0:
            scores[i] = best / (len(term) * len(term)) * _NOT_EXACT


@kernel("void(uint32[::1], int64[::1], uint32[::1], float64[::1])")
def score_substring(text: Points, offsets: Int64s, term: Points, scores: Floats) -> None:
    """Where the term stands in the value: 1 at its beginning, 0.1 at its end, -1 nowhere."""
    for i in range(len(offsets) - 1):
        begin, end = offsets[i], offsets[i + 1]
        scores[i] = -1.0
        furthest = end - begin - len(term)
        for start in range(begin, end - len(term) + 1):
            if _starts_with(text, start, end, term):
                scores[i] = 1.0 if start == begin else 1.0 - _FIRST_WORST * (start - begin) / furthest
                break


@kernel(inline=True)
def _jaro_winkler(a: Any, b: Any, in_a: Any, in_b: Any) -> Any:
    """Of the shorter ``a`` and the longer ``b``; ``in_a`` and ``in_b`` have room for their marks."""
    in_a[: len(a)] = False
    in_b[: len(b)] = False
    distance = max(len(b) // 2 - 1, 0)
    matches = 0.0
    for i in range(len(a)):
        for j in range(max(i - distance, 0), min(i + distance + 1, len(b))):
            if not in_b[j] and a[i] == b[j]:
                in_a[i] = True
                in_b[j] = True
                matches += 1.0
                break
    if matches == 0.0:
        return 0.0
    transposed = 0.0
    k = 0
    for i in range(len(a)):
        if in_a[i]:
            while not in_b[k]:
                k += 1
            if a[i] != b[k]:
                transposed += 1.0
            k += 1
    a_share, b_share = 1.0 / len(a), 1.0 / len(b)
    jaro = (matches * a_share + matches * b_share + (matches - transposed * 0.5) / matches) / 3.0
    prefix = 0
    while prefix < min(4, len(a)) and a[prefix] == b[prefix]:
        prefix += 1
    return jaro + prefix * _PREFIX_WEIGHT * (1.0 - jaro)


@kernel("void(uint32[::1], int64[::1], uint32[::1], float64[::1])")
def score_jaro_winkler(text: Points, offsets: Int64s, term: Points, scores: Floats) -> None:
    """The Jaro-Winkler similarity, from 0 to 1: the same. A value too long to be compared scores 0."""
    longest = len(term)
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    in_a = np.zeros(longest, np.bool_)
    in_b = np.zeros(longest, np.bool_)
    for i in range(len(offsets) - 1):
        value = text[offsets[i] : offsets[i + 1]]
        if len(value) == 0 or len(value) * len(term) > _STEPS_MAX:
            scores[i] = 0.0
        elif len(value) == len(term) and _starts_with(text, offsets[i], offsets[i + 1], term):
            scores[i] = 1.0
        elif len(value) < len(term):
            scores[i] = _jaro_winkler(value, term, in_a, in_b)
        else:
            scores[i] = _jaro_winkler(term, value, in_a, in_b)
