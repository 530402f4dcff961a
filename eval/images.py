"""The kinds of images that an avatar is judged by, and what decides how they look.

Each kind is (V, H, W, 3), 8-bit RGB, row 0 at the top, over the protocol's background:

texture   neural colours: the latent texture rendered at the prior's latent size, over the latents of the background,
          and decoded (what score distillation saw). For an avatar without a latent texture, its baked render, encoded
          and decoded, so that the ceiling includes the autoencoder's losses.
baked     the baked RGB texture, unlit: what the exported asset shows
geometry  clay: the same mesh without texture, under one fixed light that moves with the camera

Clay is Lambert-shaded, ALBEDO * (AMBIENT + DIFFUSE * max(0, n . l)), with the light LIGHT_OFFSET degrees to the left of
and above the camera: a light right behind the camera would flatten the features that this track is about. The embedded
judge was trained on clay of the same grey, lit from random upper front directions.

Three tracks ask for captions in these images: `texture` and `shape_in_colour` in colour, among captions that differ in
colour and material, or in shape; `geometry` in clay.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.plugins import HEADS, PRIORS, RENDERERS
from avatargen.config.settings import PriorSettings
from avatargen.io.code_hash import code_hash
from avatargen.io.content_hash import weights_id

KINDS = ("texture", "baked", "geometry")
TRACKS = ("texture", "shape_in_colour", "geometry")
KINDS_OF_TRACK = {"texture": ("texture", "baked"), "shape_in_colour": ("texture", "baked"), "geometry": ("geometry",)}
"""The kinds of images that are scored in each track; the first gives the track's score."""
ALBEDO, AMBIENT, DIFFUSE = 0.75, 0.35, 0.70
LIGHT_OFFSET = (-25.0, 25.0)  # degrees of azimuth and elevation, relative to the camera
NUMBERS = "float32"
"""Number format of decoding, encoding and embedding, on every device."""
SHOWN = {
    "views",
    "elevation",
    "distance",
    "target_height",
    "fov",
    "widest_fov",
    "fit",
    "size",
    "samples",
    "background",
    "noise_draws",
}
"""The settings that decide how images are taken and embedded."""

Images = UInt8[np.ndarray, "V H W 3"]


def view_protocol(settings: EvaluationSettings, prior: PriorSettings, head: str, renderer: str) -> dict[str, Any]:
    """Return what decides how an avatar is shown to a judge, JSON-ready; a part of every score's protocol.

    Args:
        settings: of the evaluation.
        prior: decodes latents, and encodes for avatars that have none.
        head, renderer: names in :mod:`avatargen.config.plugins`, of the experiment: they show all methods.
    """
    facts = settings.model_dump(mode="json", include=SHOWN)
    clay = {"albedo": ALBEDO, "ambient": AMBIENT, "diffuse": DIFFUSE, "light_offset": list(LIGHT_OFFSET)}
    latents = {
        "size": prior.latent_size,
        "samples": prior.samples,
        "decoder": weights_id(prior.vae or prior.path),
        "code": code_hash(_modules((PRIORS, prior.kind))),
    }
    return {
        **facts,
        "head": head,
        "renderer": renderer,
        "code": code_hash(("eval.views", *_modules((HEADS, head), (RENDERERS, renderer)))),
        "clay": clay,
        "colour": "unlit",
        "latents": latents,
        "numbers": NUMBERS,
    }


def of_track(views: dict[str, Any], track: str) -> dict[str, Any]:
    """Return the part of a view protocol that decides a track's images: clay has no latents and no decoder.

    Example:
        >>> of_track({"views": 8, "latents": {"size": 64}}, "geometry")
        {'views': 8}
    """
    return views if track != "geometry" else {name: value for name, value in views.items() if name != "latents"}


def _modules(*named: tuple[dict[str, str], str]) -> tuple[str, ...]:
    """Return the modules that names stand for in the tables of plug-ins; none for a name that is in no table."""
    return tuple(table[name].partition(":")[0] for table, name in named if name in table)


def packed(images: Images) -> UInt8[np.ndarray, " bytes"]:
    """Return the bytes of a PNG of square images, one below the other: two thirds of what a compressed array takes."""
    from PIL import Image  # jobs that only read names of kinds do without

    buffer = io.BytesIO()
    Image.fromarray(images.reshape(-1, *images.shape[2:])).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def unpacked(content: UInt8[np.ndarray, "..."]) -> Images:
    """Return the images of `packed`; an array of images as it is.

    Example:
        >>> views = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
        >>> np.array_equal(unpacked(packed(views)), views)
        True
    """
    if content.ndim != 1:
        return content
    from PIL import Image

    with Image.open(io.BytesIO(content.tobytes())) as image:
        strip = np.array(image)
    side = strip.shape[1]
    return strip.reshape(-1, side, side, 3)


def read_views(path: Path, kinds: Iterable[str] = KINDS) -> dict[str, Images]:
    """Return images of an avatar's ``views.npz``.

    Raises:
        OSError, ValueError, KeyError, EOFError: it is missing or damaged.
    """
    with np.load(path) as file:
        return {kind: unpacked(file[kind]) for kind in kinds}
