"""What Blender makes of GLB files, and what is left after an export from Blender; `benchmarks/blender.py` runs it.

    python3.13 blender_inside.py FOLDER         where `bpy` is installed
    blender -b -P blender_inside.py -- FOLDER

It imports every ``*.glb`` of the folder, exports those that ``jobs.json`` names as GLB, FBX and USDZ, imports them, and
writes what it finds to ``facts.json``, vertices to ``*.npy``. It needs neither this repository nor its environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from mathutils import Matrix, Vector  # pyright: ignore[reportMissingImports]

EXPORTS = ("glb", "fbx", "usdz")
SHAPE = "jawOpen"
"""Shape key of the posed head."""
AXES = Matrix(((1, 0, 0), (0, 0, 1), (0, -1, 0)))
"""From Blender's axes (z up, the face along -y) to glTF's (y up, the face along z)."""


def main() -> None:
    """Look at all files of a folder."""
    folder = Path(sys.argv[-1])
    jobs = json.loads((folder / "jobs.json").read_text())
    found = {}
    for path in sorted(folder.glob("*.glb")):
        load(path)
        found[path.stem] = {"import": facts(path.with_suffix(".npy"))}
        kinds = EXPORTS if path.stem in jobs["export"] else ()
        for kind in kinds:
            (folder / kind).mkdir(exist_ok=True)
            save(folder / kind / f"{path.stem}.{kind}")
        pose(jobs["turns"])
        np.save(folder / f"{path.stem}-posed.npy", vertices())
        for kind in kinds:
            load(folder / kind / f"{path.stem}.{kind}")
            found[path.stem][kind] = facts(folder / kind / f"{path.stem}.npy")
        (folder / "facts.json").write_text(json.dumps({"version": bpy.app.version_string, "files": found}))


def load(path: Path) -> None:
    """Import a file into an empty scene, without the solid that Blender draws bones with."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if path.suffix == ".glb":
        bpy.ops.import_scene.gltf(filepath=str(path), disable_bone_shape=True)
    elif path.suffix == ".fbx":
        bpy.ops.wm.fbx_import(filepath=str(path))
    else:
        bpy.ops.wm.usd_import(filepath=str(path), import_textures_mode="IMPORT_PACK")
    scene, ranges = bpy.context.scene, [action.frame_range for action in bpy.data.actions]
    scene.frame_start = int(min((start for start, _ in ranges), default=0))
    scene.frame_end = int(max((end for _, end in ranges), default=0))
    scene.frame_set(scene.frame_start)


def save(path: Path) -> None:
    """Export the scene with the options that keep most; without the last two, FBX has no clips of shape keys."""
    if path.suffix == ".glb":
        bpy.ops.export_scene.gltf(filepath=str(path), export_extras=True)
    elif path.suffix == ".usdz":
        bpy.ops.wm.usd_export(filepath=str(path), export_animation=True)
    else:
        bpy.ops.export_scene.fbx(
            filepath=str(path),
            path_mode="COPY",
            embed_textures=True,
            use_custom_props=True,
            add_leaf_bones=False,
            bake_anim_use_nla_strips=False,
            bake_anim_use_all_actions=False,
        )


def facts(places: Path) -> dict[str, Any]:
    """Return what the scene holds of the head, and write its vertices as they are shown."""
    head = mesh_object()
    np.save(places, vertices())
    keys, used = head.data.shape_keys, [slot.material for slot in head.material_slots if slot.material]
    bones = [bone for rig in bpy.data.objects if rig.type == "ARMATURE" for bone in rig.data.bones]
    return {
        "materials": [material.name for material in used],
        "images": images(used),
        "keys": [key.name for key in keys.key_blocks[1:]] if keys else [],
        "reach": reach(keys),
        "bones": {bone.name: list(AXES @ (bone.tail_local - bone.head_local).normalized()) for bone in bones},
        "properties": properties(head),
        "actions": {action.name: seconds(action) for action in bpy.data.actions},
    }


def mesh_object() -> Any:
    """Return the object of the head: the mesh with most vertices."""
    meshes = [thing for thing in bpy.data.objects if thing.type == "MESH"]
    return max(meshes, key=lambda thing: len(thing.data.vertices))


def images(materials: list[Any]) -> dict[str, list[int]]:
    """Return the sizes of the images that materials show, by name; those without pixels are left out."""
    nodes = [node for material in materials for node in material.node_tree.nodes if node.type == "TEX_IMAGE"]
    shown = {node.image.name: node.image for node in nodes if node.image and node.outputs[0].is_linked}
    return {name: list(image.size) for name, image in shown.items() if len(image.pixels)}


def reach(keys: Any) -> float:
    """Return by how much `SHAPE` moves a vertex at most, in the file's units."""
    if keys is None or SHAPE not in keys.key_blocks:
        return 0.0
    moved, rest = (coordinates(keys.key_blocks[name].data) for name in (SHAPE, keys.key_blocks[0].name))
    return float(np.linalg.norm(moved - rest, axis=1).max())


def coordinates(points: Any) -> np.ndarray:
    """Return (N, 3) coordinates."""
    found = np.empty(3 * len(points), "f4")
    points.foreach_get("co", found)
    return found.reshape(-1, 3)


def vertices() -> np.ndarray:
    """Return (N, 3) vertices of the head as they are shown, in glTF's axes."""
    bpy.context.view_layer.update()
    shown = mesh_object().evaluated_get(bpy.context.evaluated_depsgraph_get())
    place = np.array(AXES.to_4x4() @ shown.matrix_world)
    return coordinates(shown.data.vertices) @ place[:3, :3].T + place[:3, 3]


def properties(head: Any) -> dict[str, dict[str, Any]]:
    """Return custom properties of the head's mesh and of objects that have some, by where they are."""
    found = {"mesh data": plain(head.data), "mesh object": plain(head)}
    for other in bpy.data.objects:
        if other is not head and (own := plain(other)):
            found[other.type.lower()] = own
    return found


def plain(owner: Any) -> dict[str, Any]:
    """Return those custom properties that are text or numbers."""
    return {name: value for name, value in owner.items() if isinstance(value, str | int | float)}


def seconds(action: Any) -> float:
    """Return the length of an action."""
    start, end = action.frame_range
    return (end - start) / bpy.context.scene.render.fps


def pose(turns: dict[str, list[float]]) -> None:
    """Set `SHAPE` alone to 1 and turn bones about an axis of the head: x, y, z and radians, by the bone's name."""
    keys = mesh_object().data.shape_keys
    keys.animation_data_clear()
    for key in keys.key_blocks:
        key.value = float(key.name == SHAPE)
    for rig in (thing for thing in bpy.data.objects if thing.type == "ARMATURE"):
        rig.animation_data_clear()
        for bone in rig.pose.bones:
            x, y, z, angle = turns[bone.name]
            rest = bone.bone.matrix_local.to_3x3()
            turn = Matrix.Rotation(angle, 3, AXES.inverted() @ Vector((x, y, z)))
            bone.matrix_basis = (rest.inverted() @ turn @ rest).to_4x4()


if __name__ == "__main__":
    main()
