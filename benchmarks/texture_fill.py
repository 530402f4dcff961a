"""How far exported textures are from those of ground-truth heads where no camera of the bake looks.

    python benchmarks/texture_fill.py FULL ORACLE [--pictures DIR]

FULL and ORACLE are the folders of the avatars of a method and of their ground-truth heads. Printed are means over the
avatars, for the texture in the avatar file, the exported one and the ground truth's: the distance of colours to the
ground truth's in the mouth, on teeth and tongue (RGB in [0, 1]); the luminance of the open mouth's inside, seen from
the front with ``jawOpen`` at 1, if any is; by how much the crown differs from the hair before and behind it, and the
two sides of texture seams on the back of the head differ (1/255); and the mean change of renders of the avatar as it is
(1/255).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.plugins import HEADS, load_class  # noqa: E402
from avatargen.exchange.texture_fill import TextureFill  # noqa: E402
from avatargen.geometry.cameras import FACE, evaluation_cameras  # noqa: E402
from avatargen.geometry.types import HeadParameters  # noqa: E402
from avatargen.heads.base import HeadModel  # noqa: E402
from avatargen.io.avatar_file import Avatar, load_avatar  # noqa: E402
from avatargen.render.warp import WarpRenderer  # noqa: E402

LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])
CLOSE = 9.0
"""Vertical field of view of pictures of the face, degrees."""
POSES = {
    "as it is": None,
    "jawOpen": {"jawOpen": 1.0},
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "smile": {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "jawOpen": 0.25},
    "look left": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
}


def main() -> None:
    """Print a Markdown table, and write pictures if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", type=Path)
    parser.add_argument("oracle", type=Path)
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="gets a picture for each avatar")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N avatars")
    options = parser.parse_args()
    head = load_class("head", "anny", HEADS).load()
    filler, renderer = TextureFill(head), WarpRenderer(head.topology)
    rows = []
    for folder in sorted(options.full.iterdir())[: options.limit]:
        avatar, truth = load_avatar(folder), load_avatar(options.oracle / folder.name)
        filled = replace(avatar, baked_texture=filler(avatar))
        rows.append([figures(one, truth, head, renderer) for one in (avatar, filled, truth)])
        rows[-1][1]["change of renders"] = change(avatar, filled, head, renderer)
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            sheet = [picture(one, head, renderer) for one in (avatar, filled, truth)]
            Image.fromarray(np.concatenate(sheet)).save(options.pictures / f"{folder.name}.png")
        print(folder.name, *(f"{name} {values}" for name, values in columns([rows[-1]]).items()), sep="\n  ")
    print("\n| figure | avatar file | exported | ground truth |\n|---|---|---|---|")
    for name, values in columns(rows).items():
        print(f"| {name} | " + " | ".join(values) + " |")


def columns(rows: list[list[dict[str, float]]]) -> dict[str, list[str]]:
    """Return the means of each figure, as text."""
    return {
        name: [f"{np.nanmean([row[k][name] for row in rows]):.3f}" if name in rows[0][k] else "" for k in range(3)]
        for name in rows[0][1]
    }


def figures(avatar: Avatar, truth: Avatar, head: HeadModel, renderer: WarpRenderer) -> dict[str, float]:
    """Return the figures of one texture."""
    own, true = at_vertices(avatar.baked_texture, head), at_vertices(truth.baked_texture, head)
    regions = head.topology.regions
    found = {
        f"{name} to ground truth": float((own - true)[regions[name]].abs().mean())
        for name in ("mouth_interior", "teeth", "tongue", "eyes", "eyelids")
    }
    found["luminance of the open mouth"] = open_mouth(avatar, head, renderer)
    return found | {"crown": crown(own, head), "seam": seam(avatar.baked_texture, head)}


def at_corners(texture: Float[Tensor, "3 H W"], head: HeadModel) -> Float[Tensor, "T 3"]:
    """Return the colours at texture coordinates."""
    places = head.topology.uvs * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
    return grid_sample(texture[None], places[None, None], align_corners=False, padding_mode="border")[0, :, 0].T


def at_vertices(texture: Float[Tensor, "3 H W"], head: HeadModel) -> Float[Tensor, "N 3"]:
    """Return the colours of vertices."""
    top = head.topology
    colours = torch.zeros(len(top.regions["skin"]), 3)
    colours[top.faces.flatten().long()] = at_corners(texture, head)[top.face_uvs.flatten().long()]
    return colours


