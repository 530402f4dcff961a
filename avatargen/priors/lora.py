"""Fuse LoRA files (arXiv 2106.09685) into the networks of a pipeline, as diffusers and peft do."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from avatargen.config.errors import InputError
from avatargen.config.settings import LoraSettings


def fuse_loras(pipeline: Any, loras: Iterable[LoraSettings], root: Path) -> None:
    """Add the changes of LoRA files to the weights of UNet and text encoders, in place.

    Args:
        pipeline: of diffusers.
        loras: files and scales.
        root: folder that relative paths start at.

    Raises:
        InputError: a file is missing, of another family or of another format, or peft is not installed.
    """
    for number, lora in enumerate(loras):
        if find_spec("peft") is None:
            raise InputError([f"prior: lora: {lora.path} needs the package peft; `pip install peft`"])
        file, name = root / lora.path, f"lora{number}"
        try:
            pipeline.load_lora_weights(
                str(file.parent), weight_name=file.name, adapter_name=name, local_files_only=True
            )
            fitting = pipeline.get_list_adapters()
            if not fitting:
                raise ValueError("none of its layers is one of the checkpoint's")
            pipeline.fuse_lora(components=sorted(fitting), lora_scale=lora.scale, adapter_names=[name])
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError([f"prior: lora: cannot fuse '{lora.path}' (below {root}): {reason}"]) from error
        pipeline.unload_lora_weights()
