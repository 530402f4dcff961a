"""Time of the export of an avatar and of the import of a mesh, as Markdown tables.

    python benchmarks/meshes.py [--threads 1]

Export: the template of the Anny head with its 52 expressions, as GLB. Import: coloured spheres of three sizes, as PLY.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import trimesh

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.other_systems import MeshSettings  # noqa: E402
from avatargen.exchange.gltf_export import to_glb  # noqa: E402
from avatargen.exchange.mesh_import import TemplateSize, read_mesh  # noqa: E402
from avatargen.heads.anny.head import AnnyHead  # noqa: E402
from avatargen.io.avatar_file import Avatar, zero_avatar_tensors  # noqa: E402


def main() -> None:
    """Measure export and import, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    head = AnnyHead.load()
    facts = {"id": "a", "prompt": "a", "seed": 0, "method": "template", "head_id": head.id, "prior_id": ""}
    avatar = Avatar(**facts, **zero_avatar_tensors(head.template(1), 512))
    start = time.perf_counter()
    data = to_glb(avatar, head)
    print(f"| GLB, MB | seconds |\n|---|---|\n| {len(data) / 1e6:.1f} | {time.perf_counter() - start:.2f} |\n")
    print("| triangles | import, s | texture, px |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for level in (5, 6, 7):
            ball, path = trimesh.creation.icosphere(subdivisions=level), Path(folder) / "ball.ply"
            ball.visual.vertex_colors = ((ball.vertices / 2 + 0.5) * 255).astype(np.uint8)
            ball.export(path)
            start = time.perf_counter()
            size = read_mesh(path, MeshSettings(folder=folder), TemplateSize.of(head)).texture.shape[-1]
            print(f"| {len(ball.faces)} | {time.perf_counter() - start:.2f} | {size} |", flush=True)


if __name__ == "__main__":
    main()