def crown(colours: Float[Tensor, "N 3"], head: HeadModel) -> float:
    """Return how far the crown's mean colour is from that before and behind it, along the middle, in 1/255."""
    points = head.canonical(head.shape_template[None])[0]
    top = points[points[:, 1].argmax()]
    middle = head.topology.regions["skin"] & (points[:, 0].abs() < 0.012) & (points[:, 1] > top[1] - 0.04)
    along = (points[:, 2] - top[2]).abs()
    inside, beside = middle & (along < 0.035), middle & (along > 0.035) & (along < 0.06)
    return 255 * float((colours[inside] - colours[beside].mean(0)).abs().mean())


def seam(texture: Float[Tensor, "3 H W"], head: HeadModel) -> float:
    """Return how far the two sides of texture seams on the back of the head are apart, in 1/255."""
    top = head.topology
    points = head.canonical(head.shape_template[None])[0]
    pairs = torch.unique(torch.stack([top.faces.flatten(), top.face_uvs.flatten()], 1).long(), dim=0)
    twice = torch.bincount(pairs[:, 0], minlength=len(points)) == 2
    back = twice & top.regions["skin"] & (points[:, 2] < -0.02)
    sides = pairs[back[pairs[:, 0]]][:, 1].view(-1, 2)
    colours = at_corners(texture, head)
    return 255 * float((colours[sides[:, 0]] - colours[sides[:, 1]]).abs().mean())


def open_mouth(avatar: Avatar, head: HeadModel, renderer: WarpRenderer) -> float:
    """Return the luminance of what is seen of the mouth's inside from the front, with ``jawOpen`` at 1."""
    vertices = head.vertices(posed(avatar, head, {"jawOpen": 1.0}))
    camera = evaluation_cameras(1, 1, elevation=0.0, fov=CLOSE, target=FACE)
    inside = head.topology.regions["mouth_interior"].float()[None, :, None]
    mask = renderer.render(vertices, camera, 256, attributes=inside, gradients=False, normals=False).features[0, 0, 0]
    colours = renderer.render(
        vertices, camera, 256, texture=avatar.baked_texture[None], gradients=False, normals=False
    ).features[0, 0]
    return float((colours[:, mask > 0.5].T @ LUMINANCE).mean())


def posed(avatar: Avatar, head: HeadModel, values: dict[str, float] | None) -> HeadParameters:
    """Return the avatar's parameters, with another expression."""
    one = avatar.parameters()
    return one if values is None else replace(one, expression=head.expression_from(**values)[None])


def change(before: Avatar, after: Avatar, head: HeadModel, renderer: WarpRenderer) -> float:
    """Return the mean change of renders from around, in 1/255 of their covered pixels."""
    vertices, cameras = head.vertices(before.parameters()), evaluation_cameras(1, 8)
    renders = [
        renderer.render(vertices, cameras, 256, texture=one.baked_texture[None], gradients=False, normals=False)
        for one in (before, after)
    ]
    covered = renders[0].coverage[0, :, 0] > 0
    return 255 * float((renders[0].features - renders[1].features)[0].abs().mean(1)[covered].mean())


def picture(avatar: Avatar, head: HeadModel, renderer: WarpRenderer, size: int = 256) -> np.ndarray:
    """Return a strip: the face in each of `POSES`, the crown from above and the back."""
    strip = []
    for values in POSES.values():
        strip.append((posed(avatar, head, values), evaluation_cameras(1, 1, elevation=3.0, fov=CLOSE, target=FACE)))
    plain = avatar.parameters()
    strip.append((plain, evaluation_cameras(1, 1, elevation=80.0)))
    strip.append((plain, replace(evaluation_cameras(1, 1, elevation=30.0), azimuth=torch.full((1, 1), 180.0))))
    images = []
    for parameters, camera in strip:
        made = renderer.render(
            head.vertices(parameters),
            camera,
            size,
            texture=avatar.baked_texture[None],
            samples=2,
            gradients=False,
            normals=False,
        )
        images.append(made.over(torch.ones(1, 1, 3, 1, 1))[0, 0].permute(1, 2, 0))
    return (torch.cat(images, 1).clamp(0, 1) * 255).round().byte().numpy()


if __name__ == "__main__":
    with torch.no_grad():
        main()
