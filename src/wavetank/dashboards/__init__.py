"""Grafana dashboards: read, resolved, queried and made ready to draw.

Mirrors Grafana 13's dashboard model (classic JSON of schema 14 to 42, v1 and v2 resources), its template
variables, its Prometheus data source's step arithmetic and legends, its transformations, field configuration
and units. All of it happens here, in Python; the browser draws what ``frames`` answers and decides nothing.

Left out on purpose: data sources other than Prometheus, Grafana-managed alert rules, annotations stored in a
database, permissions and organisations, library panels kept on a server (those inside an export are used),
and panels that show no numbers (news, alert lists, geographic maps, canvases, node graphs): these are named
as unsupported where they stand.
"""
