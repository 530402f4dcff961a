"""Describe the JSON of glTF 2.0: the parts that decide the geometry and the colours of what a viewer shows.

Source: Khronos, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html, and its registry of extensions. Other fields
are ignored. :mod:`avatargen.exchange.gltf_document` reads files as these models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, model_validator

SIZES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
"""Bytes of a number of each component type."""
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
"""Numbers in an element of each type of accessor."""
TRIANGLES, STRIP, FAN = 4, 5, 6
"""Modes of primitives that are surfaces."""


@dataclass(frozen=True)
class To:
    """Marks a field that holds indices, with the name of the list that they refer to."""

    list: str


class Part(BaseModel):
    """A part of glTF; what it holds beside its fields is not looked at."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """Drop nulls, which some exporters write for what is absent."""
        return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


Count = Annotated[int, Field(ge=0)]
ToView = Annotated[Count, To("bufferViews")]
ToNodes = Annotated[list[Count], To("nodes")]
ToAccessors = Annotated[dict[str, Count], To("accessors")]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]
Four = Annotated[list[float], Field(min_length=4, max_length=4)]
Component = Literal[5120, 5121, 5122, 5123, 5125, 5126]


class Scene(Part):
    nodes: ToNodes = []


class NodeExtensions(Part):
    EXT_mesh_gpu_instancing: Part | None = None


class Node(Part):
    children: ToNodes = []
    mesh: Annotated[Count | None, To("meshes")] = None
    skin: Annotated[Count | None, To("skins")] = None
    matrix: Annotated[list[float], Field(min_length=16, max_length=16)] | None = None
    translation: Triple = [0.0, 0.0, 0.0]
    rotation: Four = [0.0, 0.0, 0.0, 1.0]
    scale: Triple = [1.0, 1.0, 1.0]
    weights: list[float] = []
    extensions: NodeExtensions = NodeExtensions()


class PrimitiveExtensions(Part):
    KHR_draco_mesh_compression: Part | None = None
    KHR_gaussian_splatting: Part | None = None


class Primitive(Part):
    attributes: ToAccessors
    indices: Annotated[Count | None, To("accessors")] = None
    material: Annotated[Count | None, To("materials")] = None
    mode: Annotated[int, Field(ge=0, le=6)] = TRIANGLES
    targets: list[ToAccessors] = []
    extensions: PrimitiveExtensions = PrimitiveExtensions()


class GltfMesh(Part):
    primitives: list[Primitive]
    weights: list[float] = []


class SparseIndices(Part):
    bufferView: ToView
    byteOffset: Count = 0
    componentType: Literal[5121, 5123, 5125]


class SparseValues(Part):
    bufferView: ToView
    byteOffset: Count = 0


class Sparse(Part):
    count: Count
    indices: SparseIndices
    values: SparseValues


class Accessor(Part):
    bufferView: Annotated[Count | None, To("bufferViews")] = None
    byteOffset: Count = 0
    componentType: Component
    normalized: bool = False
    count: Count
    type: Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"]
    sparse: Sparse | None = None

    @property
    def element(self) -> int:
        """Return the bytes of an element."""
        return SIZES[self.componentType] * WIDTHS[self.type]


class Compressed(Part):
    """A view's compressed bytes (EXT_meshopt_compression)."""

    buffer: Annotated[Count, To("buffers")]
    byteOffset: Count = 0
    byteLength: Count
    byteStride: Annotated[int, Field(ge=1, le=256)]
    count: Count
    mode: Literal["ATTRIBUTES", "TRIANGLES", "INDICES"]
    filter: Literal["NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL"] = "NONE"


class ViewExtensions(Part):
    EXT_meshopt_compression: Compressed | None = None


class BufferView(Part):
    buffer: Annotated[Count, To("buffers")]
    byteOffset: Count = 0
    byteLength: Count
    byteStride: Annotated[int, Field(ge=1, le=256)] | None = None
    extensions: ViewExtensions = ViewExtensions()


class GltfBuffer(Part):
    uri: str | None = None
    byteLength: Count


