"""Who may talk to the server and over what: TLS, passwords, headers, prefixes, origins.

Mirrors prometheus/exporter-toolkit (the file of ``--web.config.file``) and the ``--web.*`` flags. Left out:
HTTP/2, which ``http2: true`` merely allows, and what Python's ssl cannot do: asking for certificates that are
then not verified, and more than one curve. Both are refused when the file is read.
"""
