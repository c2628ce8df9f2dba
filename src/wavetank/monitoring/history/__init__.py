"""History from elsewhere: ``wavetank prometheus import``, which upstream does not have.

A source (``directory``, ``remote``, ``grafana_csv``) gives the samples of a time range as chunks or loose
samples; ``copy`` walks over the time slot by slot, leaves out what the data directory holds already and
writes the rest as blocks of any age (``slot``). Exemplars and metadata are not copied.
"""
