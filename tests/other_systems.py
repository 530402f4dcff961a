"""Files in the forms that other text-to-3D systems write, made of our avatars."""

import csv
import re

import torch
from PIL import Image

from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.plain_mesh import to_plain
from avatargen.io.avatar_file import load_avatar
from eval.views import colour_and_clay, protocol_cameras

MAP = "map.csv"


def write_magic3d(folder, places, head="anny"):
    """Write threestudio's exported meshes, z up and looking along +x, and the table that names their prompts."""
    model, rows = load_class("head", head, HEADS).load(), [("mesh", "prompt")]
    for place in places:
        avatar = load_avatar(place)
        export = folder / tagged("magic3d-refine-sd", avatar.prompt) / "save/it5000-export"
        export.mkdir(parents=True)
        for name, data in to_plain(avatar, model, ".obj", "model").items():
            (export / name).write_bytes(turned(data) if name.endswith(".obj") else data)
        rows.append((export.relative_to(folder) / "model.obj", avatar.prompt))
    write_table(folder / MAP, rows)


def write_headstudio(folder, places, tools, settings, views):
    """Write a closed turn of views as HeadStudio numbers them, whose 90 degrees look into the face, and the table."""
    rows = [("frames", "prompt")]
    for place in places:
        avatar = load_avatar(place)
        test = folder / tagged("headstudio", avatar.prompt) / "save/it10000-test"
        test.mkdir(parents=True)
        cameras = protocol_cameras(avatar, tools, settings, torch.linspace(0, 360, views) - 90)
        colours, _ = colour_and_clay(avatar, tools, cameras, settings.size, settings.samples, settings.background)
        for number, image in enumerate(colours):
            Image.fromarray(image).save(test / f"{number}.png")
        rows.append((test.relative_to(folder), avatar.prompt))
    write_table(folder / MAP, rows)


def tagged(system, prompt):
    """Return the folder of one of threestudio's trials."""
    return f"{system}/{re.sub('[^a-z]+', '_', prompt)}@20240101-120000"


def turned(data):
    """Return an OBJ whose y axis has become z, and z has become x."""
    return re.sub(rb"^(vn?) (\S+) (\S+) (\S+)", rb"\1 \4 \2 \3", data, flags=re.MULTILINE)


def write_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
