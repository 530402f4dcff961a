"""Fill the texels of a baked texture that no camera saw, so that an exported avatar animates well.

Images show a closed mouth from outside: they say nothing of teeth, of the eyeball behind a lid, or of the crown, which
lies above the elevations that a prior knows. The bake takes the nearest texel that it has, in the texture's plane, for
such places. Here they are painted anew on the surface, and what was seen stays as it is:

1. Each vertex gets a confidence: how squarely the cameras of the prior see it, and how far its normal lies outside
   their elevations. The bake looks from higher up, too, but there no step has painted what it sees.
2. The colours u of vertices minimise Σ c |u - s|² + λ Σ w |u_i - u_j|² + κ Σ (1 - c) r |u - p|²: close to the colours
   s that were seen where the confidence c is high, smooth along edges, which count little across borders of regions
   (hair ends at the hairline), and in mouth, lids and eyes (region weights r) close to the region's own colour p. A
   mouth is dark, teeth are light; lids, sclera, iris and pupil have the avatar's own colours where some of them were
   seen.
3. A texel is a mean of both, weighted by the confidence. Then the two sides of each texture seam are brought together.

The avatar file keeps its texture, which judges see.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from avatargen.config.experiment import RunConfig
from avatargen.config.settings import CameraSettings
from avatargen.exchange.surface_fit import seam_pairs, smooth_fit, unique_edges
from avatargen.geometry.cameras import CENTRE, usual_framing
from avatargen.geometry.normals import area_normals
from avatargen.geometry.types import Cameras
from avatargen.heads.base import HeadModel
from avatargen.io.avatar_file import Avatar
from avatargen.render.geometry import camera_frames, project
from avatargen.render.texel_map import TexelMap, build_texel_map
from avatargen.render.warp import WarpRenderer

Colour = tuple[float, float, float]
"""RGB in [0, 1]."""
MOUTH: dict[str, Colour] = {
    "mouth_interior": (0.33, 0.11, 0.10),
    "tongue": (0.72, 0.36, 0.36),
    "teeth": (0.92, 0.90, 0.84),
}
"""Colours of regions that are hardly ever seen."""
STATUES = ("statue", "bust", "sculpture", "figurine")
"""Words of prompts for heads of one material: teeth and tongue have its colour."""
SHADE = 0.4
"""Brightness of the inside of such a head's mouth, against its outside."""
EYES: dict[str, Colour] = {"eyes": (0.92, 0.91, 0.90), "iris": (0.30, 0.19, 0.11), "pupil": (0.03, 0.03, 0.03)}
"""Colours of eyes of which nothing was seen, each region over the ones before it."""
AZIMUTHS = 8
"""Directions around the head that are looked from, at each elevation."""
SIZE = 512
"""Rows and columns of the depth maps that tell what is hidden."""
SLACK = 0.001
"""Largest distance behind the depth map at which a vertex counts as visible, metres, besides a pixel's own slope."""
COSINE = (0.25, 0.55)
"""Cosines of incidence, in the best view, between which confidence rises from 0 to 1."""
BEYOND = (16.0, 38.0)
"""Degrees that a normal lies above or below all cameras, over which confidence falls from 1 to 0."""
SMOOTHNESS = 0.02
"""Weight of edges against colours that were seen, λ."""
ACROSS = 0.02
"""Weight of an edge that crosses the border of a region, against one inside it."""
STRENGTH = 1.0
"""Weight of a region's own colour, κ."""
LID_PULL = 0.05
"""Share of κ for lids: their edge, hidden in a line, looks like what is beside it; only their fold has their colour."""
LEAST = 1e-6
"""Confidence in a texel that no camera sees: where nothing else speaks, as on an eyeball behind closed lids of a head
without regions, it keeps its colour."""
ENOUGH = 3.0
"""Sum of confidences of a region's vertices at which its own colour counts as seen."""
SEAM_REACH = 0.006
"""Distance over which the difference between the sides of a seam fades, metres."""

_fills: dict[str, TextureFill] = {}


