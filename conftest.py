"""Doctests are not collected from modules that need PyTorch3D where it cannot be imported."""

from avatargen.config.packages import pytorch3d_problem

collect_ignore = ["avatargen/render/fragments.py", "avatargen/render/pytorch3d.py"] if pytorch3d_problem() else []
