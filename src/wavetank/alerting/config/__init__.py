"""``alertmanager.yml``: the whole file format of Alertmanager 0.34, strictly read.

Mirrors config/config.go and the receivers' own config.go: every section and field, upstream's error texts
with file and line.
"""

from wavetank.alerting.config.load import load_config, parse_config, show_config
from wavetank.alerting.config.model import AlertmanagerConfig, RouteConfig
from wavetank.alerting.config.receivers import ReceiverConfig

__all__ = [
    "AlertmanagerConfig",
    "ReceiverConfig",
    "RouteConfig",
    "load_config",
    "parse_config",
    "show_config",
]