def export_texture(avatar: Avatar, head: HeadModel) -> Float[Tensor, "3 H W"]:
    """Return an avatar's texture for export, in [0, 1]; what serves all avatars of a head model is made once.

    Args:
        avatar: a finished avatar.
        head: the head model that it was made with, on the CPU.
    """
    if avatar.latent_texture is None:
        return avatar.baked_texture
    if head.id not in _fills:
        _fills[head.id] = TextureFill(head)
    return _fills[head.id](avatar)


class TextureFill:
    """Fills textures of one head model.

    Args:
        head: the head model, on the CPU.

    Example:
        >>> from avatargen.config.plugins import HEADS, load_class
        >>> TextureFill(load_class("head", "anny_coarse", HEADS).load()).seams.shape[1]
        2
    """

    def __init__(self, head: HeadModel) -> None:
        top = head.topology
        self.head, self.faces, self.corners = head, top.faces.long(), top.face_uvs.long()
        self.renderer = WarpRenderer(top)
        self.regions = region_weights(head)
        count = len(next(iter(self.regions.values())))
        self.vertex_of = torch.zeros(len(top.uvs), dtype=torch.long)
        self.vertex_of[self.corners.flatten()] = self.faces.flatten()
        self.edges = unique_edges(self.faces)
        self.borders = _border_factors(self.regions, self.edges)
        self.seams = seam_pairs(self.vertex_of, self.corners, count)
        self._maps: dict[int, TexelMap] = {}

    @torch.no_grad()
    def __call__(self, avatar: Avatar) -> Float[Tensor, "3 H W"]:
        """Return an avatar's texture for export, in [0, 1].

        Textures that were not baked from a latent one, such as a ground-truth head's, are returned as they are.

        Args:
            avatar: a finished avatar of this head model.
        """
        if avatar.latent_texture is None or avatar.topology is not None:
            return avatar.baked_texture
        ranges = RunConfig.model_validate(avatar.config).prior.cameras
        points = self.head.vertices(avatar.parameters())
        certain = self.confidence(points, ranges).clamp(min=LEAST)
        texels = self._texel_map(avatar.baked_texture.shape[-1])
        baked = avatar.baked_texture[:, texels.covered].T
        at_texels = self._gather(texels, certain[:, None])
        seen, known = self._at_vertices(texels, baked, at_texels)
        colours = self._solved(points[0], certain * known, seen, avatar.prompt)
        painted = torch.lerp(self._gather(texels, colours), baked, at_texels)
        texture = texels.to_image(painted)
        return (texture + self._seam_shift(texture, texels, points[0])).clamp(0, 1)

    def confidence(self, vertices: Float[Tensor, "1 N 3"], ranges: CameraSettings) -> Float[Tensor, " N"]:
        """Return how well the cameras of a prior see each vertex, in [0, 1].

        Args:
            vertices: of the head, metres.
            ranges: the prior's camera ranges.
        """
        cameras = _around(ranges)
        normals = area_normals(vertices[0], self.faces)
        places, depth = project(vertices, cameras, SIZE)
        maps = self.renderer.render(vertices, cameras, SIZE, normals=False, gradients=False).depth[0]
        shown = F.grid_sample(maps, places[0, :, None] / SIZE * 2 - 1, mode="nearest", align_corners=False)[:, 0, 0]
        frames = camera_frames(cameras)
        towards = F.normalize(frames.positions[0][:, None] - vertices, dim=-1)
        cosine = (towards * normals).sum(-1)
        pixel = 2 * frames.extents[0][:, None] * depth[0] / SIZE
        slope = (1 - cosine**2).clamp(min=0).sqrt() / cosine.clamp(min=0.1)
        visible = (depth[0] < shown + SLACK + pixel * slope) & (shown > 0)
        best = (cosine * visible).clamp(min=0).max(0).values
        tilt = torch.rad2deg(normals[:, 1].clamp(-1, 1).asin())
        low, high = ranges.elevation
        beyond = torch.maximum(tilt - high, low - tilt)
        return _ramp(best, *COSINE) * (1 - _ramp(beyond, *BEYOND))

    def _texel_map(self, size: int) -> TexelMap:
        """Return where texels lie; its corners are indices of texture coordinates, not of vertices."""
        if size not in self._maps:
            top = self.head.topology
            flat = type(top)(top.face_uvs, top.uvs, top.face_uvs, top.regions)
            self._maps[size] = build_texel_map(flat, size)
        return self._maps[size]

    def _gather(self, texels: TexelMap, values: Float[Tensor, "N C"]) -> Float[Tensor, "K C"]:
        return texels.gather(values[self.vertex_of])

    def _at_vertices(
        self, texels: TexelMap, colours: Float[Tensor, "K 3"], weights: Float[Tensor, "K 1"]
    ) -> tuple[Float[Tensor, "N 3"], Bool[Tensor, " N"]]:
        """Return the mean colour of the texels around each vertex, weighted by confidence, and which have a texel."""
        share = texels.weights * weights
        vertex = self.vertex_of[texels.corners].flatten()
        count = len(next(iter(self.regions.values())))
        total = share.new_zeros(count).index_add(0, vertex, share.flatten())
        values = (share[..., None] * colours[:, None]).flatten(0, 1)
        sums = share.new_zeros(count, 3).index_add(0, vertex, values)
        return sums / total.clamp(min=1e-12)[:, None], total > 1e-9

    def _solved(
        self, points: Float[Tensor, "N 3"], certain: Float[Tensor, " N"], seen: Float[Tensor, "N 3"], prompt: str
    ) -> Float[Tensor, "N 3"]:
        """Return the colours of vertices that minimise the energy of the module's docstring."""
        skin = certain * self.regions["skin"]
        mouth = mouth_colours(prompt, (skin[:, None] * seen).sum(0) / skin.sum().clamp(min=1e-8))
        own, pull = region_colours(self.regions, certain, seen, mouth)
        pull = STRENGTH * pull * (1 - certain)
        weights = self.borders / (points[self.edges[:, 0]] - points[self.edges[:, 1]]).norm(dim=1).clamp(min=1e-5)
        weights = SMOOTHNESS * weights / weights.mean()
        return smooth_fit(self.edges, weights, certain + pull, certain[:, None] * seen + pull[:, None] * own)

    def _seam_shift(
        self, texture: Float[Tensor, "3 H W"], texels: TexelMap, points: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "3 H W"]:
        """Return what brings the two sides of each seam to their mean, fading with the distance from it."""
        if not len(self.seams):
            return torch.zeros_like(texture)
        places = self.head.topology.uvs * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
        sides = F.grid_sample(texture[None], places[None, None], align_corners=False)[0, :, 0].T
        halves = (sides[self.seams[:, 1]] - sides[self.seams[:, 0]]) / 2
        wanted = torch.zeros_like(sides).index_copy(0, self.seams[:, 0], halves)
        wanted = wanted.index_copy(0, self.seams[:, 1], -halves)
        fixed = torch.zeros(len(sides)).index_fill(0, self.seams.flatten(), 1e3)
        edges = unique_edges(self.corners)
        flat = points[self.vertex_of]
        lengths = (flat[edges[:, 0]] - flat[edges[:, 1]]).norm(dim=1).clamp(min=1e-5)
        decay = torch.full_like(fixed, 1.0)
        weights = (SEAM_REACH / lengths) ** 2 / 3  # of six neighbours; so a difference fades as exp(-distance / reach)
        shift = smooth_fit(edges, weights, fixed + decay, fixed[:, None] * wanted)
        return texels.to_image(texels.gather(shift))


