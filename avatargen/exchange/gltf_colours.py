"""Turn the materials and vertex colours of a GLB into textures that show, unlit, the colours which a viewer shows.

A surface shows, in linear light, base colour × texture × vertex colour, plus what it emits; a material of
KHR_materials_unlit emits nothing, and the diffuse colour of KHR_materials_pbrSpecularGlossiness is a base colour.
Textures of colours are stored in sRGB; factors and vertex colours are linear (glTF 2.0, sections 3.7.2.1 and 3.9).

One image alone becomes the texture as it is. Where several images or vertex colours meet, or a triangle crosses the
border of a repeated image, each triangle gets a chart of its own, about as fine as its images.

Triangles that alpha hides are left out. Our renderers show no transparency, so `Painter.wrong` measures what of it
remains.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from avatargen.exchange.gltf_reader import GltfReader, Surface
from avatargen.exchange.gltf_schema import GltfMaterial, Sampler, TextureInfo, Transform
from avatargen.exchange.mesh_files import LARGEST
from avatargen.exchange.texture_charts import (
    bilinear,
    by_size,
    chart_weights,
    charts,
    folded,
    inner_weights,
    largest_chart,
    to_linear,
    to_srgb,
)
from avatargen.io.avatar_file import GREY

Painted = tuple[Float[np.ndarray, "F 3 3"], Float[np.ndarray, "3 H W"], Float[np.ndarray, "F 3 2"]]
"""Positions of the corners of triangles, their texture (sRGB) and their texture coordinates, v upwards."""

BARE = [*to_linear(np.array([GREY] * 3)).tolist(), 1.0]
"""Base colour of a surface that has neither material nor colours: the grey of all bare heads."""


@dataclass(frozen=True)
class Picture:
    """An image on a surface.

    Attributes:
        image: index among the file's images.
        pixels: RGBA in sRGB, in [0, 1].
        uvs: texture coordinates of corners, v downwards.
        wrap: what lies beyond the border, along u and v.
    """

    image: int
    pixels: Float[np.ndarray, "H W 4"]
    uvs: Float[np.ndarray, "F 3 2"]
    wrap: tuple[int, int]

    def texels(self) -> Float[np.ndarray, " F"]:
        """Return how many texels each triangle spans."""
        return (np.ptp(self.uvs, axis=1) * self.pixels.shape[1::-1]).max(axis=1)

    def lies_like(self, other: Picture) -> bool:
        """Return whether each texel lies where the other's does."""
        same = self.pixels.shape == other.pixels.shape and self.wrap == other.wrap
        return same and np.array_equal(self.uvs, other.uvs)


@dataclass(frozen=True)
class Layer:
    """A colour of a material: a factor, times a picture if there is one.

    Attributes:
        factor: RGB in linear light, and alpha.
        picture: None for white.
    """

    factor: Float[np.ndarray, "4"]
    picture: Picture | None = None

    def of(self, chosen: Bool[np.ndarray, " F"]) -> Layer:
        """Return the layer of some triangles."""
        picture = self.picture
        return self if picture is None else replace(self, picture=replace(picture, uvs=picture.uvs[chosen]))

    def at(self, weights: Float[np.ndarray, "S 3"]) -> Float[np.ndarray, "_ _ 4"]:
        """Return linear RGB, and alpha, at points of each triangle, given by barycentric weights."""
        if self.picture is None:
            return self.factor[None, None]
        uvs = np.einsum("sc,fck->fsk", weights, self.picture.uvs)
        found = bilinear(self.picture.pixels, uvs, self.picture.wrap)
        return np.concatenate([to_linear(found[..., :3]), found[..., 3:]], axis=-1) * self.factor

    def light(self) -> Float[np.ndarray, "... 3"]:
        """Return the linear light of the whole picture, or the factor's."""
        return self.factor[:3] * (1 if self.picture is None else to_linear(self.picture.pixels[..., :3]))


