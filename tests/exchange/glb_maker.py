"""Write small GLBs with one feature each, byte by byte, without the writer that the project exports with."""

import base64
import io
import json
import struct

import numpy as np
from PIL import Image

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "f4")
"""A square that faces +z."""
FLAT = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "f4")
"""Its texture coordinates: the image stands upright on it."""
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
"""An image: red, green; blue, white."""


class Glb:
    """Collects the parts of a file; lists of its JSON are attributes of `json`."""

    def __init__(self, **facts):
        self.data = b""
        lists = ("accessors", "bufferViews", "materials", "textures", "images", "samplers", "skins", "nodes", "meshes")
        self.json = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}]}
        self.json |= {name: [] for name in lists} | facts

    def view(self, data, **facts):
        self.data += bytes(-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **facts}
        self.data += data
        return self.add("bufferViews", view)

    def add(self, name, part):
        self.json[name].append(part)
        return len(self.json[name]) - 1

    def accessor(self, rows, view=None, **facts):
        """Add an array; its rows are padded to four bytes, as glTF wants them, where they are attributes."""
        rows = np.asarray(rows)
        kind, width = rows.dtype.str[1:], 1 if rows.ndim == 1 else int(np.prod(rows.shape[1:]))
        name = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width]
        accessor = {"componentType": COMPONENTS[kind], "count": len(rows), "type": name, **facts}
        if view is None and "sparse" not in facts:
            size = width * rows.itemsize
            stride = size if width in (1, 16) else -(-size // 4) * 4
            whole = np.zeros((len(rows), stride), np.uint8)
            whole[:, :size] = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
            view = self.view(whole.tobytes(), **({} if stride == size else {"byteStride": stride}))
        if view is not None:
            accessor["bufferView"] = view
        return self.add("accessors", accessor)

    def image(self, pixels=QUARTERS, format="PNG", scale=8, **texture):
        """Add an image, each pixel `scale` times as large, and a texture of it; return the texture."""
        if not isinstance(pixels, Image.Image):
            pixels = Image.fromarray(np.asarray(pixels).repeat(scale, 0).repeat(scale, 1))
        file = io.BytesIO()
        pixels.save(file, format, **({"lossless": True} if format == "WEBP" else {}))
        source = self.add("images", {"bufferView": self.view(file.getvalue()), "mimeType": f"image/{format.lower()}"})
        return self.add("textures", {"source": source, **texture})

    def material(self, **facts):
        return self.add("materials", facts)

    def textured(self, texture=None, factor=(1, 1, 1, 1), **facts):
        """Add a material with a texture."""
        index = self.image() if texture is None else texture
        rough = {"baseColorTexture": {"index": index}, "baseColorFactor": list(factor)}
        return self.material(pbrMetallicRoughness=rough, **facts)

    def square(self, material=None, node=None, uvs=FLAT, points=SQUARE, more=None, **facts):
        """Add a square and a node that shows it."""
        attributes = {"POSITION": points if isinstance(points, int) else self.accessor(points)}
        if uvs is not None:
            attributes["TEXCOORD_0"] = uvs if isinstance(uvs, int) else self.accessor(uvs)
        primitive = {"attributes": attributes | (more or {}), **facts.pop("primitive", {})}
        if "indices" not in primitive and primitive.get("mode", 4) == 4:
            primitive["indices"] = self.accessor(np.array([0, 1, 2, 0, 2, 3], "u2"))
        primitive = {name: part for name, part in primitive.items() if part is not None}
        if material is not None:
            primitive["material"] = material
        mesh = self.add("meshes", {"primitives": [primitive], **facts})
        return self.add("nodes", {"mesh": mesh, **(node or {})})

    def bytes(self):
        self.data += bytes(-len(self.data) % 4)
        buffers = [{"byteLength": len(self.data)}, *self.json.pop("more_buffers", [])]
        facts = {name: part for name, part in self.json.items() if part != []} | {"buffers": buffers}
        return packed(facts, self.data)


def packed(facts, data=b""):
    """Return a GLB of its JSON and the bytes of its buffer."""
    text = json.dumps(facts).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def data_uri(data):
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()
