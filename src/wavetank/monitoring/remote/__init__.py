"""Remote write and remote read, both ways.

Mirrors storage/remote of prometheus/prometheus: ``sender`` reads the write-ahead log and sends 1.0 or 2.0;
``receive`` stores what others send; ``read_server`` and ``read_client`` answer and ask remote read. Unlike
upstream, a sender remembers how far it got and goes on there after a restart. Left out: the cloud
signatures, round-robin DNS.
"""