@dataclass(frozen=True)
class Look:
    """What colours a surface.

    Attributes:
        base: base colour.
        emitted: what the surface emits.
        colours: vertex colours, linear RGB and alpha; None where they are all the same, and part of `base`.
    """

    base: Layer
    emitted: Layer
    colours: Float[np.ndarray, "F 3 4"] | None = None

    def of(self, chosen: Bool[np.ndarray, " F"]) -> Look:
        """Return the look of some triangles."""
        colours = None if self.colours is None else self.colours[chosen]
        return Look(self.base.of(chosen), self.emitted.of(chosen), colours)

    def light(self, weights: Float[np.ndarray, "S 3"]) -> Float[np.ndarray, "_ _ 3"]:
        """Return what is shown at points of each triangle, in linear light."""
        found = self.base.at(weights)[..., :3]
        if self.colours is not None:
            found = found * np.einsum("sc,fck->fsk", weights, self.colours[..., :3]).clip(0, 1)
        return (found + self.emitted.at(weights)[..., :3]).clip(0, 1)

    def alpha(self, weights: Float[np.ndarray, "S 3"]) -> Float[np.ndarray, "_ _"]:
        """Return the alpha at points of each triangle."""
        found = self.base.at(weights)[..., 3]
        if self.colours is not None:
            found = found * np.einsum("sc,fc->fs", weights, self.colours[..., 3])
        return found

    @property
    def pictures(self) -> list[Picture]:
        """Return its pictures."""
        return [layer.picture for layer in (self.base, self.emitted) if layer.picture is not None]

    def texels(self) -> float | Float[np.ndarray, " F"]:
        """Return how many texels each triangle spans, of the finer picture."""
        return np.max([picture.texels() for picture in self.pictures], axis=0) if self.pictures else 0.0

    def whole_picture(self) -> Picture | None:
        """Return the picture whose texels show the look, each times the same factors; None if there is none."""
        if self.colours is not None or not self.pictures:
            return None
        first, last = self.pictures[0], self.pictures[-1]
        return first if first.lies_like(last) else None


class Painter:
    """Paints the surfaces of a GLB; surfaces that share an image share one array.

    Args:
        reader: of the file.
        vertex_colours: how they are stored: in ``linear`` light, as glTF says, or in ``srgb``.

    Attributes:
        area: of the surfaces so far.
        wrong: area that is shown and should not be, or the reverse, since triangles are shown whole or not at all.
    """

    def __init__(self, reader: GltfReader, vertex_colours: Literal["linear", "srgb"] = "linear"):
        self.reader = reader
        self.vertex_colours = vertex_colours
        self.area = self.wrong = 0.0
        self._pixels: dict[int, np.ndarray] = {}
        self._textures: dict[tuple[object, ...], np.ndarray] = {}

    def paint(self, surface: Surface) -> Iterator[Painted]:
        """Yield the triangles of a surface that are shown, with their texture, in one part or two."""
        look, corners = self.look(surface), surface.corners
        if len(corners):
            shown = self.shown(surface, look)
            look, corners = look.of(shown), corners[shown]
        if not len(corners):
            return
        inside, picture = np.zeros(len(corners), bool), look.whole_picture()
        if picture is not None:
            height, width = picture.pixels.shape[:2]
            uvs, inside = folded(picture.uvs, picture.wrap, width, height)
            if inside.any():
                yield corners[inside], self._texture(look), uvs[inside] * (1, -1) + (0, 1)
        if not inside.all():
            yield from _charted(corners[~inside], look.of(~inside))

    def shown(self, surface: Surface, look: Look) -> Bool[np.ndarray, " F"]:
        """Return which triangles are shown, and add to `area` and `wrong`."""
        edges = surface.corners[:, 1:] - surface.corners[:, :1]
        areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
        self.area += float(areas.sum())
        material = surface.material
        if material is None or material.alphaMode == "OPAQUE":
            return np.ones(len(areas), bool)
        alphas = np.zeros(len(areas))
        for size, chosen in by_size(np.broadcast_to(look.texels(), areas.shape)):
            for some in _blocks(chosen, size):
                alpha = look.of(some).alpha(inner_weights(size))
                cut = alpha >= material.alphaCutoff if material.alphaMode == "MASK" else alpha.clip(0, 1)
                alphas[some] = np.broadcast_to(cut, (some.sum(), cut.shape[1])).mean(axis=1)
        self.wrong += float((areas * np.minimum(alphas, 1 - alphas)).sum())
        return alphas >= 0.5

    def look(self, surface: Surface) -> Look:
        """Return what colours a surface."""
        material = surface.material or GltfMaterial()
        glossy = material.extensions.KHR_materials_pbrSpecularGlossiness
        rough = material.pbrMetallicRoughness
        factor, info = (
            (glossy.diffuseFactor, glossy.diffuseTexture) if glossy else (rough.baseColorFactor, rough.baseColorTexture)
        )
        colours = self._vertex_colours(surface)
        bare = surface.material is None and colours is None
        base = self._layer(surface, BARE if bare else factor, info)
        if colours is not None and np.ptp(colours, axis=(0, 1)).max(initial=0) < 1e-6 and len(colours):
            base, colours = replace(base, factor=base.factor * colours[0, 0]), None
        light = np.array(material.emissiveFactor) * material.extensions.KHR_materials_emissive_strength.emissiveStrength
        if material.extensions.KHR_materials_unlit is not None or not light.any():
            return Look(base, Layer(np.zeros(4)), colours)
        return Look(base, self._layer(surface, [*light, 1.0], material.emissiveTexture), colours)

    def _vertex_colours(self, surface: Surface) -> Float[np.ndarray, "F 3 4"] | None:
        """Return the colours of corners in linear light, with alpha."""
        stored = surface.attributes.get("COLOR_0")
        if stored is None:
            return None
        found = np.ones((*stored.shape[:2], 4))
        found[..., : stored.shape[2]] = stored
        if self.vertex_colours == "srgb":
            found[..., :3] = to_linear(found[..., :3])
        return found

    def _layer(self, surface: Surface, factor: list[float], info: TextureInfo | None) -> Layer:
        """Return a colour of a material with its image, if the surface has texture coordinates for it."""
        if info is None:
            return Layer(np.array(factor))
        moved = info.extensions.KHR_texture_transform or Transform()
        uvs = surface.attributes.get(f"TEXCOORD_{info.texCoord if moved.texCoord is None else moved.texCoord}")
        if uvs is None:
            return Layer(np.array(factor))
        document = self.reader.document
        texture = document.textures[info.index]
        if texture.image is None:
            raise ValueError(f"textures.{info.index}: got no PNG, JPEG or WebP; expected one of them")
        sampler = Sampler() if texture.sampler is None else document.samplers[texture.sampler]
        pixels, wrap = self._image(texture.image), (sampler.wrapS, sampler.wrapT)
        return Layer(np.array(factor), Picture(texture.image, pixels, transformed(uvs, moved), wrap))

    def _image(self, index: int) -> Float[np.ndarray, "H W 4"]:
        """Return the pixels of an image; the same array each time."""
        if index not in self._pixels:
            try:
                self._pixels[index] = pixels_of(Image.open(io.BytesIO(self.reader.accessors.image(index))))
            except (OSError, Image.DecompressionBombError) as error:
                raise ValueError(f"images.{index}: {error}") from error
        return self._pixels[index]

    def _texture(self, look: Look) -> Float[np.ndarray, "3 H W"]:
        """Return the texture of a look that has a `Look.whole_picture`; the same array each time."""
        base, emitted = look.base, look.emitted
        key = tuple((layer.picture and layer.picture.image, layer.factor[:3].tobytes()) for layer in (base, emitted))
        if key not in self._textures:
            if base.picture is not None and (base.factor[:3] == 1).all() and not emitted.factor[:3].any():
                colours = base.picture.pixels[..., :3]
            else:
                colours = to_srgb((base.light() + emitted.light()).clip(0, 1))
            self._textures[key] = colours.transpose(2, 0, 1)
        return self._textures[key]


