"""``prometheus.yml``: the whole file format of Prometheus 3.14, strictly read.

Mirrors prometheus/config. ``load_config`` gives a ``Config`` that is ready for use. The cloud discoveries
are known by name only; a file that uses one is refused with the alternative.
"""

from wavetank.monitoring.config.load import load_config, parse_config
from wavetank.monitoring.config.model import Config, Global, ScrapeConfig
from wavetank.monitoring.config.show import show_config
from wavetank.monitoring.config.values import Duration, Size, format_duration, parse_duration

__all__ = [
    "Config",
    "Duration",
    "Global",
    "ScrapeConfig",
    "Size",
    "format_duration",
    "load_config",
    "parse_config",
    "parse_duration",
    "show_config",
]