class Transform(Part):
    """A map of texture coordinates (KHR_texture_transform)."""

    offset: Pair = [0.0, 0.0]
    rotation: float = 0.0
    scale: Pair = [1.0, 1.0]
    texCoord: Count | None = None


class TextureInfoExtensions(Part):
    KHR_texture_transform: Transform | None = None


class TextureInfo(Part):
    index: Annotated[Count, To("textures")]
    texCoord: Count = 0
    extensions: TextureInfoExtensions = TextureInfoExtensions()


class MetallicRoughness(Part):
    baseColorFactor: Four = [1.0, 1.0, 1.0, 1.0]
    baseColorTexture: TextureInfo | None = None


class SpecularGlossiness(Part):
    diffuseFactor: Four = [1.0, 1.0, 1.0, 1.0]
    diffuseTexture: TextureInfo | None = None


class EmissiveStrength(Part):
    emissiveStrength: float = 1.0


class Transmission(Part):
    transmissionFactor: float = 0.0


class MaterialExtensions(Part):
    KHR_materials_unlit: Part | None = None
    KHR_materials_pbrSpecularGlossiness: SpecularGlossiness | None = None
    KHR_materials_emissive_strength: EmissiveStrength = EmissiveStrength()
    KHR_materials_transmission: Transmission = Transmission()


class GltfMaterial(Part):
    pbrMetallicRoughness: MetallicRoughness = MetallicRoughness()
    emissiveFactor: Triple = [0.0, 0.0, 0.0]
    emissiveTexture: TextureInfo | None = None
    alphaMode: Literal["OPAQUE", "MASK", "BLEND"] = "OPAQUE"
    alphaCutoff: float = 0.5
    extensions: MaterialExtensions = MaterialExtensions()


class TextureSource(Part):
    source: Annotated[Count | None, To("images")] = None


class TextureExtensions(Part):
    EXT_texture_webp: TextureSource = TextureSource()


class Texture(TextureSource):
    sampler: Annotated[Count | None, To("samplers")] = None
    extensions: TextureExtensions = TextureExtensions()

    @property
    def image(self) -> int | None:
        """Return the index of the image that we read; None if it is only in formats that we do not read."""
        webp = self.extensions.EXT_texture_webp.source
        return self.source if webp is None else webp


class GltfImage(Part):
    uri: str | None = None
    bufferView: Annotated[Count | None, To("bufferViews")] = None


class Sampler(Part):
    wrapS: Literal[33071, 33648, 10497] = 10497
    wrapT: Literal[33071, 33648, 10497] = 10497


class Skin(Part):
    joints: ToNodes
    inverseBindMatrices: Annotated[Count | None, To("accessors")] = None


class Asset(Part):
    generator: str = ""


class Gltf(Part):
    """The JSON of a file."""

    asset: Asset = Asset()
    scene: Annotated[Count | None, To("scenes")] = None
    scenes: list[Scene] = []
    nodes: list[Node] = []
    meshes: list[GltfMesh] = []
    accessors: list[Accessor] = []
    bufferViews: list[BufferView] = []
    buffers: list[GltfBuffer] = []
    materials: list[GltfMaterial] = []
    textures: list[Texture] = []
    images: list[GltfImage] = []
    samplers: list[Sampler] = []
    skins: list[Skin] = []
    extensionsRequired: list[str] = []

    def shown(self) -> list[int]:
        """Return the nodes of the scene that viewers show first: ``scene``, else the first, else all nodes.

        Example:
            >>> Gltf.model_validate({"scenes": [{"nodes": [1]}], "nodes": [{}, {"children": [2]}, {}]}).shown()
            [1, 2]
        """
        inner = {child for node in self.nodes for child in node.children}
        scene = self.scenes[self.scene or 0].nodes if self.scenes else sorted({*range(len(self.nodes))} - inner)
        waiting, found = list(scene), []
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.append(node)
                waiting += self.nodes[node].children
        return sorted(found)

    def files(self) -> list[str]:
        """Return the names of the files that the file refers to."""
        uris = [part.uri for part in (*self.buffers, *self.images) if part.uri is not None]
        return [unquote(uri) for uri in dict.fromkeys(uris) if not uri.startswith("data:")]
