"""Series of a text body that were never seen before, straight to series keys.

A target's first scrape, and every scrape of one that makes up new series, would spend its time here: a
regular expression, a dictionary and a dozen objects a line. So a kernel reads the common notation and writes
what the storage knows a series by (the key: count of labels, then names and values by name, each with its
length), with the target's own labels among them. What is not common (quoted names, other than ASCII, labels
that repeat or clash, odd numbers in ``le``) is left to ``parse_series``, series by series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from wavetank.exposition.text import parse_series
from wavetank.jit import kernel
from wavetank.model.labels import METRIC_NAME, Labels

__all__ = ["FixedLabels", "FreshSeries", "type_at"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Word = Any

_LABELS_MAX: Final = 64  # of a series; the rest is for the parser


@kernel(inline=True)
def _put_text(out: Bytes, at: Word, text: Bytes, begin: Word, end: Word, plain: Word) -> Word:
    """A length and the text, escapes undone unless it is ``plain``; returns the next place."""
    size = np.int64(end - begin)
    if not plain:
        k = begin
        while k < end:
            if (
                text[k] == 92
                and k + 1 < end
                and (text[k + 1] == 92 or text[k + 1] == 34 or text[k + 1] == 110)
            ):
                size -= 1
                k += 1
            k += 1
    rest = size
    while rest >= 128:
        out[at] = np.uint8(rest & 127 | 128)
        rest >>= 7
        at += 1
    out[at] = np.uint8(rest)
    at += 1
    k = begin
    while k < end:
        c: Word = text[k]
        if not plain and c == 92 and k + 1 < end:
            d = text[k + 1]
            if d == 92 or d == 34 or d == 110:
                c = np.uint8(10) if d == 110 else d
                k += 1
        out[at] = c
        at += 1
        k += 1
    return at


@kernel(inline=True)
def _canonical(text: Bytes, begin: Word, end: Word) -> Word:
    """Whether a bound is written as OpenMetrics has it (1), as a whole number (2), or else (0)."""
    if end - begin == 4 and text[begin] == 43 and text[begin + 1] == 73:  # +Inf
        return 1 if text[begin + 2] == 110 and text[begin + 3] == 102 else 0
    at = begin
    while at < end and 48 <= text[at] <= 57:
        at += 1
    whole = at - begin
    if whole == 0 or whole > 15 or (whole > 1 and text[begin] == 48):
        return 0
    if at == end:
        return 2
    if text[at] != 46 or end - at > 15 or end - at < 2:
        return 0
    zeros = 0
    leading = True
    for k in range(at + 1, end):
        if not 48 <= text[k] <= 57:
            return 0
        leading = leading and text[k] == 48
        zeros += leading
    if end - at == 2:
        return 1
    return 0 if text[end - 1] == 48 or (zeros >= 4 and text[begin] == 48) else 1


@kernel(inline=True)
def _bounded_by(data: Bytes, type_line: Word, size: Word) -> Word:
    """104 (h) or 113 (q) if the family of the TYPE line is a histogram or a summary, else 0."""
    if type_line < 0:
        return 0
    end = type_line
    while end < size and data[end] != 10:
        end += 1
    begin = end
    while begin > type_line and data[begin - 1] != 32 and data[begin - 1] != 9:
        begin -= 1
    if end - begin == 9 and data[begin] == 104:
        return 104
    if end - begin == 7 and data[begin] == 115:
        return 113
    return 0


@kernel("int64(uint8[::1], int64[:, ::1], uint8[::1], int64[:, ::1], int64[:, ::1], uint8[::1], int64[::1])")
def _series_keys(
    data: Bytes,
    spans: Any,
    fixed: Bytes,
    fixed_pairs: Any,
    scratch: Any,
    out: Bytes,
    offsets: Int64s,
) -> Word:
    """Keys of the series at ``spans`` (sample, begin, end, TYPE line) with the fixed labels; an empty key is
    one for the parser. ``fixed`` begins with ``__name__``. Returns how many keys were made."""
    size = np.int64(len(data))
    used = np.int64(0)
    made = np.int64(0)
    last_line = np.int64(-2)
    kind = 0
    for s in range(len(spans)):
        offsets[s] = used
        at = spans[s, 1]
        end = spans[s, 2]
        if spans[s, 3] != last_line:
            last_line = spans[s, 3]
            kind = _bounded_by(data, last_line, size)
        # scratch: source (0 body, 1 fixed), name, value, how the value is written
        count = np.int64(1)
        empty = np.int64(0)
        scratch[0, 0] = 2
        scratch[0, 1] = 0
        scratch[0, 2] = 8
        scratch[0, 3] = at
        while at < end and data[at] != 123:
            at += 1
        scratch[0, 4] = at
        scratch[0, 5] = 1
        good = True
        if at < end:
            at += 1
            while good and data[at] != 125:
                begin = at
                c = data[at]
                if not (97 <= c <= 122 or 65 <= c <= 90 or c == 95):
                    good = False
                    break
                while 97 <= c <= 122 or 65 <= c <= 90 or c == 95 or 48 <= c <= 57:
                    at += 1
                    c = data[at]
                name_end = at
                if c != 61 or data[at + 1] != 34 or count >= len(scratch):
                    good = False
                    break
                at += 2
                value = at
                plain = np.int64(1)
                while data[at] != 34:
                    if data[at] >= 128 or data[at] == 0:
                        good = False
                        break
                    if data[at] == 92:
                        plain = np.int64(0)
                        at += 1
                    at += 1
                if not good:
                    break
                is_le = name_end - begin == 2 and data[begin] == 108 and data[begin + 1] == 101
                is_quantile = name_end - begin == 8 and data[begin] == 113 and data[name_end - 1] == 101
                if (kind == 104 and is_le) or (kind == 113 and is_quantile):
                    form = _canonical(data, value, at)
                    if form == 0:
                        good = False
                        break
                    plain = np.int64(form)
                scratch[count, 0] = 0
                scratch[count, 1] = begin
                scratch[count, 2] = name_end
                scratch[count, 3] = value
                scratch[count, 4] = at
                scratch[count, 5] = plain
                count += 1
                empty += at == value
                at += 1
                if data[at] == 44:
                    at += 1
                elif data[at] != 125:
                    good = False
            good = good and at + 1 == end
        if not good or count + len(fixed_pairs) > len(scratch):
            continue
        for k in range(len(fixed_pairs)):
            scratch[count, 0] = 1
            for j in range(4):
                scratch[count, 1 + j] = fixed_pairs[k, j]
            scratch[count, 5] = 1
            count += 1
        # By name; few, and mostly in order.
        for k in range(1, count):
            j = k
            while j > 0:
                a = j - 1
                x, x_end = scratch[a, 1], scratch[a, 2]
                y, y_end = scratch[j, 1], scratch[j, 2]
                order: Word = 0
                while order == 0 and x < x_end and y < y_end:
                    cx = data[x] if scratch[a, 0] == 0 else fixed[x]
                    cy = data[y] if scratch[j, 0] == 0 else fixed[y]
                    order = np.int64(cx) - np.int64(cy)
                    x += 1
                    y += 1
                if order == 0:
                    order = (x_end - x) - (y_end - y)
                if order == 0:
                    good = False  # two of one name
                if order <= 0:
                    break
                for column in range(6):
                    swapped = scratch[a, column]
                    scratch[a, column] = scratch[j, column]
                    scratch[j, column] = swapped
                j -= 1
        if not good:
            continue
        to = used
        out[to] = np.uint8(count - empty)
        to += 1
        for k in range(count):
            if scratch[k, 3] == scratch[k, 4]:  # an empty value is no label
                continue
            source = scratch[k, 0]
            if source == 0:
                to = _put_text(out, to, data, scratch[k, 1], scratch[k, 2], 1)
            else:
                to = _put_text(out, to, fixed, scratch[k, 1], scratch[k, 2], 1)
            if source == 1:
                to = _put_text(out, to, fixed, scratch[k, 3], scratch[k, 4], 1)
            elif scratch[k, 5] == 2:  # a whole number gets its point
                before = to
                to = _put_text(out, to, data, scratch[k, 3], scratch[k, 4], 1)
                out[before] += np.uint8(2)
                out[to] = np.uint8(46)
                out[to + 1] = np.uint8(48)
                to += 2
            else:
                to = _put_text(out, to, data, scratch[k, 3], scratch[k, 4], scratch[k, 5])
        used = to
        made += 1
    offsets[len(spans)] = used
    return made


class FixedLabels:
    """Labels that every series of a target gets."""

    def __init__(self, labels: Labels) -> None:
        texts = [METRIC_NAME.encode()]
        pairs = []
        at = len(texts[0])
        for pair in labels.pairs:
            place = []
            for text in pair:
                raw = text.encode("utf-8", "surrogateescape")
                place += [at, at + len(raw)]
                texts.append(raw)
                at += len(raw)
            pairs.append(place)
        self.text = np.frombuffer(bytearray(b"".join(texts)), np.uint8)
        self.pairs = np.array(pairs, np.int64).reshape(len(pairs), 4)


_NONE = FixedLabels(Labels())


class FreshSeries(Sequence[tuple[int, Labels]]):
    """``(sample, labels)`` of new series; labels are made where somebody looks at them.

    ``samples`` are their places in the scrape, int64[n].
    """

    def __init__(self, data: Bytes, body: bytes, spans: npt.NDArray[np.int64], *, openmetrics: bool) -> None:
        """Raises ValueError if one of the lines does not begin with a series."""
        self._data = data
        self._body = body
        self._spans = spans
        self._openmetrics = openmetrics
        self.samples: Int64s = spans[:, 0]
        self._parsed: dict[int, Labels] = {}
        for i in np.flatnonzero(np.diff(self.keys(_NONE)[1]) == 0).tolist():
            self._parsed[i] = self._parse(i)

    def keys(self, fixed: FixedLabels) -> tuple[Bytes, Int64s]:
        """Series keys with the fixed labels, and int64[n + 1] where they are; empty for a series whose labels
        must be looked at."""
        spans = self._spans
        total = int((spans[:, 2] - spans[:, 1]).sum())
        out = np.empty(
            total + total // 32 + len(spans) * (len(fixed.text) + 4 * len(fixed.pairs) + 32), np.uint8
        )
        offsets = np.empty(len(spans) + 1, np.int64)
        run: Any = _series_keys
        scratch = np.empty((_LABELS_MAX, 6), np.int64)
        run(self._data, spans, fixed.text, fixed.pairs, scratch, out, offsets)
        return out, offsets

    def _parse(self, index: int) -> Labels:
        _, begin, end, type_line = self._spans[index].tolist()
        kind = type_at(self._body, type_line)
        return parse_series(self._body[begin:end], kind, openmetrics=self._openmetrics)

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> tuple[int, Labels]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, Labels]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, Labels] | list[tuple[int, Labels]]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = range(len(self))[index]
        known = self._parsed.get(at)
        return int(self.samples[at]), self._parse(at) if known is None else known

    def __iter__(self) -> Iterator[tuple[int, Labels]]:
        return (self[i] for i in range(len(self)))


def type_at(body: bytes, type_line: int) -> str:
    if type_line < 0:
        return "unknown"
    end = body.find(b"\n", type_line)
    return body[type_line : end if end >= 0 else len(body)].split()[-1].decode("utf-8", "replace")
