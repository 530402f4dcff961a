"""Check the JSON files of a diffusers folder before anything walks through them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from avatargen.config.errors import InputError
from avatargen.config.text_files import read_text

LARGEST = 4 * 2**20
"""Bytes of the largest file that is read."""


def _pair(part: list[str | None]) -> list[str | None]:
    if len(part) not in (0, 2):
        raise ValueError(f"got {len(part)} items; expected a library and a class")
    return part


def _not_empty(sizes: int | list[int]) -> int | list[int]:
    if sizes == []:
        raise ValueError("expected one size or several")
    return sizes


Sizes = Annotated[int | list[int], AfterValidator(_not_empty)]
Part = Annotated[list[str | None], AfterValidator(_pair)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Index(_Strict):
    """What is read of ``model_index.json``; a part is its library and its class, or nothing."""

    unet: Part | None = None
    vae: Part | None = None
    movq: Part | None = None
    prior: Part | None = None
    text_encoder: Part | None = None
    text_encoder_2: Part | None = None
    image_encoder: Part | None = None


class _UNet(_Strict):
    """What is read of ``unet/config.json``."""

    in_channels: int | None = None
    sample_size: Sizes | None = None
    cross_attention_dim: int | list[int] | None = None
    encoder_hid_dim_type: str | None = None
    addition_embed_type: str | None = None
    class_embed_type: str | None = None


class _Scheduler(_Strict):
    """What is read of ``scheduler/scheduler_config.json``."""

    prediction_type: str | None = None


class _OpenClip(_Strict):
    """What open_clip reads of ``open_clip_config.json``."""

    model_cfg: dict[str, Any]


CLIP = "open_clip_config.json"
INDEX = "model_index.json"
FILES: dict[str, type[BaseModel]] = {
    INDEX: _Index,
    "unet/config.json": _UNet,
    "scheduler/scheduler_config.json": _Scheduler,
}


def structure_problems(folder: Path) -> dict[str, str]:
    """Return what is wrong with the JSON files of a diffusers folder that are there, by their names."""
    return {name: line for name, model in FILES.items() for line in _problems(folder / name, model)[:1]}


def open_clip_problems(folder: Path) -> list[str]:
    """Return what is wrong with ``open_clip_config.json`` of a folder, one line each."""
    return [f"{CLIP}: {line}" for line in _problems(folder / CLIP, _OpenClip)]


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a small JSON file holds.

    Raises:
        InputError: not readable, or no JSON object.
    """
    text = read_text(path, LARGEST)
    try:
        return TypeAdapter(dict[str, Any]).validate_python(json.loads(text))
    except (ValueError, RecursionError) as error:
        reason = "an object expected" if isinstance(error, ValidationError) else str(error).splitlines()[0]
        raise InputError([f"{path}: not a JSON object: {reason}"]) from error


def _problems(path: Path, model: type[BaseModel]) -> list[str]:
    if not path.exists():
        return []
    try:
        model.model_validate(read_object(path))
    except InputError as error:
        return [line.removeprefix(f"{path}: ") for line in error.problems]
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"][:1]))
        reason = fault["msg"].removeprefix("Value error, ")
        return [f"{where}: got {json.dumps(fault['input'])[:60]}: {reason}"]
    return []
