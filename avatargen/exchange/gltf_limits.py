"""Name what of a GLB's scene a viewer shows and we do not read, so that no run starts with it.

The Snakefile checks meshes while it is parsed, so this module imports neither numpy nor torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from avatargen.exchange.gltf_schema import FAN, STRIP, TRIANGLES, Accessor, Gltf, Primitive

READ = frozenset(
    (
        "EXT_meshopt_compression",
        "EXT_texture_webp",
        "KHR_materials_emissive_strength",
        "KHR_materials_pbrSpecularGlossiness",
        "KHR_materials_unlit",
        "KHR_mesh_quantization",
        "KHR_texture_transform",
    )
)
"""Extensions that we read."""
HARMLESS = frozenset(
    (
        "KHR_animation_pointer",
        "KHR_lights_punctual",
        "KHR_materials_anisotropy",
        "KHR_materials_clearcoat",
        "KHR_materials_dispersion",
        "KHR_materials_ior",
        "KHR_materials_iridescence",
        "KHR_materials_sheen",
        "KHR_materials_specular",
        "KHR_materials_variants",
        "KHR_materials_volume",
        "KHR_xmp_json_ld",
    )
)
"""Extensions that change neither geometry nor colours without light."""
DRACO = "KHR_draco_mesh_compression"
_KINDS = ("points", "lines", "a line loop", "a line strip")


def unread(document: Gltf) -> list[str]:
    """Return what we do not read of what a viewer shows, each as ``where: got X; expected Y``.

    Args:
        document: JSON of the file, whose indices are checked.

    Example:
        >>> points = {"attributes": {}, "mode": 0}
        >>> unread(Gltf.model_validate({"nodes": [{"mesh": 0}], "meshes": [{"primitives": [points]}]}))
        ['meshes.0.primitives.0: got points; expected triangles']
    """
    extensions = [name for name in document.extensionsRequired if name not in READ | HARMLESS]
    lines = [f"extensionsRequired: got {name}, which we do not read; export without it" for name in extensions]
    lines += _node_limits(document)
    for number in meshes_shown(document):
        for place, primitive in enumerate(document.meshes[number].primitives):
            where = f"meshes.{number}.primitives.{place}"
            lines += [f"{where}: {problem}" for problem in _primitive_limits(document, primitive, extensions)]
    for number in materials_shown(document):
        lines += [f"materials.{number}: {problem}" for problem in _material_limits(document, number)]
    return lines


def meshes_shown(document: Gltf) -> list[int]:
    """Return the meshes of the scene that viewers show, in order."""
    return sorted({mesh for node in document.shown() if (mesh := document.nodes[node].mesh) is not None})


def materials_shown(document: Gltf) -> list[int]:
    """Return the materials of the scene that viewers show, in order."""
    primitives = [one for mesh in meshes_shown(document) for one in document.meshes[mesh].primitives]
    return sorted({one.material for one in primitives if one.material is not None})


def has_vertex_colours(document: Gltf) -> bool:
    """Return whether a shown primitive has vertex colours."""
    shown = [document.meshes[number] for number in meshes_shown(document)]
    return any("COLOR_0" in primitive.attributes for mesh in shown for primitive in mesh.primitives)


def _node_limits(document: Gltf) -> Iterator[str]:
    """Yield the nodes that show a mesh many times."""
    for number in document.shown():
        if document.nodes[number].extensions.EXT_mesh_gpu_instancing is not None:
            yield f"nodes.{number}: got EXT_mesh_gpu_instancing; expected a node for each instance"


def _primitive_limits(document: Gltf, primitive: Primitive, named: list[str]) -> Iterator[str]:
    """Yield what a primitive holds besides triangles with accessors that hold something."""
    if primitive.extensions.KHR_gaussian_splatting is not None:
        yield "got Gaussian splats; expected triangles"
    elif primitive.mode not in (TRIANGLES, STRIP, FAN):
        yield f"got {_KINDS[primitive.mode]}; expected triangles"
    indices = () if primitive.indices is None else (primitive.indices,)
    empty = [_is_empty(document.accessors[one]) for one in (*primitive.attributes.values(), *indices)]
    if primitive.extensions.KHR_draco_mesh_compression is not None and any(empty) and DRACO not in named:
        yield f"got {DRACO} alone; expected an uncompressed copy beside it, or none of it"


def _is_empty(accessor: Accessor) -> bool:
    return accessor.bufferView is None and accessor.sparse is None


def _material_limits(document: Gltf, number: int) -> Iterator[str]:
    """Yield what a material shows and we do not: images in other formats, and glass."""
    material = document.materials[number]
    glossy = material.extensions.KHR_materials_pbrSpecularGlossiness
    base = glossy.diffuseTexture if glossy else material.pbrMetallicRoughness.baseColorTexture
    for texture in (base, material.emissiveTexture):
        if texture is not None and document.textures[texture.index].image is None:
            yield f"got textures.{texture.index} in a format that we do not read; expected PNG, JPEG or WebP"
    glass = material.extensions.KHR_materials_transmission.transmissionFactor
    if glass > 0:
        yield f"got glass (KHR_materials_transmission: {glass:g}); expected an opaque material"
