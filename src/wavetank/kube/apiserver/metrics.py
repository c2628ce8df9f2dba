"""The API server's own metrics, under upstream's names."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from wavetank.kube.api import Api

if TYPE_CHECKING:
    from wavetank.kube.apiserver.request import Target
    from wavetank.kube.apiserver.watches import Watches

__all__ = ["ServerMetrics"]

_BUCKETS: Final = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_VERBS: Final = {"GET": "GET", "POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE"}
_Key = tuple[str, str, str, str, str]


class ServerMetrics:
    """Counts requests. ``exposition`` renders the text format 0.0.4."""

    def __init__(self, api: Api, watches: Watches) -> None:
        self._api = api
        self._watches = watches
        self._requests: dict[tuple[_Key, int], int] = defaultdict(int)
        self._buckets: dict[_Key, list[int]] = {}
        self._sums: dict[_Key, float] = defaultdict(float)

    def count(self, method: str, target: Target | None, code: int, seconds: float) -> None:
        """Note one answered request; watches are counted when they begin."""
        verb = _VERBS.get(method, method if method.isalpha() and len(method) < 10 else "other")
        if target is None:
            key = (verb, "", "", "", "")
        else:
            resource = target.resource
            verb = "LIST" if verb == "GET" and not target.name else verb
            key = (verb, resource.group, resource.version, resource.plural, target.subresource)
        self._requests[(key, code)] += 1
        buckets = self._buckets.get(key)
        if buckets is None:
            buckets = self._buckets[key] = [0] * (len(_BUCKETS) + 1)
        buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._sums[key] += seconds

    def exposition(self) -> str:
        lines = [
            "# HELP apiserver_request_total Requests by verb, resource and code.",
            "# TYPE apiserver_request_total counter",
        ]
        for (key, code), count in sorted(self._requests.items()):
            lines.append(f'apiserver_request_total{{{_labels(key)},code="{code}"}} {count}')
        lines += [
            "# HELP apiserver_request_duration_seconds Time from request to answer.",
            "# TYPE apiserver_request_duration_seconds histogram",
        ]
        for key, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*_BUCKETS, "+Inf"), buckets, strict=True):
                total += count
                lines.append(
                    f'apiserver_request_duration_seconds_bucket{{{_labels(key)},le="{bound}"}} {total}'
                )
            lines.append(f"apiserver_request_duration_seconds_sum{{{_labels(key)}}} {self._sums[key]}")
            lines.append(f"apiserver_request_duration_seconds_count{{{_labels(key)}}} {total}")
        lines += [
            "# HELP apiserver_longrunning_requests Watches that are open.",
            "# TYPE apiserver_longrunning_requests gauge",
            f'apiserver_longrunning_requests{{verb="WATCH"}} {self._watches.open}',
            "# HELP apiserver_storage_objects Stored objects by resource.",
            "# TYPE apiserver_storage_objects gauge",
        ]
        for bucket in sorted(self._api.storage.buckets(), key=lambda b: b.name):
            group, _, plural = bucket.name.rpartition("/")
            name = f"{plural}.{group}" if group else plural
            lines.append(f'apiserver_storage_objects{{resource="{name}"}} {bucket.count}')
        return "\n".join(lines) + "\n"


def _labels(key: _Key) -> str:
    names = ("verb", "group", "version", "resource", "subresource")
    return ",".join(f'{name}="{value}"' for name, value in zip(names, key, strict=True))
