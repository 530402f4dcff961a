"""Cameras: random for training, fixed for evaluation; and the random numbers of the method.

Nothing here has state. Every random number is a function of the integers (avatar's key, step, view, stream), so an
avatar's cameras and noise do not depend on its place in the batch, on its batch mates or on an interruption. The hash
is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014, fig. 15), applied to one
integer after the other in exact 64-bit arithmetic.

A key is a hash of prompt and seed (`avatargen.config.prompts.draw_key`). Keys belong on the CPU, where all of this is
computed: reading them from a GPU would wait for it. Noise for a GPU is made there, see `avatargen.geometry.noise`.

Framing: a head with its neck is 0.25 to 0.3 m tall, and tall hair adds to that. From 1.22 m with a field of view of 18
degrees the image is 0.386 m tall around `CENTRE`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avatargen.config.settings import CameraSettings
from avatargen.geometry.noise import normal
from avatargen.geometry.transfer import to_device
from avatargen.geometry.types import Cameras

DISTANCE = 1.22  # metres
FOV = 18.0  # degrees
CENTRE = (0.0, 0.015, 0.0)  # metres; the point that cameras look at
FACE = (0.0, 0.015, 0.02)  # metres; the point that close-ups look at

# Independent streams of random numbers. Callers' own streams start at 0.
_CLOSE, _OFFSET, _AZIMUTH, _ELEVATION, _DISTANCE, _FOV, _TARGET, _NOISE = range(-8, 0)


def training_cameras(keys: Int[Tensor, " B"], step: int, views: int, ranges: CameraSettings) -> Cameras:
    """Return the (B, V) cameras of one optimisation step, a function of (key, step, view) alone.

    Elevation, distance and field of view are uniform in their ranges, the point looked at is uniform in a cube, and
    azimuths have the density 1 + b cos x, where b is `front_bias` and x runs from -pi to pi over their range. The V
    azimuths of a step are stratified: one in each of V equal shares of the distribution, with a random common offset.

    Args:
        keys: one for each avatar, on the CPU, as the cameras are.
        step: of the optimisation.
        views: V.
        ranges: degrees and metres.

    Example:
        >>> cameras = training_cameras(torch.tensor([0, 1]), step=0, views=4, ranges=CameraSettings())
        >>> again = training_cameras(torch.tensor([1]), step=0, views=4, ranges=CameraSettings())
        >>> cameras.fov.shape, torch.equal(cameras.azimuth[1:], again.azimuth)
        (torch.Size([2, 4]), True)
    """
    offset = _uniform(keys, step, 1, _OFFSET)
    place = offset + (np.arange(views) + _uniform(keys, step, views, _AZIMUTH)) / views
    low, high = ranges.azimuth
    angle = _biased_angle(place % 1.0, ranges.front_bias)
    azimuth = 0.5 * (low + high) + 0.5 * (high - low) * angle / np.pi
    elevation = _between(_uniform(keys, step, views, _ELEVATION), ranges.elevation)
    distance = _between(_uniform(keys, step, views, _DISTANCE), ranges.distance)
    close = _uniform(keys, step, views, _CLOSE) < ranges.close
    fov = _uniform(keys, step, views, _FOV)
    fov = np.where(close, _between(fov, ranges.close_fov), _between(fov, ranges.fov))
    cube = _uniform(keys, step, 3 * views, _TARGET).reshape(len(keys), views, 3)
    centre = np.where(close[..., None], FACE, CENTRE)
    target = _between(cube, (-ranges.target_jitter, ranges.target_jitter)) + centre
    fields = (azimuth, elevation, distance, fov, target)
    return Cameras(*(torch.from_numpy(field.astype(np.float32)) for field in fields))


def usual_framing(ranges: CameraSettings) -> tuple[float, float]:
    """Return the middle of a prior's distances (metres) and of its fields of view (degrees).

    Example:
        >>> usual_framing(CameraSettings(distance=(1.0, 1.5), fov=(16.0, 20.0)))
        (1.25, 18.0)
    """
    return sum(ranges.distance) / 2, sum(ranges.fov) / 2


def evaluation_cameras(
    batch: int,
    views: int = 8,
    elevation: float = 10.0,
    distance: float = DISTANCE,
    fov: float = FOV,
    device: torch.device | str = "cpu",
    target: tuple[float, float, float] = CENTRE,
) -> Cameras:
    """Return fixed views, the same for every avatar: azimuths in equal steps from 0 (the face).

    Args:
        batch: number of avatars.
        views: number of views of each.
        elevation: degrees.
        distance: metres.
        fov: vertical field of view, degrees.
        device: of the cameras.
        target: point that they look at, metres.

    Example:
        >>> evaluation_cameras(batch=1, views=4).azimuth.tolist()
        [[0.0, 90.0, 180.0, 270.0]]
    """
    azimuth = torch.arange(views, dtype=torch.float32, device=device) * (360.0 / views)
    azimuth = azimuth.expand(batch, views).contiguous()
    constants = (torch.full_like(azimuth, value) for value in (elevation, distance, fov))
    points = torch.tensor(target, device=device).expand(batch, views, 3).contiguous()
    return Cameras(azimuth, *constants, target=points)


def keyed_uniform(keys: Int[Tensor, " B"], step: int, views: int, stream: int) -> Float[Tensor, "B {views}"]:
    """Return uniform random numbers in [0, 1), a function of (key, step, view, stream) alone.

    Args:
        keys: one for each avatar, on the CPU, as the result is.
        step: of the optimisation.
        views: numbers for each avatar.
        stream: 0 or above; different streams are independent.

    Raises:
        ValueError: the stream is negative.

    Example:
        >>> numbers = keyed_uniform(torch.tensor([7, 8]), step=3, views=2, stream=0)
        >>> torch.equal(numbers[1:], keyed_uniform(torch.tensor([8]), step=3, views=2, stream=0))
        True
    """
    if stream < 0:
        raise ValueError(f"keyed_uniform: got stream {stream}; expected 0 or above")
    bits = _hashes(keys, step, views, stream) >> np.uint64(40)
    return torch.from_numpy((bits * 2.0**-24).astype(np.float32))


def keyed_noise(
    keys: Int[Tensor, " B"], step: int, views: int, shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> Float[Tensor, "B {views} ..."]:
    """Return standard normal numbers (B, V, *shape), a function of (key, step, view) and the kind of device alone.

    For the CPU they come from torch's generator; for a GPU, where drawing on the host would take longer than the step,
    from `avatargen.geometry.noise.normal`. The two differ.

    Args:
        keys: one for each avatar, on the CPU.
        step: of the optimisation.
        views: V.
        shape: of each view's noise.
        device: of the result.

    Example:
        >>> keyed_noise(torch.tensor([7, 8]), step=3, views=2, shape=(4, 64, 64)).shape
        torch.Size([2, 2, 4, 64, 64])
    """
    hashes, device = _hashes(keys, step, views, _NOISE), torch.device(device)
    if device.type != "cpu":
        (on_device,) = to_device([torch.from_numpy(hashes.view(np.int64))], device)
        return normal(on_device, shape)
    noise = torch.empty(len(keys), views, *shape)
    for row, row_hashes in zip(noise, hashes, strict=True):
        for image, number in zip(row, row_hashes, strict=True):
            image.normal_(generator=torch.Generator().manual_seed(int(number >> np.uint64(1))))
    return noise


def _hashes(keys: Int[Tensor, " B"], step: int, views: int, stream: int) -> np.ndarray:
    """Return hashes of (key, step, view, stream), (B, V) uint64."""
    state = _mix(keys.numpy().astype(np.int64).view(np.uint64)[:, None])
    for number in (np.int64(step), np.arange(views, dtype=np.int64), np.int64(stream)):
        state = _mix(state ^ _mix(np.atleast_1d(number).view(np.uint64)))
    return state


def _mix(state: np.ndarray) -> np.ndarray:
    """Return one SplitMix64 output for each state."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _uniform(keys: Int[Tensor, " B"], step: int, views: int, stream: int) -> np.ndarray:
    """Return uniform random numbers in [0, 1), (B, V) float64."""
    return (_hashes(keys, step, views, stream) >> np.uint64(11)) * 2.0**-53


def _between(uniform: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Map numbers in [0, 1) to a range."""
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def _biased_angle(uniform: np.ndarray, bias: float) -> np.ndarray:
    """Map numbers in [0, 1) to angles in [-pi, pi] of density (1 + bias cos x) / 2 pi, by bisection of its integral."""
    low, high = np.full_like(uniform, -np.pi), np.full_like(uniform, np.pi)
    for _ in range(40):  # to 2 pi / 2^40, finer than float32
        middle = 0.5 * (low + high)
        below = 0.5 + (middle + bias * np.sin(middle)) / (2 * np.pi) < uniform
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)
