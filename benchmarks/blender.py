"""What Blender makes of exported avatars, and what survives its own exports as GLB, FBX and USDZ, as Markdown tables.

    python3.13 -m venv DIR && DIR/bin/pip install bpy        (bpy 5.3 needs Python 3.13; or install Blender)
    python benchmarks/blender.py FOLDER... --blender DIR/bin/python

FOLDERs are those of avatars. Each is exported with ``--visemes`` in every material, and lit with every ``--rig``,
imported, and compared with the file and with the head model. Those with our bones are exported from Blender with the
options that keep most, and imported again. Each cell holds the worst of the avatars. A number of shape keys or bones
says that there are as many, and that their names are the file's. Columns besides:

- materials: of the mesh; properties: where Blender keeps prompt, seed, method, head, prior and licence;
- shape, mm: how far vertices of the avatar as it is lie from the head model's at most, scale and facing included;
- posed, mm: the same with ``jawOpen`` at 1 and every bone turned;
- along, °: the largest angle between a bone as Blender draws it and the way to what it moves: the next joint, the chin,
  or straight on for eyes.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.exchange.gltf_export import to_glb  # noqa: E402
from avatargen.exchange.gltf_options import GltfOptions  # noqa: E402
from avatargen.exchange.gltf_writer import parse  # noqa: E402
from avatargen.heads.anny.head import AnnyHead  # noqa: E402
from avatargen.heads.base import HeadModel  # noqa: E402
from avatargen.io.avatar_file import Avatar, load_avatar  # noqa: E402

INSIDE = Path(__file__).with_name("blender_inside.py")
VARIANTS = {
    "unlit": GltfOptions("unlit", visemes=True),
    "lit": GltfOptions("lit", visemes=True),
    "both": GltfOptions("both", visemes=True),
    "lit readyplayerme": GltfOptions("lit", visemes=True, rig="readyplayerme"),
    "lit vrm": GltfOptions("lit", visemes=True, rig="vrm"),
}
CLIP = ("clip, s", "shape, mm")
MATERIALS = ("unlit", "lit", "both")
"""Variants that are exported from Blender."""
TURNS = {
    "body": (0.0, 1.0, 0.0, 0.0),
    "neck": (1.0, 0.0, 0.0, 0.2),
    "head": (0.0, 1.0, 0.0, -0.3),
    "jaw": (0.0, 0.6, 0.8, 0.1),
    "eye_left": (0.6, 0.8, 0.0, 0.3),
    "eye_right": (0.0, 1.0, 0.0, 0.2),
}
"""Axis in the head's axes and radians by which each joint is turned."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of avatars with the Anny head")
    parser.add_argument("--blender", default="blender", help="Blender, or a Python that has bpy (default: blender)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all files there")
    options = parser.parse_args()
    if not shutil.which(options.blender):
        sys.exit(f"--blender: got '{options.blender}'; expected Blender, or a Python that has bpy (see --help)")
    head = AnnyHead.load()
    avatars = [load_avatar(folder) for folder in options.folders]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for number, avatar in enumerate(avatars):
            for name, variant in VARIANTS.items():
                (folder / f"{number} {name}.glb").write_bytes(to_glb(avatar, head, variant))
        version, found = look(options.blender, folder)
        print(f"Blender {version}; {len(avatars)} avatars\n")
        print(imported(found, avatars, head, folder), survivors(found, avatars, head, folder), sep="\n\n")


