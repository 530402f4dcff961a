"""Measure the geometric detail of an avatar, and how much of it is the ground-truth head's.

Heads are neutral, without expression, and rigidly aligned to the ground-truth head. Conditions are ``all``, a region
(``nose``), a scale (``8 mm``, the wavelength of a band, see :mod:`eval.scale_space`) and both (``nose 8 mm``).

face by face or vertex by vertex, with the ground-truth head on the avatar's own mesh; over skin and scalp, by area
  normal_error_deg             angle of the faces' normals; ``_bare``: of the avatar without its own offsets
  curvature_per_m              root mean square of the mean curvature; ``true_``: the ground truth's
  curvature_correlation        of both
  gaussian_per_m, …            the same of the Gaussian curvature's signed square root
  detail_deg, true_detail_deg  root mean square tilt of the normals in a band
  detail_correlation           of both
  detail_error_deg, …_bare     root mean square of their difference, with and without the avatar's own offsets
  offset_correlation           of what the offsets change in a band with what the head lacks there without them
  bend_per_m, …                mean curvature in a band

against the ground-truth head with four times the faces, whatever the avatar's mesh: these include what that cannot hold
  surface_mm                   mean distance of the surfaces, in both directions
  screen_normal_error_deg      angle of the normals in the pixels that see both heads; normal maps at 1024 x 1024, from
                               AZIMUTHS
  outline_iou                  intersection over union of the pixels that see a head

Without a ground-truth head, what needs one is NaN or left out, and bands are of the avatar's own surface. The picture
``normals`` has the avatar's normal maps to the left of the ground truth's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from avatargen.config.experiment import EvaluationSettings
from avatargen.config.plugins import HEADS, load_class
from avatargen.geometry.types import Cameras, HeadParameters, HeadTopology
from avatargen.heads.anny.fine import AnnyFine
from avatargen.heads.anny.head import AnnyHead
from avatargen.heads.base import HeadModel
from avatargen.headworld.appearance import make_appearance
from avatargen.headworld.attributes import Attributes
from avatargen.headworld.phrases import described
from avatargen.io.avatar_file import Avatar
from avatargen.io.manifest import Row
from eval.curvature import face_areas, vertex_normals
from eval.detail import Bands, Skin, bands_of, centred, correlation, mean_over, normal_errors, rms
from eval.diagnostics.base import Diagnostic, Measure, Measured
from eval.face_fit import FaceFitted
from eval.frame import framed
from eval.normal_maps import NormalMaps, drawn, normal_maps, screen_error
from eval.scale_space import ScaleSpace
from eval.surface import align_rigidly, distance_to_surface, faces_within, vertex_areas
from eval.surface import face_areas as areas_of
from eval.truth import HIDDEN, outside
from eval.views import RenderTools, least_cameras

AZIMUTHS = (0.0, -45.0, 45.0)  # degrees
REGIONS = ("face", "eyelids", "nose", "lips", "ears", "scalp", "beard", "neck")
NARROWEST, WIDEST = 2.0, 90.0  # degrees, of the field of view
ALL = "all"
NEED_TRUTH = (
    *("normal_error_deg", "curvature_correlation", "gaussian_correlation"),
    *("surface_mm", "screen_normal_error_deg", "outline_iou"),
)
"""Measures of the whole head that are NaN without a ground-truth head; others that need one are left out."""
MOST_VERTICES = 200_000
"""Vertices of another system's mesh beyond which it is only drawn: its bands would take minutes."""


@dataclass(frozen=True)
class Heads:
    """The meshes of one avatar and of its ground-truth head, aligned to it, on the same faces.

    Attributes:
        skin: the faces that count.
        own, bare, true: vertices of `skin`, mm: the avatar's, without its offsets, and the ground truth's, if known.
    """

    skin: Skin
    own: Float[np.ndarray, "N 3"]
    bare: Float[np.ndarray, "N 3"]
    true: Float[np.ndarray, "N 3"] | None

    @property
    def reference(self) -> Float[np.ndarray, "N 3"]:
        """The surface whose scales and areas count."""
        return self.own if self.true is None else self.true

    @cached_property
    def space(self) -> ScaleSpace:
        """The scales of the reference."""
        return ScaleSpace.of(self.reference, self.skin.faces)

    @cached_property
    def own_bands(self) -> Bands:
        """The avatar's detail."""
        return bands_of(self.own, self.skin.faces, self.space)

    @cached_property
    def true_bands(self) -> Bands | None:
        """The ground truth's."""
        return None if self.true is None else bands_of(self.true, self.skin.faces, self.space)


