"""The scheduler: which node a pod runs on. Mirrors kube-scheduler's default profile.

Filters: cordon, node name, taints, node affinity, host ports, resources, topology spread, pod affinity.
Scores: least allocated, balanced, taints, preferred affinity, spreading. Preemption by priority. Left out:
volumes, image locality, dynamic resources, extenders, percentageOfNodesToScore (all nodes are looked at).
"""
