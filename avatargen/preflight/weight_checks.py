"""Find out what is wrong with the weights that heads, priors and judges name, without loading them."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from avatargen.config.errors import unknown
from avatargen.config.experiment import JudgeSettings, Library
from avatargen.config.places import ROOT
from avatargen.config.plugins import PRIORS, READERS
from avatargen.config.settings import PriorSettings
from avatargen.heads.flame.files import flame_notes, flame_problems
from avatargen.io.checkpoint_files import (
    Facts,
    choose_variant,
    find_checkpoint,
    identify,
    identify_file,
    identify_folder,
    is_hub_id,
    part_config,
    read_index,
    tensor_shapes,
    variants,
)
from avatargen.preflight.checkpoint_structure import INDEX, open_clip_problems, structure_problems
from avatargen.preflight.weight_files import SUFFIXES, file_problem, folder_problems

_PIPELINES = {"StableDiffusionXL": "sdxl", "StableDiffusion": "stable_diffusion", "KandinskyV22": "kandinsky"}
"""How the classes of pipelines begin, by what loads them; the first that fits counts."""
SIBLINGS, SIBLINGS_MAKER = "build/siblings/", "python -m avatargen.training.siblings"
"""Where earlier stages of the embedded prior lie, and the command that puts them there."""
_STABLE = ("unet", "vae", "text_encoder", "tokenizer")
_NEEDED = {
    "stable_diffusion": _STABLE,
    "sdxl": (*_STABLE, "text_encoder_2", "tokenizer_2"),
    "kandinsky": ("unet", "movq"),
}
"""Parts of a diffusers folder that a kind of prior loads."""
_EMBEDDER = ("prior", "text_encoder", "image_encoder", "tokenizer")
"""Parts of the pipeline that embeds texts for Kandinsky's decoder."""
NETWORKS = tuple(dict.fromkeys([part for parts in (*_NEEDED.values(), _EMBEDDER) for part in parts]))
"""Parts that another kind of prior may load."""


def head_problems(name: str) -> list[str]:
    """Return what is missing of a head model whose files users bring themselves."""
    return flame_problems() if name.startswith("flame") else []


def head_notes(name: str) -> list[str]:
    """Return what a user should know about a head model whose files are complete, one line each."""
    return flame_notes() if name.startswith("flame") else []


def prior_problems(name: str, library: Library, root: Path = ROOT) -> list[str]:
    """Return what is wrong with a prior: its kind, weights that are missing, incomplete or of another family.

    Of a model on the hub, only what is in the hub's cache is looked at.
    """
    prior = library.priors[name]
    where = f"priors.yaml: {name}"
    if prior.kind not in PRIORS:
        return [unknown("kind of prior", prior.kind, PRIORS, where)]
    parts = prior.parts
    if len(set(parts)) < len(parts):
        return [f"{where}: path: {prior.path}; expected a decoder's, such as kandinsky-community/kandinsky-2-2-decoder"]
    if (root / prior.path).is_dir():  # then nothing of it is on a hub
        gone = [path for path in parts if not (root / path).is_dir()]
        if gone:
            return [f"{where}: {gone[0]}: no such folder; expected the pipeline that embeds beside the decoder"]
    lines = [line for path in parts for line in _checkpoint_problems(path, prior, where, root)]
    return [*lines, *_extra_problems(prior, where, root)]


def prior_notes(name: str, library: Library, root: Path = ROOT) -> list[str]:
    """Return what a user should know of a prior that `prior_problems` finds nothing wrong with.

    A latent size that is not the weights' own is no error, since their UNets take any: a smaller one is faster and
    shows less, which a test of a set-up may want.
    """
    prior, where = library.priors[name], f"priors.yaml: {name}"
    place, facts = find_checkpoint(prior.path, root, prior.revision), _facts(prior, root)
    if place is None or facts is None:
        return []
    own, lines = _own_size(facts, prior, root), []
    if own and own != prior.latent_size:
        lines.append(f"{where}: latent_size: got {prior.latent_size}; the weights are made for {own}")
    if place.is_dir() and not facts.has_scheduler and facts.kind != "kandinsky":
        lines.append(f"{where}: no scheduler file; noise schedule and prediction type are {facts.name}'s")
    for part in _NEEDED.get(prior.kind, ()) if place.is_dir() else ():
        found = variants(place / part)
        chosen = choose_variant(place / part, prior.variant)
        if found and chosen != prior.variant:
            lines.append(f"{where}: {part}: loads the {chosen or 'usual'} weights; there are no others that fit")
    return lines