class Detail(Diagnostic):
    """Measures normals and curvature; see the module."""

    def __init__(self) -> None:
        self._fine = cache(AnnyFine.load)
        self._named = cache(lambda name: load_class("head", name, HEADS).load())
        self._fine_renderer = cache(lambda kind: kind(self._fine().topology))

    @torch.no_grad()
    def measure(self, avatar: Avatar, row: Row, tools: RenderTools, settings: EvaluationSettings) -> Measured:
        """Measure and draw an avatar; see :meth:`eval.diagnostics.base.Diagnostic.measure`."""
        fitted = isinstance(tools.head, FaceFitted)  # which changes the size of faces; here a millimetre is one
        head = self._named(tools.head_name) if fitted else tools.head
        known = described(row.prompt, row.tags) if isinstance(head, AnnyHead) else None
        vertices, heads = pose(head, avatar.parameters().neutral(), known)
        measures = [*shape_measures(heads), *band_measures(heads)] if len(heads.own) <= MOST_VERTICES else []
        fine = None if known is None else true_vertices(self._fine(), known)
        cameras = framing(vertices if fine is None else torch.cat([vertices, fine]), settings)
        maps = [normal_maps(tools.renderer, vertices, cameras)]
        if fine is None:
            measures += [Measure(ALL, name, float("nan")) for name in NEED_TRUTH]
        else:
            maps.append(normal_maps(self._fine_renderer(type(tools.renderer)), fine, cameras))
            measures += against_fine((vertices, head.topology), (fine, self._fine().topology), *maps)
        return Measured(tuple(measures), pictures={"normals": picture([drawn(one, cameras) for one in maps])})


def pose(head: HeadModel, parameters: HeadParameters, known: Attributes | None) -> tuple[Float[Tensor, "M 3"], Heads]:
    """Return an avatar's vertices, metres, aligned to its ground-truth head; and what is compared.

    Args:
        head: of the avatar.
        parameters: of a batch of one, neutral.
        known: what its ground-truth head has, if that is known.
    """
    topology = head.topology
    faces = faces_within(topology.faces, outside(topology, HIDDEN))
    regions = {name: mask.numpy() for name, mask in topology.regions.items() if name in REGIONS}
    skin = Skin.of(faces.numpy(), regions)
    own = head.vertices(parameters)[0]
    offsets = parameters.offsets if head.shape_names else torch.zeros_like(parameters.offsets)
    bare = head.vertices(replace(parameters, offsets=parameters.offsets - offsets))[0]
    true = true_vertices(head, known) if known is not None else None
    if true is not None:
        weights = vertex_areas(own, faces) + vertex_areas(true, faces)
        aligned = align_rigidly(torch.cat([own, bare]), torch.cat([true, true]), torch.cat([weights, 0 * weights]))
        own, bare = aligned.chunk(2)
    bare = bare if offsets.any() else own  # to the last bit, so that nothing correlates with rounding
    kept = torch.from_numpy(skin.kept)
    first, second, *third = (1e3 * one[kept].double().numpy() for one in (own, bare, true) if one is not None)
    return own, Heads(skin, first, second, third[0] if third else None)


def true_vertices(head: HeadModel, known: Attributes) -> Float[Tensor, "N 3"]:
    """Return the vertices of a neutral ground-truth head on the mesh of an Anny head, metres."""
    assert isinstance(head, AnnyHead), f"true_vertices: got head '{head.id}'; expected the Anny head"
    return head.vertices(make_appearance(head, known).parameters.neutral())[0]


def shape_measures(heads: Heads) -> Iterator[Measure]:
    """Yield errors of normals and agreement of curvatures, of the head and of its regions."""
    skin, own = heads.skin, heads.own_bands.whole
    true = None if heads.true_bands is None else heads.true_bands.whole
    weights = heads.space.areas * (own.defined if true is None else own.defined & true.defined)
    areas = face_areas(heads.reference, skin.faces)
    errors = {} if heads.true is None else {
        "normal_error_deg": normal_errors(heads.own, heads.true, skin.faces),
        "normal_error_bare_deg": normal_errors(heads.bare, heads.true, skin.faces),
    }  # fmt: skip
    for region in (ALL, *skin.regions):
        inside, within = (1.0, 1.0) if region == ALL else (skin.faces_of(region), skin.regions[region])
        for name, values in errors.items():
            yield Measure(region, name, mean_over(values, areas * inside))
        for name in ("mean", "gaussian"):
            label = name.replace("mean", "curvature")
            here, w = getattr(own, name), weights * within
            yield Measure(region, f"{label}_per_m", rms(here[:, None], w))
            if true is not None:
                there = getattr(true, name)
                yield Measure(region, f"true_{label}_per_m", rms(there[:, None], w))
                yield Measure(region, f"{label}_correlation", correlation(centred(here, w), centred(there, w), w))


