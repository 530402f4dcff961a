"""Find out what is wrong with the weights that heads, priors and judges name, without loading them."""

from __future__ import annotations

import ast
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from avatargen.config.errors import unknown
from avatargen.config.experiment import JudgeSettings, Library
from avatargen.config.places import ROOT
from avatargen.config.plugins import PRIORS
from avatargen.heads.flame.files import flame_notes, flame_problems

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_NONE = [None, None]
"""How ``model_index.json`` states that a pipeline lacks a part."""
_NETWORKS = ("unet", "vae", "movq", "prior", "text_encoder", "image_encoder")


def head_problems(name: str) -> list[str]:
    """Return what is missing of a head model whose files users bring themselves."""
    return flame_problems() if name == "flame" else []


def head_notes(name: str) -> list[str]:
    """Return what a user should know about a head model whose files are complete, one line each."""
    return flame_notes() if name == "flame" else []


def prior_problems(name: str, library: Library, root: Path = ROOT) -> list[str]:
    """Return what is wrong with a prior: its kind, or a folder of weights that is missing or incomplete."""
    prior = library.priors[name]
    where = f"priors.yaml: {name}"
    if prior.kind not in PRIORS:
        return [unknown("kind of prior", prior.kind, PRIORS, where), *_folder_problems(prior.path, where, root)]
    parts = prior.parts
    if len(set(parts)) < len(parts):
        return [f"{where}: path: {prior.path}; expected a decoder's, such as kandinsky-community/kandinsky-2-2-decoder"]
    if (root / prior.path).is_dir():  # then nothing of it is on a hub
        gone = [path for path in parts if not (root / path).is_dir()]
        if gone:
            return [f"{where}: {gone[0]}: no such folder; expected the pipeline that embeds beside the decoder"]
    return [line for path in parts for line in _folder_problems(path, where, root)]


def _folder_problems(path: str, where: str, root: Path) -> list[str]:
    """Return what is wrong with a diffusers folder, or with what may be an id on the hub."""
    folder = root / path
    if not folder.is_dir():
        return _not_a_folder(path, where)
    try:
        parts = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"{where}: {path}/model_index.json: missing or not JSON; expected a diffusers folder"]
    named = [part for part in _NETWORKS if parts.get(part, _NONE) != _NONE]
    missing = [part for part in named if not _has_weights(folder / part)]
    return [
        f"{where}: {path}/{part}: no weights; `avatargen train` makes those of the embedded prior" for part in missing
    ]


def clip_problems(name: str, clip: JudgeSettings, root: Path) -> list[str]:
    """Return what is wrong with a CLIP: its folder, or its name and where its weights come from."""
    folder, where = root / clip.model, f"judges.yaml: {name}"
    if not folder.is_dir():
        return _open_clip_problems(clip, where, root)
    if not (folder / "open_clip_config.json").is_file():
        return [f"{where}: {clip.model}/open_clip_config.json: missing"]
    if not _has_weights(folder):
        return [f"{where}: {clip.model}: no weights; `avatargen train` makes the embedded judge's"]
    return []


def _open_clip_problems(clip: JudgeSettings, where: str, root: Path) -> list[str]:
    """Return what is wrong with a CLIP that is not a folder: open_clip's name for it, or its weights."""
    if clip.model.startswith("hf-hub:"):
        return []
    tags, name = _open_clip_tags(), clip.model.replace("/", "-")
    if name not in tags and "/" in clip.model:
        return [
            f"{where}: model: {clip.model}: no such folder, nor a model of open_clip's; "
            "`avatargen train` makes the embedded ones, hf-hub:OWNER/NAME is one on the hub"
        ]
    if name not in tags:
        return [unknown("open_clip model", clip.model, tags, f"{where}: model")]
    if clip.pretrained is None:
        return [f"{where}: pretrained: missing; expected a tag of open_clip's or a file of weights"]
    if (root / clip.pretrained).is_file() or clip.pretrained.lower().replace("-", "_") in tags[name]:
        return []
    return [unknown("file of weights, nor a tag", clip.pretrained, tags[name], f"{where}: pretrained")]


def _open_clip_tags() -> dict[str, set[str]]:
    """Return open_clip's models with the tags of their weights, read from its files: importing it would load torch."""
    package = Path(str(getattr(find_spec("open_clip"), "origin", ""))).parent
    body = ast.parse((package / "pretrained.py").read_text(encoding="utf-8")).body
    tables: dict[str, Any] = {ast.unparse(n.targets[0]): n.value for n in body if isinstance(n, ast.Assign)}
    named = tables["_PRETRAINED"]
    tags = {file.stem: set() for file in (package / "model_configs").glob("*.json")}
    for key, value in zip(named.keys, named.values, strict=True):
        call = tables.get(getattr(value, "id", ""), value)
        tags[key.value] = {tag.arg for tag in call.keywords}
    return tags


def _not_a_folder(path: str, where: str) -> list[str]:
    """Return nothing for what may be the id of a model on the hub, else a problem."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        return []
    return [f"{where}: {path}: no such folder; `avatargen train` makes the embedded weights"]


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in _WEIGHTS and file.stat().st_size > 0 for file in folder.glob("*"))
