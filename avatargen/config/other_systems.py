"""Where another system's avatars lie, meshes or rendered views, and how they lie in space.

A method in ``workflow/config/methods.yaml`` with ``source: imported`` or ``source: frames`` states one of these.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from avatargen.config.frozen import Frozen

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0.0)]

Axis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]
Point = tuple[Number, Number, Number]


def face_height(up: Axis, eyes: Point, chin: Point) -> float:
    """Return how far eyes lie above a chin.

    Example:
        >>> face_height("-z", eyes=(0.0, 1.0, -3.0), chin=(0.0, 0.0, -1.0))
        2.0
    """
    axis = "xyz".index(up[1])
    return (eyes[axis] - chin[axis]) * (1.0 if up[0] == "+" else -1.0)


class MeshSettings(Frozen):
    """Where the meshes of another system lie, and how they lie in space (see `avatargen.exchange.mesh_folder`).

    Their size and place come from eyes and chin, the same for all meshes or a row of a table for each, or from `scale`;
    with none of these, each mesh is centred and made as tall as the template, hair and neck included.
    """

    folder: str = Field(description="relative to the file that names it, or absolute")
    up: Axis = Field("+y", description="the axis to the top of the head")
    front: Axis = Field("+z", description="the axis that the face looks along")
    scale: Positive | None = Field(None, description="metres in a unit of the files, whose origin becomes ours")
    eyes: Point | None = Field(None, description="between the pupils, in the coordinates of all files; with `chin`")
    chin: Point | None = Field(None, description="the chin, in the coordinates of all files; with `eyes`")
    landmarks: str | None = Field(None, description="table in the folder, with eyes and chin of each mesh")
    table: str | None = Field(None, description="table in the folder, with the path of each item's mesh")
    vertex_colours: Literal["linear", "srgb"] = Field(
        "linear", description="how GLBs store vertex colours: linear, as glTF says, or srgb, against its rule"
    )

    @model_validator(mode="after")
    def _consistent(self) -> MeshSettings:
        lines, stated = [], [name for name in ("scale", "eyes", "landmarks") if getattr(self, name) is not None]
        if (self.eyes is None) != (self.chin is None):
            lines.append(f"got {'chin' if self.eyes is None else 'eyes'} alone; expected both eyes and chin")
            stated = [name for name in stated if name != "eyes"]
        if len(stated) > 1:
            lines.append(f"got {' and '.join(stated)}; expected one of scale, eyes with chin, or landmarks")
        if self.up[1] == self.front[1]:
            lines.append(f"up is {self.up} and front is {self.front}; expected two different axes")
        if self.eyes and self.chin and face_height(self.up, self.eyes, self.chin) <= 0:
            lines.append(
                f"eyes {self.eyes} lie no higher than chin {self.chin} along {self.up}; expected them above it"
            )
        if lines:
            raise ValueError("; ".join(lines))
        return self

    @property
    def by_height(self) -> bool:
        """Whether nothing is stated that tells the size of a face."""
        return self.scale is None and self.eyes is None and self.landmarks is None


class FrameSettings(Frozen):
    """Where rendered views of another system lie, and how its cameras turn (see `avatargen.exchange.frame_files`).

    Views state their azimuth in their names, are numbered around one even turn, or have a ``transforms.json`` beside
    them; `up` and `front` hold for the latter alone.
    """

    folder: str = Field(description="relative to the file that names it, or absolute")
    table: str | None = Field(None, description="table in the folder, with the folder of each item's views")
    names: Literal["azimuth", "turn", "closed_turn"] = Field(
        "azimuth",
        description="numbers in names: azimuths in degrees, or places in one even turn, whose last view is one step "
        "before the first, or the first again (closed_turn)",
    )
    face: Number = Field(0.0, description="azimuth of the camera that looks into the face, degrees")
    towards: Literal["left", "right"] = Field(
        "left", description="the head's own side that the camera moves to as azimuths grow"
    )
    up: Axis = Field("+y", description="the axis of transforms.json to the top of the head")
    front: Axis = Field("+z", description="the axis of transforms.json that the face looks along")
    pictures: int = Field(1, ge=1, le=16, description="pictures side by side in each file, of which the first is shown")

    @model_validator(mode="after")
    def _consistent(self) -> FrameSettings:
        if self.up[1] == self.front[1]:
            raise ValueError(f"up is {self.up} and front is {self.front}; expected two different axes")
        return self
