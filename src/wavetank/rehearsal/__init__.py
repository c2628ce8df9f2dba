"""The main job: composes cluster, mesh, load and monitoring into one run, and reports on it.

Only this room and ``cli`` compose other rooms. The file format is ``rehearsal.yaml`` (docs/rehearsal.md).
"""
