"""Recording and alerting rules.

Mirrors prometheus/rules, model/rulefmt and template. Rules of a group run one after another; groups run on
their own. Left out: concurrent evaluation of the rules of one group.
"""
