"""Searching among many label values: CPU seconds of a search, for each algorithm and ordering.

    python bench/monitoring_search.py [values]

No peer is at hand: Debian's Prometheus 2.42 has no search API. Values look like instances and pod names
and come sorted, as the storage gives them.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

from wavetank.monitoring.api.scoring import Filter, search, warm

CASES = [
    ("subsequence, by score", Filter(["api7"]), "score"),
    ("subsequence, by score, threshold", Filter(["api7"], "subsequence", 0.5), "score"),
    ("subsequence, nothing fits", Filter(["zzzz"]), "ascending"),
    ("subsequence, first 100", Filter(["api7"]), "ascending"),
    ("any case, by score", Filter(["API7"], case_sensitive=False), "score"),
    ("substring, by score", Filter(["api-7"], "jarowinkler"), "score"),
    ("Jaro-Winkler, by score", Filter(["payments-api-7"], "jarowinkler", 0.8), "score"),
    ("four terms, by score", Filter(["api7", "web", "db-1", "10.0"]), "score"),
    ("no term, first 100", Filter([]), "ascending"),
]


def main(count: int) -> None:
    pick = random.Random(1)
    apps = ["payments-api", "checkout-web", "orders-db", "search-api", "frontend", "kube-proxy"]
    values = sorted(
        {
            f"{pick.choice(apps)}-{pick.getrandbits(40):010x}-{i:06d}"
            if i % 2
            else f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:9100"
            for i in range(count)
        }
    )
    warm()
    print(f"{len(values)} values")
    for name, accept, ordering in CASES:
        taken = []
        for _ in range(3):
            began = time.process_time()
            found = search(values, accept, ordering, 101)  # type: ignore[arg-type]
            taken.append(time.process_time() - began)
        print(f"{statistics.median(taken):7.3f} s  {name} ({len(found)} found)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
