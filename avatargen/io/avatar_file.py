"""The avatar file: the only contract between generation and evaluation.

A folder holds ``avatar.safetensors`` (parameters), ``texture.png`` (the baked texture, 8 bits), ``frames.npz`` where
the avatar is rendered views, and ``avatar.json`` (everything else). Each is written atomically, JSON last, so that a
folder with a JSON file is complete.

Parameters, offsets and latents are 32-bit floats: with 16 bits, neural colours change by a level here and there, and
single views change ranks. Version 1 holds the baked texture as 32-bit floats too, and is still read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatargen.geometry.types import HeadParameters, HeadTopology
from avatargen.io.atomic import replacing, write_json
from avatargen.io.frames import FRAMES, HEAD, Frames, load_frames, save_frames

VERSION = 2
READABLE = (1, VERSION)
STATUSES = ("ok", "diverged", "out_of_memory", "error")
GREY = 0.6
"""Grey level that textures start with, and keep where nothing is optimised. It is lighter than the background of the
judged views (`eval.images`), before which a head of the same grey would be a blank picture.
"""
TEXTURE = "texture.png"
_TENSORS = ("shape", "expression", "joints", "offsets", "latent_texture")
_BAKED = "baked_texture"
_TOPOLOGY = ("faces", "uvs", "face_uvs")


class AvatarFileError(ValueError):
    """An avatar file is missing, damaged, or of another version."""


@dataclass(frozen=True)
class Avatar:
    """One avatar.

    Attributes:
        id: slug of the prompt and a short hash of prompt and seed; safe as a file name.
        prompt, seed, method: what was asked for.
        head_id, prior_id: which head model the parameters belong to, which prior decodes the texture.
        shape, expression, joints, offsets: see :class:`avatargen.geometry.types.HeadParameters`, without the batch.
        latent_texture: texture in the prior's latent space; None where the method has none (oracle).
        baked_texture: the same as RGB in [0, 1], baked through the prior's decoder.
        config: the resolved configuration, JSON-ready.
        provenance: code version, package versions, fingerprint, JSON-ready.
        cost: `seconds`: its share of the time that its batches took to optimise, over all attempts and interrupted
            runs (up to their last checkpoints), and its own baking; without loading models and what else is made once
            for all batches. `peak_memory_mb` while its last batch ran, of the GPU or else of the process, models
            included. Empty for one that ended in an error.
        status: one of STATUSES; with anything but ``ok`` the parameters are the template's.
        message: what went wrong, empty if nothing did.
        topology: of a mesh that another system made, which has vertices for `offsets` and no other parameters; None
            for heads of a head model.
        frames: rendered views of another system, in whose place `topology` is one triangle without extent; None for
            avatars that have a surface.
    """

    id: str
    prompt: str
    seed: int
    method: str
    head_id: str
    prior_id: str
    shape: Float[Tensor, " S"]
    expression: Float[Tensor, " E"]
    joints: Float[Tensor, "J 3"]
    offsets: Float[Tensor, "N 3"]
    latent_texture: Float[Tensor, "C Ht Wt"] | None
    baked_texture: Float[Tensor, "3 Hb Wb"]
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    status: str = "ok"
    message: str = ""
    topology: HeadTopology | None = None
    frames: Frames | None = None

    def parameters(self) -> HeadParameters:
        """Return the head's parameters as a batch of one."""
        return HeadParameters(self.shape[None], self.expression[None], self.joints[None], self.offsets[None])


def save_avatar(folder: Path, avatar: Avatar) -> None:
    """Write an avatar atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: getattr(avatar, name) for name in _TENSORS if getattr(avatar, name) is not None}
    if avatar.topology is not None:
        tensors |= {name: getattr(avatar.topology, name) for name in _TOPOLOGY}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    others = (*_TENSORS, _BAKED, "topology", "frames")
    facts = {name: getattr(avatar, name) for name in Avatar.__dataclass_fields__ if name not in others}
    with replacing(folder / "avatar.safetensors") as partial:
        save_file(tensors, partial, metadata={"avatar": str(VERSION)})  # of two entries the order would change
        partial.chmod(folder.stat().st_mode & 0o666)  # safetensors lets nobody else read it
    if avatar.frames is not None:
        save_frames(folder / FRAMES, avatar.frames)
    with replacing(folder / TEXTURE) as partial:
        Image.fromarray(texture_bytes(avatar.baked_texture)).save(partial)
    write_json(folder / "avatar.json", {"version": VERSION, **facts})


def load_avatar(folder: Path) -> Avatar:
    """Read an avatar.

    Raises:
        AvatarFileError: nothing there, not readable, or written by a version that is not READABLE.
    """
    try:
        facts = json.loads((folder / "avatar.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "avatar.safetensors")
        version = facts.pop("version", None)
        if version == VERSION:
            tensors[_BAKED] = _read_texture(folder / TEXTURE)
        frames = load_frames(folder / FRAMES) if facts.get("head_id") == HEAD else None
    except FileNotFoundError as error:
        raise AvatarFileError(
            f"{folder}: got no {Path(error.filename).name}; expected a folder of an avatar"
        ) from error
    except (OSError, ValueError, SyntaxError, SafetensorError) as error:  # Pillow calls a damaged PNG a syntax error
        raise AvatarFileError(f"{folder}: not a readable avatar: {error}") from error
    if version not in READABLE:
        known = " or ".join(map(str, READABLE))
        raise AvatarFileError(f"{folder}: avatar file of version {version}; expected {known}")
    missing = [name for name in (*_TENSORS, _BAKED) if name not in tensors and name != "latent_texture"]
    if missing:
        raise AvatarFileError(f"{folder}/avatar.safetensors: lacks {', '.join(missing)}")
    topology = None
    if "faces" in tensors:
        everything = torch.ones(len(tensors["offsets"]), dtype=torch.bool)
        faces, uvs, face_uvs = (tensors[name] for name in _TOPOLOGY)
        topology = HeadTopology(faces, uvs, face_uvs, {"skin": everything})
    return Avatar(**facts | {name: tensors.get(name) for name in (*_TENSORS, _BAKED)}, topology=topology, frames=frames)


def texture_bytes(texture: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Return a texture in [0, 1] as an image of 8 bits, as files hold it.

    Example:
        >>> texture_bytes(torch.tensor([0.0, 0.5, 1.2]).view(3, 1, 1)).tolist()
        [[[0, 128, 255]]]
    """
    return (texture.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def as_stored(texture: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
    """Return a texture in [0, 1] as it is read from a file: rounded to 8 bits."""
    return _in_unit_range(texture_bytes(texture))


def _in_unit_range(pixels: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "3 H W"]:
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div(255).contiguous()


def _read_texture(path: Path) -> Float[Tensor, "3 H W"]:
    """Return the texture of an image file, in [0, 1]."""
    with Image.open(path) as image:
        return _in_unit_range(np.array(image.convert("RGB")))


def zero_avatar_tensors(template: HeadParameters, texture_size: int) -> dict[str, Any]:
    """Return the tensors of the floor, and of an avatar that failed: the template head in GREY."""
    return {
        "shape": template.shape[0],
        "expression": template.expression[0],
        "joints": template.joints[0],
        "offsets": template.offsets[0],
        "latent_texture": None,
        "baked_texture": torch.full((3, texture_size, texture_size), GREY),
    }
