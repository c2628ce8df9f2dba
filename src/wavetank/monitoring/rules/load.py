"""The rule groups of a configuration, and the flags that bear on rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wavetank.monitoring.config.load import expand_glob
from wavetank.monitoring.config.model import Config
from wavetank.monitoring.rules.file import load_rule_file
from wavetank.monitoring.rules.group import Group, Surroundings
from wavetank.promql.options import ParserOptions

__all__ = ["RuleOptions", "load_groups"]


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """The ``--rules.*`` flags; times in milliseconds.

    ``concurrent_evals`` is how many rules of all groups run beside others; with 0 they run in turn.
    """

    for_outage_tolerance_ms: int = 3_600_000
    for_grace_period_ms: int = 600_000
    resend_delay_ms: int = 60_000
    concurrent_evals: int = 0
    external_url: str = ""
    parser: ParserOptions = field(default_factory=ParserOptions)


def load_groups(config: Config, options: RuleOptions, *, restored: bool) -> dict[str, Group]:
    """All groups of a configuration's rule files, by key. Raises InputError."""
    around = Surroundings(config.globals.external_labels, options.external_url)
    legacy = config.globals.metric_name_validation_scheme == "legacy"
    groups: dict[str, Group] = {}
    for pattern in config.rule_files:
        for path in expand_glob(Path(pattern)):
            for entry in load_rule_file(path, legacy=legacy, options=options.parser).groups:
                group = Group.of(
                    entry,
                    str(path),
                    interval_ms=config.globals.evaluation_interval,
                    query_offset_ms=config.globals.rule_query_offset,
                    around=around,
                    restored=restored,
                )
                groups[group.key] = group
    return groups