def _facts(prior: PriorSettings, root: Path) -> Facts | None:
    """Return what a prior's checkpoint is; None if it is not on this machine, or not enough of it."""
    place = find_checkpoint(prior.path, root, prior.revision)
    if place is None:
        return None
    try:
        facts = identify(place)
    except (OSError, ValueError):
        return None
    return facts if place.is_file() or facts.kind is None or part_config(place, "unet") else None


def _own_size(facts: Facts, prior: PriorSettings, root: Path) -> int | None:
    """Return the latent size that a prior's weights are made for, as far as it is known."""
    if facts.latent_size is None and facts.name == "Stable Diffusion 2.x":
        return {"v_prediction": 96, "epsilon": 64}.get(prior.prediction or "")
    configured = part_config(root / prior.config, "unet").get("sample_size") if prior.config else None
    return configured if isinstance(configured, int) else facts.latent_size


def _checkpoint_problems(path: str, prior: PriorSettings, where: str, root: Path) -> list[str]:
    """Return what is wrong with a folder, a single file, or what may be an id on the hub."""
    place = find_checkpoint(path, root, prior.revision)
    if place is None:
        return _not_a_folder(path, where)
    if place.is_file():
        return _file_problems(path, place, prior, where)
    if not place.is_dir():
        return [f"{where}: {path}: got a pipe or a device; expected a folder or a file"]
    cached, wrong = not (root / path).is_dir(), structure_problems(place)
    if wrong:
        others = _part_problems(path, place, read_index(place), prior, where) if INDEX not in wrong else []
        told = [f"{where}: {path}/{name}: " for name in wrong]
        lines = [f"{where}: {path}/{name}: {line}" for name, line in wrong.items()]
        return lines + [line for line in others if not line.startswith(tuple(told))]
    try:
        index = read_index(place)
    except (OSError, ValueError):
        missing = f"{where}: {path}/model_index.json: missing or not JSON; expected a diffusers folder"
        return [] if cached else [missing]  # a snapshot may hold other files of the model
    if path == prior.path and (part_config(place, "unet") or "unet" not in index or not cached):
        facts = identify_folder(place)
        if facts.kind != prior.kind and prior.kind in _NEEDED:
            return [_other_kind(path, facts, prior.kind, where)]
        pipeline = str(index.get("_class_name", ""))
        if (stated := _kind_of_pipeline(pipeline)) not in (None, prior.kind):
            got = f"{where}: {path}/model_index.json: got {pipeline}, which is kind: {stated}"
            return [f"{got}; the UNet is {facts.name}'s, kind: {prior.kind}; expected one of both throughout"]
        if facts.name == "Stable Diffusion 2.x" and not (facts.has_scheduler or prior.prediction or cached):
            return [f"{where}: {path}/scheduler: missing; expected it, or `prediction: epsilon` or `v_prediction`"]
        if facts.kind == "kandinsky" and not (facts.has_scheduler or cached):
            return [f"{where}: {path}/scheduler/scheduler_config.json: missing or not JSON"]
    return [] if cached else _part_problems(path, place, index, prior, where)


def _part_problems(path: str, folder: Path, index: dict[str, Any], prior: PriorSettings, where: str) -> list[str]:
    """Return which parts of a diffusers folder are missing or lack the variant that is asked for."""
    needed = _NEEDED.get(prior.kind, NETWORKS) if path == prior.path else _EMBEDDER
    needed = [part for part in needed if part in index and not (part == "vae" and prior.vae)]
    networks = [part for part in needed if not part.startswith("tokenizer")]
    missing = [part for part in networks if not has_weights(folder / part)]
    lines = [
        f"{where}: {path}/{part}: no weights; `avatargen train` makes those of the embedded prior" for part in missing
    ]
    for part in [part for part in networks if part not in missing]:
        if structure_problems(folder).keys() & {f"{part}/config.json"} or not part_config(folder, part):
            lines.append(f"{where}: {path}/{part}/config.json: missing or not JSON")
        lines += [f"{where}: {path}/{part}/{line}" for line in folder_problems(folder / part, prior.variant)]
    for part in [part for part in needed if part.startswith("tokenizer") and not any((folder / part).glob("*"))]:
        lines.append(f"{where}: {path}/{part}: missing; expected the files of a tokenizer")
    found = set().union(*(variants(folder / part) for part in networks))
    if prior.variant and found and prior.variant not in found:
        listed = ", ".join(sorted(name or "the usual one" for name in found))
        lines.append(f"{where}: variant: got '{prior.variant}'; expected one that is in {path}: {listed}")
    return lines


