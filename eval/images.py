"""What kinds of images an avatar is judged by, and what decides how they look.

Three kinds, all (V, H, W, 3), 8-bit RGB, row 0 at the top, over the protocol's background:

texture   neural colours: the latent texture rendered at the prior's latent size, over the latents of the
          background, and decoded (what score distillation saw); where the avatar has no latent texture, its
          baked render encoded and decoded, so that the ceiling has the decoder's losses too
baked     the baked RGB texture, unlit: what the exported asset shows
geometry  clay: the same mesh without texture, one fixed light that moves with the camera

Clay is Lambert-shaded, ALBEDO * (AMBIENT + DIFFUSE * max(0, n . l)), with the light LIGHT_OFFSET degrees to
the left of and above the camera: right behind the camera it would flatten the features that this track is
about. The embedded judge was trained on clay of the same grey, lit from random upper front directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.settings import PriorSettings
from avatargen.io.content_hash import weights_id

KINDS = ("texture", "baked", "geometry")
ALBEDO, AMBIENT, DIFFUSE = 0.75, 0.35, 0.70
LIGHT_OFFSET = (-25.0, 25.0)  # degrees of azimuth and elevation, relative to the camera

Images = UInt8[np.ndarray, "V H W 3"]


def view_protocol(settings: EvaluationSettings, prior: PriorSettings) -> dict[str, Any]:
    """What decides how an avatar is shown to a judge, JSON-ready; a part of every score's protocol."""
    facts = settings.model_dump(mode="json", include={"views", "elevation", "fov", "size", "samples", "background"})
    clay = {"albedo": ALBEDO, "ambient": AMBIENT, "diffuse": DIFFUSE, "light_offset": list(LIGHT_OFFSET)}
    latents = {"size": prior.latent_size, "samples": prior.samples, "decoder": weights_id(prior.path)}
    return {**facts, "clay": clay, "latents": latents, "colour": "unlit"}


def of_track(views: dict[str, Any], track: str) -> dict[str, Any]:
    """What of a view protocol decides a track's images: clay has no latents, and no prior decodes it."""
    return views if track == "texture" else {name: value for name, value in views.items() if name != "latents"}
