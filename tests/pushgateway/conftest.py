from pushgateway_rig import start

__all__ = ["start"]