def _file_problems(path: str, file: Path, prior: PriorSettings, where: str) -> list[str]:
    """Return what is wrong with a single-file checkpoint."""
    if file.suffix != ".safetensors":
        return [f"{where}: {path}: not a safetensors file; expected one, or a diffusers folder"]
    if problem := file_problem(file):
        return [f"{where}: {path}: {problem}; expected a safetensors file, or a diffusers folder"]
    facts = identify_file(tensor_shapes(file))
    if facts.kind != prior.kind:
        return [_other_kind(path, facts, prior.kind, where)]
    lines = []
    if not facts.has_vae and not prior.vae:
        lines.append(f"{where}: {path}: holds no autoencoder; expected `vae`, a folder, file or hub id")
    if not (facts.has_scheduler or prior.prediction or prior.config):
        lines.append(
            f"{where}: prediction: missing; a single file of {facts.name} does not say it; "
            "expected v_prediction (768 pixels) or epsilon (512 pixels, base)"
        )
    return lines


def _kind_of_pipeline(name: str) -> str | None:
    """Return the kind of prior that a pipeline's class is of; None where the name does not tell.

    Example:
        >>> _kind_of_pipeline("StableDiffusionXLImg2ImgPipeline"), _kind_of_pipeline("MyPipeline")
        ('sdxl', None)
    """
    return next((kind for start, kind in _PIPELINES.items() if name.startswith(start)), None)


def _other_kind(path: str, facts: Facts, kind: str, where: str) -> str:
    """Return the problem that a checkpoint is of another family than its stanza says."""
    expected = f"kind: {facts.kind}" if facts.kind else "a text-to-image model of the families in docs/priors.md"
    return f"{where}: {path} is {facts.name}; got kind: {kind}; expected {expected}"


def _extra_problems(prior: PriorSettings, where: str, root: Path) -> list[str]:
    """Return what is wrong with the other files that a stanza names: configuration, autoencoder, reader, LoRA files."""
    lines, single = [], (root / prior.path).is_file()
    if prior.config and not single:
        lines.append(f"{where}: config: got {prior.config}; expected none: only a single file needs it")
    elif prior.config and not part_config(root / prior.config, "unet"):
        lines.append(f"{where}: config: {prior.config}/unet/config.json: missing or not JSON")
    if prior.kind == "kandinsky" and (prior.vae or prior.lora):
        lines.append(f"{where}: vae, lora: got one; expected none: of kind kandinsky, neither is supported")
    if prior.vae:
        lines += _vae_problems(prior.vae, where, root)
    if prior.lora and find_spec("peft") is None:
        lines.append(f"{where}: lora: needs the package peft; `pip install peft`")
    if prior.reader and prior.reader.kind not in READERS:
        lines.append(unknown("kind of reader", prior.reader.kind, READERS, f"{where}: reader"))
    elif prior.reader and not (root / prior.reader.path).is_file():
        lines.append(
            f"{where}: reader: {prior.reader.path}: no such file; expected one of `avatargen train expressions`"
        )
    elif prior.reader and (problem := file_problem(root / prior.reader.path)):
        lines.append(f"{where}: reader: {prior.reader.path}: {problem}")
    for lora in prior.lora:
        lines += _lora_problems(lora.path, prior, where, root)
    return lines


def _vae_problems(path: str, where: str, root: Path) -> list[str]:
    """Return what is wrong with an autoencoder of its own."""
    place = find_checkpoint(path, root)
    if place is None:
        return [] if is_hub_id(path) else [f"{where}: vae: {path}: no such folder or file, nor a hub id"]
    if place.is_dir():
        if not ((place / "config.json").is_file() and variants(place)):
            return [f"{where}: vae: {path}: expected config.json and diffusion_pytorch_model.safetensors"]
        return [f"{where}: vae: {path}/{line}" for line in folder_problems(place)]
    if problem := file_problem(place):
        return [f"{where}: vae: {path}: {problem}; expected a safetensors file"]
    if any("decoder.conv_in" in name for name in tensor_shapes(place)):
        return []
    return [f"{where}: vae: {path}: holds no autoencoder"]


