"""Who may talk to the server and over what: TLS, passwords, headers, prefixes, origins.

Mirrors prometheus/exporter-toolkit (the file of ``--web.config.file``) and the ``--web.*`` flags. Left out:
HTTP/2, ``client_allowed_sans``, ``rate_limit`` (all refused when the file is read, but for ``http2: true``,
which merely allows it).
"""
