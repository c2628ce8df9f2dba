"""Load: the real Locust in processes of its own, with open arrivals and honest latency.

Mirrors Locust (locustfiles run unchanged), k6's arrival-rate executors and wrk2's accounting. The event
loop of this process never imports Locust, which patches the whole interpreter; the children do
(``_locust_child``) and speak JSON lines over a socket pair. Left out on purpose: protocols of our own,
HTTP/2, and any change to what a locustfile means under a closed model.
"""