def _lora_problems(path: str, prior: PriorSettings, where: str, root: Path) -> list[str]:
    """Return what is wrong with a LoRA file, as far as its header tells."""
    if not (root / path).exists():
        return [f"{where}: lora: {path}: no such file"]
    if problem := file_problem(root / path):
        return [f"{where}: lora: {path}: {problem}; expected a safetensors file"]
    shapes = tensor_shapes(root / path)
    if not any("lora" in name.lower() for name in shapes):
        return [f"{where}: lora: {path}: holds no LoRA weights"]
    down = ("attn2_to_k.lora_down.weight", "attn2.to_k.lora_A.weight", "attn2.to_k.lora.down.weight")
    widths = {shape[1] for name, shape in shapes.items() if name.endswith(down)}
    facts = _facts(prior, root)
    own = facts.text_width if facts else None
    if own and widths and own not in widths:
        got = ", ".join(map(str, sorted(widths)))
        return [f"{where}: lora: {path}: takes text embeddings of size {got}; those of the checkpoint have {own}"]
    return []


def clip_problems(name: str, clip: JudgeSettings, root: Path) -> list[str]:
    """Return what is wrong with a CLIP: its folder, or its name and where its weights come from."""
    folder, where = root / clip.model, f"judges.yaml: {name}"
    if not folder.is_dir():
        return _open_clip_problems(clip, where, root)
    if not (folder / "open_clip_config.json").is_file():
        return [f"{where}: {clip.model}/open_clip_config.json: missing"]
    if not has_weights(folder):
        return [f"{where}: {clip.model}: no weights; `avatargen train` makes the embedded judge's"]
    return [f"{where}: {clip.model}/{line}" for line in [*open_clip_problems(folder), *folder_problems(folder)]]


def _open_clip_problems(clip: JudgeSettings, where: str, root: Path) -> list[str]:
    """Return what is wrong with a CLIP that is not a folder: open_clip's name for it, or its weights."""
    if clip.model.startswith("hf-hub:"):
        return []
    tags, name = open_clip_weights(), clip.model.replace("/", "-")
    if name not in tags and "/" in clip.model:
        return [
            f"{where}: model: {clip.model}: no such folder, nor a model of open_clip's; "
            "`avatargen train` makes the embedded ones, hf-hub:OWNER/NAME is one on the hub"
        ]
    if name not in tags:
        return [unknown("open_clip model", clip.model, tags, f"{where}: model")]
    if clip.pretrained is None:
        return [f"{where}: pretrained: missing; expected a tag of open_clip's or a file of weights"]
    if (root / clip.pretrained).is_file():
        problem = file_problem(root / clip.pretrained)
        return [f"{where}: pretrained: {clip.pretrained}: {problem}"] if problem else []
    if clip.pretrained.lower().replace("-", "_") in tags[name]:
        return []
    return [unknown("file of weights, nor a tag", clip.pretrained, tags[name], f"{where}: pretrained")]


def open_clip_weights() -> dict[str, dict[str, str]]:
    """Return open_clip's models: tags of their weights, and the hub ids or the addresses that these come from.

    They are read from its files, since importing it would load torch.
    """
    package = Path(str(getattr(find_spec("open_clip"), "origin", ""))).parent
    body = ast.parse((package / "pretrained.py").read_text(encoding="utf-8")).body
    tables: dict[str, Any] = {ast.unparse(n.targets[0]): n.value for n in body if isinstance(n, ast.Assign)}
    named = tables["_PRETRAINED"]
    tags: dict[str, dict[str, str]] = {file.stem: {} for file in (package / "model_configs").glob("*.json")}
    for key, value in zip(named.keys, named.values, strict=True):
        call = tables.get(getattr(value, "id", ""), value)
        tags[key.value] = {tag.arg: _source_of_weights(tag.value) for tag in call.keywords}
    return tags


def _source_of_weights(weights: ast.Call) -> str:
    """Return the hub id in a call that describes weights, such as ``_pcfg(hf_hub='OWNER/NAME/')``, or the address."""
    stated = {field.arg: field.value for field in weights.keywords}
    if isinstance(named := stated.get("hf_hub"), ast.Constant):
        return "/".join(str(named.value).split("/")[:2])
    return str(named.value) if isinstance(named := stated.get("url"), ast.Constant) else ""


def _not_a_folder(path: str, where: str) -> list[str]:
    """Return nothing for what may be the id of a model on the hub, else a problem."""
    if is_hub_id(path) and not path.endswith((".safetensors", ".ckpt")):
        return []
    maker = SIBLINGS_MAKER if path.startswith(SIBLINGS) else "avatargen train"
    return [f"{where}: {path}: no such folder or file; `{maker}` makes the embedded weights"]


def has_weights(folder: Path) -> bool:
    """Return whether a folder holds a file of weights that is not empty."""
    return any(file.suffix in SUFFIXES and file.is_file() and file.stat().st_size > 0 for file in folder.glob("*"))