def band_measures(heads: Heads) -> Iterator[Measure]:
    """Yield the detail of each scale, of the head and of its regions, and what offsets add to it."""
    space, own, true = heads.space, heads.own_bands, heads.true_bands
    for number, wavelength in enumerate(space.wavelengths):
        scale = f"{wavelength:g} mm"
        yield from _of_band(scale, own, true, number, space.areas)
        for region, mask in heads.skin.regions.items():
            some = _of_band(f"{region} {scale}", own, true, number, space.areas * mask)
            yield from (one for one in some if "detail" in one.name)
    if true is not None:
        yield from _offsets_measures(heads, own, true)


def _of_band(
    condition: str, own: Bands, true: Bands | None, number: int, weights: Float[np.ndarray, " N"]
) -> Iterator[Measure]:
    """Yield one band's detail of normals, in degrees, and of mean curvature, in 1 / m."""
    for name, unit, signal, scale in (
        ("detail", "deg", "normals", np.rad2deg(1.0)),
        ("bend", "per_m", "curvature", 1.0),
    ):
        here = getattr(own, signal)[number]
        yield Measure(condition, f"{name}_{unit}", scale * rms(here, weights))
        if true is not None:
            there = getattr(true, signal)[number]
            yield Measure(condition, f"true_{name}_{unit}", scale * rms(there, weights))
            yield Measure(condition, f"{name}_correlation", correlation(here, there, weights))


def _offsets_measures(heads: Heads, own: Bands, true: Bands) -> Iterator[Measure]:
    """Yield how far each band of the normals is from the ground truth with and without offsets, and what they add."""
    bare = heads.space.bands(vertex_normals(heads.bare, heads.skin.faces))
    weights = heads.space.areas
    for number, wavelength in enumerate(heads.space.wavelengths):
        scale = f"{wavelength:g} mm"
        with_them, without, wanted = own.normals[number], bare[number], true.normals[number]
        yield Measure(scale, "detail_error_deg", np.rad2deg(rms(with_them - wanted, weights)))
        yield Measure(scale, "detail_error_bare_deg", np.rad2deg(rms(without - wanted, weights)))
        yield Measure(scale, "offset_correlation", correlation(with_them - without, wanted - without, weights))


def against_fine(
    own: tuple[Float[Tensor, "N 3"], HeadTopology],
    fine: tuple[Float[Tensor, "M 3"], HeadTopology],
    own_maps: NormalMaps,
    fine_maps: NormalMaps,
) -> Iterator[Measure]:
    """Yield the distances to the ground-truth head with four times the faces.

    Args:
        own, fine: vertices, metres, and topology of the avatar, aligned, and of the ground truth.
        own_maps, fine_maps: what the same cameras see of them.
    """
    error, overlap = screen_error(own_maps, fine_maps)
    yield Measure(ALL, "surface_mm", surface_mm(*own, *fine))
    yield Measure(ALL, "screen_normal_error_deg", error)
    yield Measure(ALL, "outline_iou", overlap)


def surface_mm(
    first: Float[Tensor, "N 3"], topology: HeadTopology, second: Float[Tensor, "M 3"], other: HeadTopology
) -> float:
    """Return the mean distance of two heads' skin, from faces' centres, of both directions, mm; meshes may differ."""
    sides = [(v, faces_within(t.faces, outside(t, HIDDEN))) for v, t in ((first, topology), (second, other))]
    found = []
    for (here, faces), (there, others) in (sides, sides[::-1]):
        areas = areas_of(here, faces)
        apart = distance_to_surface(here[faces.long()].mean(dim=1), there, others)
        found.append(float((apart * areas).sum() / areas.sum()))
    return 1e3 * sum(found) / 2


def framing(vertices: Float[Tensor, "N 3"], settings: EvaluationSettings) -> Cameras:
    """Return the cameras of the normal maps: from AZIMUTHS, with a frame as narrow as the vertices need."""
    cameras = least_cameras(settings, len(AZIMUTHS))
    narrow = replace(cameras, azimuth=torch.tensor([AZIMUTHS]), fov=torch.full_like(cameras.fov, NARROWEST))
    return framed(narrow, vertices[None], WIDEST)


def picture(heads: list[np.ndarray]) -> Image.Image:
    """Draw normal maps, each head in a column: the front, and below it both sides at half the size."""
    size = heads[0].shape[1]
    sheet = Image.new("RGB", (size * len(heads), size + size // 2))
    for column, views in enumerate(heads):
        front, *sides = (Image.fromarray(view) for view in views)
        sheet.paste(front, (column * size, 0))
        for place, side in enumerate(sides):
            half = side.resize((size // 2, size // 2), Image.Resampling.BOX)
            sheet.paste(half, (column * size + place * (size // 2), size))
    return sheet
