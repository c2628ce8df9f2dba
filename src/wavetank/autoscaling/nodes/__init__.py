"""The node autoscaler: adds modelled nodes for pods that find no place, and takes away those nobody needs.

Mirrors Kubernetes' cluster-autoscaler with one node group: what triggers a scale-up, what makes a node
unneeded, and its delays. ``step`` decides as a pure function, ``controller`` acts. Left out on purpose:
several groups and expanders, cloud providers, its status ConfigMap, balancing of zones.
"""
