"""Where the cameras stand: random for training, fixed for evaluation and turntables.

Nothing here has state. What is random is a function of the integers (avatar's seed, step, view, stream), so
an avatar's cameras and noise do not depend on its place in the batch, on its batch mates or on an
interruption. The hash is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
Generators", 2014, fig. 15) applied to one integer after the other, in exact 64-bit arithmetic.

Framing: a head with its neck is 0.25 to 0.3 m tall, and tall hair adds to that; from 1.22 m with a field of
view of 18 degrees the image is 0.386 m tall around `CENTRE`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import CameraSettings
from avatargen.geometry.types import Cameras

DISTANCE = 1.22  # metres
FOV = 18.0  # degrees
CENTRE = (0.0, 0.015, 0.0)  # metres; what cameras look at
FACE = (0.0, 0.015, 0.02)  # metres; what close-ups look at

# Streams of random numbers that must be independent of each other. Callers' own streams start at 0.
_CLOSE, _OFFSET, _AZIMUTH, _ELEVATION, _DISTANCE, _FOV, _TARGET, _NOISE = range(-8, 0)


def training_cameras(seeds: Int[Tensor, " B"], step: int, views: int, ranges: CameraSettings) -> Cameras:
    """The (B, V) cameras of one optimisation step, a function of (seed, step, view) alone.

    The V azimuths of a step fall into V equal shares of the distribution, which are rotated at random
    together, so that each view on its own is distributed as the ranges say: elevation, distance and field of
    view uniform, the point looked at uniform in a cube, and azimuths with density 1 + b cos x, where b is
    `front_bias` and x runs from -pi to pi over their range. On the device of the seeds.
    """
    offset = _uniform(seeds, step, 1, _OFFSET)
    place = offset + (np.arange(views) + _uniform(seeds, step, views, _AZIMUTH)) / views
    low, high = ranges.azimuth
    angle = _biased_angle(place % 1.0, ranges.front_bias)
    azimuth = 0.5 * (low + high) + 0.5 * (high - low) * angle / np.pi
    elevation = _between(_uniform(seeds, step, views, _ELEVATION), ranges.elevation)
    distance = _between(_uniform(seeds, step, views, _DISTANCE), ranges.distance)
    close = _uniform(seeds, step, views, _CLOSE) < ranges.close
    fov = _uniform(seeds, step, views, _FOV)
    fov = np.where(close, _between(fov, ranges.close_fov), _between(fov, ranges.fov))
    cube = _uniform(seeds, step, 3 * views, _TARGET).reshape(len(seeds), views, 3)
    centre = np.where(close[..., None], FACE, CENTRE)
    target = _between(cube, (-ranges.target_jitter, ranges.target_jitter)) + centre
    fields = (azimuth, elevation, distance, fov, target)
    return Cameras(*(torch.from_numpy(field.astype(np.float32)).to(seeds.device) for field in fields))


def usual_framing(ranges: CameraSettings) -> tuple[float, float]:
    """Distance (metres) and field of view (degrees) amid those that a prior is used to."""
    return sum(ranges.distance) / 2, sum(ranges.fov) / 2


def evaluation_cameras(
    batch: int,
    views: int = 8,
    elevation: float = 10.0,
    distance: float = DISTANCE,
    fov: float = FOV,
    device: torch.device | str = "cpu",
) -> Cameras:
    """The evaluation's fixed views: azimuths from 0 (the face) in equal steps, the same for every avatar."""
    azimuth = torch.arange(views, dtype=torch.float32, device=device) * (360.0 / views)
    azimuth = azimuth.expand(batch, views).contiguous()
    constants = (torch.full_like(azimuth, value) for value in (elevation, distance, fov))
    target = torch.tensor(CENTRE, device=device).expand(batch, views, 3).contiguous()
    return Cameras(azimuth, *constants, target=target)


def turntable_cameras(
    batch: int, frames: int, elevation: float = 10.0, fov: float = FOV, device: torch.device | str = "cpu"
) -> Cameras:
    """One full turn in `frames` views, from the face and towards the subject's left."""
    return evaluation_cameras(batch, frames, elevation, fov=fov, device=device)


def keyed_uniform(seeds: Int[Tensor, " B"], step: int, views: int, stream: int) -> Float[Tensor, "B {views}"]:
    """Numbers in [0, 1) that are a function of (seed, step, view, stream) alone; float32, on the seeds'
    device.

    Args:
        stream: 0 or above; different streams are independent.
    """
    if stream < 0:
        raise ValueError(f"keyed_uniform: expected a stream of 0 or above, got {stream}")
    bits = _keys(seeds, step, views, stream) >> np.uint64(40)
    return torch.from_numpy((bits * 2.0**-24).astype(np.float32)).to(seeds.device)


def keyed_noise(
    seeds: Int[Tensor, " B"], step: int, views: int, shape: tuple[int, ...]
) -> Float[Tensor, "B {views} ..."]:
    """Standard normal numbers (B, V, *shape) that are a function of (seed, step, view) alone.

    Drawn on the CPU whatever the device, so that devices agree; returned on the seeds' device.
    """
    noise = torch.empty(len(seeds), views, *shape)
    for row, keys in zip(noise, _keys(seeds, step, views, _NOISE), strict=True):
        for image, key in zip(row, keys, strict=True):
            image.normal_(generator=torch.Generator().manual_seed(int(key >> np.uint64(1))))
    return noise.to(seeds.device)


def _keys(seeds: Int[Tensor, " B"], step: int, views: int, stream: int) -> np.ndarray:
    """Hashes of (seed, step, view, stream), (B, V) uint64."""
    state = _mix(seeds.cpu().numpy().astype(np.int64).view(np.uint64)[:, None])
    for number in (np.int64(step), np.arange(views, dtype=np.int64), np.int64(stream)):
        state = _mix(state ^ _mix(np.atleast_1d(number).view(np.uint64)))
    return state


def _mix(state: np.ndarray) -> np.ndarray:
    """One SplitMix64 output for each state."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _uniform(seeds: Int[Tensor, " B"], step: int, views: int, stream: int) -> np.ndarray:
    """Numbers in [0, 1), (B, V) float64."""
    return (_keys(seeds, step, views, stream) >> np.uint64(11)) * 2.0**-53


def _between(uniform: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def _biased_angle(uniform: np.ndarray, bias: float) -> np.ndarray:
    """Angles in [-pi, pi] with density (1 + bias cos x) / 2 pi: bisects its cumulative distribution."""
    low, high = np.full_like(uniform, -np.pi), np.full_like(uniform, np.pi)
    for _ in range(40):  # down to 2 pi / 2^40, below float32
        middle = 0.5 * (low + high)
        below = 0.5 + (middle + bias * np.sin(middle)) / (2 * np.pi) < uniform
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)
