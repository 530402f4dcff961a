"""Clips of exported files: one that shows life, and one that turns a jaw together with its correctives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from avatargen.exchange.visemes import mix_of

CORRECTIVE = "corrective_"
"""Beginning of the names of the correctives' morph targets."""
JAW = "jaw"
OPENING = math.radians(25)
"""Rotation of the jaw in its clip, radians; FLAME's ``jawOpen`` at full strength."""
JAW_KEYS, JAW_SECONDS = 25, 2.0
"""Keys of the jaw's clip, at most 3.3° apart; viewers interpolate between them."""
Knots = Sequence[tuple[float, float]]
"""(second, strength), increasing in time; the strength is linear between them."""
SECONDS = 6.0
BLINK: Knots = ((0.4, 0.0), (0.48, 1.0), (0.56, 1.0), (0.7, 0.0), (4.7, 0.0), (4.78, 1.0), (4.86, 1.0), (5.0, 0.0))
LOOK_LEFT: Knots = ((0.8, 0.0), (0.95, 0.8), (1.5, 0.8), (1.65, 0.0))
LOOK_RIGHT: Knots = ((1.5, 0.0), (1.75, 0.8), (2.3, 0.8), (2.45, 0.0))
SMILE: Knots = ((4.3, 0.0), (4.7, 0.7), (5.4, 0.7), (5.9, 0.0))
SPEECH = ("E", "nn", "O", "U", "sil", "aa", "PP", "I", "FF", "aa", "SS", "sil")
"""Visemes of the clip, a pseudo-sentence; each leads over to the next."""
SPEECH_START, SPEECH_STEP = 2.5, 0.15
"""Seconds."""
LOOKS = {
    "left": ("eyeLookOutLeft", "eyeLookInRight"),
    "right": ("eyeLookInLeft", "eyeLookOutRight"),
}
"""Shapes of a look to the person's own left and right."""
Add = Callable[[np.ndarray], int]
"""Adds 32-bit floats to the file; returns their accessor."""


def demo_clip(names: Sequence[str], rest: Sequence[float], mesh_node: int, add: Add) -> dict[str, Any] | None:
    """Return the JSON of a clip in which the head blinks, looks around, talks and smiles, and add its keys to the file.

    It moves the shapes of ARKit's names that the head has, between what they are in the avatar and 1, and ends as it
    begins. None if the head has none of them.

    Args:
        names: of the morph targets.
        rest: weight of each in the avatar.
        mesh_node: index of the node of the mesh.
        add: adds arrays to the file.
    """
    tracks = {name: knots for name, knots in demo_tracks().items() if name in names}
    if not tracks:
        return None
    times = np.array(sorted({0.0, SECONDS, *(second for knots in tracks.values() for second, _ in knots)}))
    weights = np.tile(np.asarray(rest, float), (len(times), 1))
    for name, knots in tracks.items():
        column = list(names).index(name)
        strength = np.interp(times, *zip(*knots, strict=True), left=0, right=0)
        weights[:, column] += (1 - weights[:, column]) * strength
    return _clip("blink_look_talk", times, {"weights": (mesh_node, weights.ravel())}, add)


def demo_tracks() -> dict[str, Knots]:
    """Return the strength over time of each shape that the clip moves.

    Example:
        >>> demo_tracks()["eyeBlinkLeft"][1]
        (0.48, 1.0)
    """
    tracks: dict[str, Knots] = {f"eyeBlink{side}": BLINK for side in ("Left", "Right")}
    tracks |= dict.fromkeys(LOOKS["left"], LOOK_LEFT) | dict.fromkeys(LOOKS["right"], LOOK_RIGHT)
    tracks |= {f"mouthSmile{side}": SMILE for side in ("Left", "Right")}
    mixes: list[dict[str, float]] = [{}, *(mix_of(f"viseme_{sound}") for sound in SPEECH)]
    for name in sorted({name for mix in mixes for name in mix}):
        tracks[name] = [(round(SPEECH_START + SPEECH_STEP * k, 3), mix.get(name, 0.0)) for k, mix in enumerate(mixes)]
    return tracks


def jaw_clip(
    names: Sequence[str], rest: Sequence[float], mesh_node: int, jaw_node: int, bend: float, add: Add
) -> dict[str, Any]:
    """Return the JSON of a clip that opens and closes the jaw, with the correctives of its pitch.

    Args:
        names: of the morph targets.
        rest: weight of each in the avatar.
        mesh_node, jaw_node: indices of nodes.
        bend: rotation about x of the jaw's node at rest, radians.
        add: adds arrays to the file.
    """
    phase = np.linspace(0, 1, JAW_KEYS)
    angles = OPENING * (1 - np.cos(2 * np.pi * phase)) / 2
    weights = np.tile(np.asarray(rest, float), (JAW_KEYS, 1))
    for part in ("sin", "cos"):
        name = f"{CORRECTIVE}{JAW}_x_{part}"
        if name in names:
            weights[:, list(names).index(name)] = [corrective_weight(part, angle) for angle in angles]
    turns = np.zeros((JAW_KEYS, 4))
    turns[:, 0], turns[:, 3] = np.sin((angles + bend) / 2), np.cos((angles + bend) / 2)
    outputs = {"rotation": (jaw_node, turns), "weights": (mesh_node, weights.ravel())}
    return _clip("jaw_open", JAW_SECONDS * phase, outputs, add)


def corrective_weight(part: str, angle: float) -> float:
    """Return the weight of a corrective for a rotation about its axis, radians.

    Example:
        >>> corrective_weight("cos", 0.0)
        0.0
    """
    return math.sin(angle) if part == "sin" else math.cos(angle) - 1


def _clip(
    name: str, times: Float[np.ndarray, " K"], outputs: dict[str, tuple[int, np.ndarray]], add: Add
) -> dict[str, Any]:
    """Return the JSON of a clip with a channel for each path: (node, values)."""
    time, samplers, channels = add(times.astype("f4")), [], []
    for path, (node, values) in outputs.items():
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
        samplers.append({"input": time, "output": add(values.astype("f4")), "interpolation": "LINEAR"})
    return {"name": name, "samplers": samplers, "channels": channels}
