from mesh_rig import mesh

__all__ = ["mesh"]
