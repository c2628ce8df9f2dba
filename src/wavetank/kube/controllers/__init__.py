"""The control loops of kube-controller-manager, each a pure step from what is observed to what to do.

``step(now, key, view) -> Decision`` decides; ``loop.Driver`` watches, queues, executes and retries, in real
time or when called. Steps read storage itself, so what they see is never stale and they need no expectations;
a step's own writes are seen by the next one.
"""
