"""``/openapi.yaml``: the API described for programs.

Mirrors web/api/v1/openapi*.go: the same paths, parameters, names of operations and schemas, so that clients
made from upstream's document fit; the words are ours. ``catalogue`` says what there is, ``schemas`` what the
answers look like, ``document`` puts them together.
"""