def region_weights(head: HeadModel) -> dict[str, Float[Tensor, " N"]]:
    """Return the regions of a head model as masks in [0, 1], soft where it has soft ones."""
    soft = getattr(head, "region_weights", None)
    return soft or {name: mask.float() for name, mask in head.topology.regions.items()}


def mouth_colours(prompt: str, skin: Float[Tensor, " 3"]) -> dict[str, Float[Tensor, " 3"]]:
    """Return the colours of the parts of a mouth.

    Args:
        prompt: of the avatar; statues are of one material.
        skin: mean colour of what was seen of the skin.

    Example:
        >>> mouth_colours("a stone statue of a man", torch.full((3,), 0.5))["mouth_interior"].tolist()
        [0.20000000298023224, 0.20000000298023224, 0.20000000298023224]
    """
    if not set(STATUES) & set(prompt.lower().replace(",", " ").split()):
        return {name: torch.tensor(colour) for name, colour in MOUTH.items()}
    return {name: SHADE * skin if name == "mouth_interior" else skin for name in MOUTH}


def region_colours(
    regions: dict[str, Float[Tensor, " N"]],
    certain: Float[Tensor, " N"],
    seen: Float[Tensor, "N 3"],
    mouth: dict[str, Float[Tensor, " 3"]],
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]:
    """Return the colour that vertices of mouth, lids and eyes have where nothing is seen, and how much they have of it.

    Args:
        regions: masks in [0, 1].
        certain: confidence in what was seen.
        seen: colours.
        mouth: colours of the parts of the mouth.

    Example:
        >>> regions = {"teeth": torch.tensor([1.0, 0.0])}
        >>> region_colours(regions, torch.zeros(2), torch.zeros(2, 3), {"teeth": torch.ones(3)})
        (tensor([[1., 1., 1.],
                [0., 0., 0.]]), tensor([1., 0.]))
    """
    layers = {name: colour for name, colour in mouth.items() if name in regions}
    if "eyelids" in regions:
        layers["eyelids"] = _lid_colour(regions["eyelids"], certain, seen)
    if "iris" in regions:  # eyes without parts are smoothed as skin is
        layers |= _eye_colours(regions, certain, seen)
    colours, share, pull = torch.zeros_like(seen), torch.zeros_like(certain), torch.zeros_like(certain)
    for name, colour in layers.items():
        colours = torch.lerp(colours, colour.expand_as(colours), regions[name][:, None])
        share = torch.lerp(share, torch.ones_like(share), regions[name])
        pull = torch.lerp(pull, torch.full_like(pull, LID_PULL if name == "eyelids" else 1.0), regions[name])
    return colours / share.clamp(min=1e-8)[:, None], pull  # soft borders have a part of a colour, not a darker one


