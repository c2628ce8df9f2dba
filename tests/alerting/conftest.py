from alerting_rig import sink, start

__all__ = ["sink", "start"]