def look(blender: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return Blender's version and what it finds in each file of a folder."""
    turns = {variant.bone(joint): turn for variant in VARIANTS.values() for joint, turn in TURNS.items()}
    own = [path.stem for path in folder.glob("*.glb") if path.stem.endswith(MATERIALS)]
    (folder / "jobs.json").write_text(json.dumps({"turns": turns, "export": own}))
    background = ["-b", "--factory-startup", "--python-exit-code", "1", "-P", str(INSIDE), "--"]
    arguments = background if Path(blender).name.startswith("blender") else [str(INSIDE)]
    done = subprocess.run([blender, *arguments, str(folder)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{blender}: {done.stderr.strip() or done.stdout.strip()}")
    content = json.loads((folder / "facts.json").read_text())
    return content["version"], content["files"]


def imported(found: dict[str, Any], avatars: list[Avatar], head: HeadModel, folder: Path) -> str:
    """Return the table of what Blender makes of our files."""
    rows = [header("file", "image", "shape keys", "bones", "materials", "properties", *CLIP, "posed, mm", "along, °")]
    for name, variant in VARIANTS.items():
        cells = []
        for number, avatar in enumerate(avatars):
            stem = f"{number} {name}"
            scene, facts = parse((folder / f"{stem}.glb").read_bytes())[0], found[stem]["import"]
            shown = distance(np.load(folder / f"{stem}.npy"), as_it_is(avatar, head))
            turned = distance(np.load(folder / f"{stem}-posed.npy"), posed(avatar, head))
            cells.append((*told(facts, scene), shown, turned, astray(facts["bones"], avatar, head, variant)))
        rows.append(row(name, *(worst(column) for column in zip(*cells, strict=True))))
    return "\n".join(rows)


def told(facts: dict[str, Any], scene: dict[str, Any]) -> list[str]:
    """Return cells that say what of a file's content Blender has."""
    mesh, about = scene["meshes"][0], scene["nodes"][0]["extras"]
    names, bones = (
        mesh["extras"]["targetNames"],
        {scene["nodes"][joint]["name"] for joint in scene["skins"][0]["joints"]},
    )
    where = [place for place, values in facts["properties"].items() if values.items() >= about.items()]
    return [
        sizes(facts["images"]),
        f"{len(names)}" if facts["keys"] == names else f"{len(facts['keys'])} of {len(names)}",
        f"{len(bones)}" if set(facts["bones"]) == bones else ", ".join(facts["bones"]),
        ", ".join(facts["materials"]) or "none",
        ", ".join(where) or "lost",
        clips(facts["actions"]),
    ]


def survivors(found: dict[str, Any], avatars: list[Avatar], head: HeadModel, folder: Path) -> str:
    """Return the table of what is left after an export from Blender."""
    rows = [header("material", "exported as", "image", "shape keys", "bones", "properties", *CLIP)]
    for name in MATERIALS:
        for kind in ("glb", "fbx", "usdz"):
            cells = []
            for number, avatar in enumerate(avatars):
                stem = f"{number} {name}"
                shown = distance(np.load(folder / kind / f"{stem}.npy"), as_it_is(avatar, head))
                cells.append((*kept(found[stem]["import"], found[stem][kind]), shown))
            rows.append(row(name, kind.upper(), *(worst(column) for column in zip(*cells, strict=True))))
    return "\n".join(rows)


def kept(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return cells that say what of an import survives."""
    wanted = {name for values in before["properties"].values() for name in values}
    owned = {name for values in after["properties"].values() for name in values}
    same = abs(after["reach"] - before["reach"]) < 1e-4 and set(before["keys"]) == set(after["keys"])
    return [
        sizes(after["images"]),
        f"{len(after['keys'])}" if same else f"{len(after['keys'])}, `jawOpen` {1e3 * after['reach']:.1f} mm",
        f"{len(after['bones'])}" if set(before["bones"]) == set(after["bones"]) else ", ".join(after["bones"]),
        f"{len(wanted & owned)} of {len(wanted)}",
        clips(after["actions"]),
    ]


def sizes(images: dict[str, list[int]]) -> str:
    """Return the sizes of images."""
    return ", ".join(f"{width} × {height}" for width, height in images.values()) or "none"


def clips(actions: dict[str, float]) -> str:
    """Return the lengths of clips, seconds."""
    return ", ".join(f"{length:.1f}" for length in actions.values()) or "none"


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def header(*cells: str) -> str:
    """Return the first rows of a Markdown table."""
    return f"{row(*cells)}\n{'|---' * len(cells)}|"


def worst(cells: Iterable[Any]) -> str:
    """Return the largest number, or all different texts."""
    values = list(cells)
    return f"{max(values):.3f}" if isinstance(values[0], float) else "; ".join(sorted(set(values)))


def as_it_is(avatar: Avatar, head: HeadModel) -> np.ndarray:
    """Return the vertices of an avatar, metres."""
    return head.vertices(avatar.parameters())[0].numpy()


def posed(avatar: Avatar, head: HeadModel) -> np.ndarray:
    """Return the vertices with ``jawOpen`` at 1 and joints turned by `TURNS`."""
    turns = torch.tensor([TURNS[name] for name in head.joint_names])
    joints, expression = turns[:, :3] * turns[:, 3:], head.expression_from(jawOpen=1.0)
    parameters = replace(avatar.parameters(), expression=expression[None], joints=joints[None])
    return head.vertices(parameters)[0].numpy()


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return how far a vertex of either set is at most from the nearest one of the other, mm."""
    ways = (cKDTree(a).query(b)[0].max() for a, b in ((found, wanted), (wanted, found)))
    return 1e3 * float(max(ways))


def astray(bones: dict[str, list[float]], avatar: Avatar, head: HeadModel, variant: GltfOptions) -> float:
    """Return the largest angle between a bone as it is shown and the direction to what it moves, degrees."""
    rig, up, forth = head.rig(avatar.shape), np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    pivots = dict(zip(head.joint_names, rig.pivots.numpy(), strict=True))
    points = head.vertices(avatar.parameters().neutral())[0].numpy()
    skin = rig.weights[head.joint_names.index("jaw")].numpy()
    aims = {"body": up, "neck": pivots["head"] - pivots["neck"], "head": up, "eye_left": forth, "eye_right": forth}
    aims["jaw"] = np.average(points, axis=0, weights=skin) - pivots["jaw"]
    cosines = [np.dot(bones[variant.bone(name)], aim) / np.linalg.norm(aim) for name, aim in aims.items()]
    return max(math.degrees(math.acos(min(1.0, cosine))) for cosine in cosines)


if __name__ == "__main__":
    with torch.no_grad():
        main()