def _eye_colours(
    regions: dict[str, Float[Tensor, " N"]], certain: Float[Tensor, " N"], seen: Float[Tensor, "N 3"]
) -> dict[str, Float[Tensor, " 3"]]:
    """Return the colours of sclera, iris and pupil: the avatar's own, as far as they were seen."""
    names, found = list(EYES), {}
    for name, inner in zip(names, [*names[1:], None], strict=True):
        share = certain * regions[name] * (1 - regions[inner] if inner else 1)
        own = (share[:, None] * seen).sum(0) / share.sum().clamp(min=1e-8)
        found[name] = torch.lerp(torch.tensor(EYES[name]), own, (share.sum() / ENOUGH).clamp(max=1))
    return found


def _lid_colour(
    lids: Float[Tensor, " N"], certain: Float[Tensor, " N"], seen: Float[Tensor, "N 3"]
) -> Float[Tensor, " 3"]:
    """Return the median colour of what was seen of the lids.

    What a blink unfolds lies beside the lid's edge, where a bake smears the painted eye; a median passes that over.
    """
    chosen = (certain > 0.5) & (lids > 0.1)
    if chosen.any():
        return seen[chosen].median(0).values
    return (certain[:, None] * seen).sum(0) / certain.sum().clamp(min=1e-8)


def _border_factors(regions: dict[str, Float[Tensor, " N"]], edges: Int[Tensor, "E 2"]) -> Float[Tensor, " E"]:
    """Return the factor of each edge: 1 inside regions, less across a border, `ACROSS` from one to another."""
    masks = torch.stack([*regions.values()])
    step = (masks[:, edges[:, 0]] - masks[:, edges[:, 1]]).abs().max(0).values
    return ((1 - step) ** 2).clamp(min=ACROSS)


def _around(ranges: CameraSettings) -> Cameras:
    """Return views from all around, at the lowest, the middle and the highest elevation of a prior."""
    distance, fov = usual_framing(ranges)
    low, high = ranges.elevation
    places = [(360.0 * k / AZIMUTHS, e) for e in (low, (low + high) / 2, high) for k in range(AZIMUTHS)]
    rows = torch.tensor([(*place, distance, fov, *CENTRE) for place in places])
    azimuth, elevation, distances, fovs, *target = rows.T[:, None].contiguous()
    return Cameras(azimuth, elevation, distances, fovs, torch.stack(target, dim=-1))


def _ramp(values: Tensor, low: float, high: float) -> Tensor:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    t = ((values - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