def _charted(corners: Float[np.ndarray, "F 3 3"], look: Look) -> Iterator[Painted]:
    """Yield triangles with a chart each, those of one size in one part."""
    for wanted, chosen in by_size(np.broadcast_to(look.texels(), len(corners))):
        size = largest_chart(int(chosen.sum()), wanted)
        cells = [
            np.broadcast_to(to_srgb(look.of(some).light(chart_weights(size))), (some.sum(), size * size, 3))
            for some in _blocks(chosen, size)
        ]
        yield corners[chosen], *charts(np.concatenate(cells), size)


def _blocks(chosen: Bool[np.ndarray, " F"], size: int) -> Iterator[Bool[np.ndarray, " F"]]:
    """Yield the chosen triangles in blocks that fit into memory."""
    rows = np.flatnonzero(chosen)
    step = max(1, 2**20 // size**2)
    for start in range(0, len(rows), step):
        block = np.zeros(len(chosen), bool)
        block[rows[start : start + step]] = True
        yield block


def transformed(uvs: Float[np.ndarray, "*shape 2"], moved: Transform) -> Float[np.ndarray, "*shape 2"]:
    """Return texture coordinates after KHR_texture_transform: scaled, then turned, then moved.

    Example:
        >>> transformed(np.array([1.0, 0.0]), Transform(offset=[0.0, 1.0], rotation=np.pi / 2, scale=[0.5, 0.5]))
        array([0. , 0.5])
    """
    cos, sin = np.cos(moved.rotation), np.sin(moved.rotation)
    return (uvs * moved.scale) @ np.array([[cos, -sin], [sin, cos]]).round(15) + np.array(moved.offset)


def eight_bits(image: Image.Image) -> Image.Image:
    """Return an image of 16 bits of grey with 8, which Pillow would cut off; others as they are.

    Example:
        >>> eight_bits(Image.fromarray(np.full((1, 1), 25700, np.uint16))).getpixel((0, 0))
        100
    """
    return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)) if image.mode.startswith("I;16") else image


def pixels_of(image: Image.Image) -> Float[np.ndarray, "H W 4"]:
    """Return an image as RGBA in [0, 1], at most `LARGEST` on each side.

    Example:
        >>> pixels_of(Image.new("L", (3, 2), 255)).shape
        (2, 3, 4)
    """
    whole = eight_bits(image).convert("RGBA")
    parts = [whole.convert("RGB"), whole.getchannel("A")]  # apart: where alpha is 0, a colour must stay when scaled
    for part in parts:
        part.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return np.dstack([np.asarray(part) for part in parts]) / 255
