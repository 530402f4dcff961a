"""Load pipelines of Stable Diffusion and Stable Diffusion XL, from a folder, the hub or a single file.

Only the parts that a prior uses are loaded, so a folder may lack the others that its index names (safety checker,
feature extractor, image encoder).
"""

# diffusers loads its public names lazily, which hides them from pyright
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from avatargen.config.errors import InputError
from avatargen.config.settings import PriorSettings
from avatargen.io.checkpoint_files import (
    UNET,
    VAE,
    Facts,
    choose_variant,
    find_checkpoint,
    identify,
    identify_parts,
    part_config,
    read_index,
    tensor_shapes,
    variants,
)
from avatargen.io.content_hash import digest, weights_id
from avatargen.priors.families import write_configuration
from avatargen.priors.lora import fuse_loras
from avatargen.priors.schedule import schedule

Pipeline = StableDiffusionPipeline | StableDiffusionXLPipeline
FAULTS = (OSError, ValueError, KeyError, RuntimeError, NotImplementedError)
"""What diffusers and transformers raise for weights that are missing or do not fit."""
_NETWORKS = ("unet", "vae", "movq", "prior", "text_encoder", "text_encoder_2", "image_encoder")
_VAES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


@dataclass(frozen=True)
class Parts:
    """A pipeline in diffusers' format, to be loaded part by part.

    Attributes:
        source: folder or hub id.
        folder: where it is on this machine; None for a hub id that is not in the hub's cache.
        variant: which files to load, see `PriorSettings`.
        revision: of a hub id.
    """

    source: str
    folder: Path | None
    variant: str | None
    revision: str | None

    @classmethod
    def find(cls, path: str, settings: PriorSettings, root: Path) -> Parts:
        """Return the parts of a folder below `root`, or of a model on the hub, or in its cache if it is whole there."""
        folder = find_checkpoint(path, root, settings.revision)
        if folder is not None and not (root / path).exists() and not _is_whole(folder, without_vae=bool(settings.vae)):
            folder = None
        return cls(str(folder or path), folder, settings.variant, None if folder else settings.revision)

    def load(self, kind: Any, part: str | None, dtype: torch.dtype) -> Any:
        """Return a network.

        Args:
            kind: a class of diffusers or transformers.
            part: its folder; None for a network that lies in the folder itself.
            dtype: of its weights.
        """
        options: dict[str, Any] = {"variant": self.variant, "revision": self.revision}
        if self.folder is not None:
            folder = self.folder / (part or "")
            safe = any(folder.glob("*.safetensors"))
            options |= {"variant": choose_variant(folder, self.variant), "use_safetensors": None if safe else False}
        place = {"subfolder": part} if part else {}
        return kind.from_pretrained(self.source, **place, **options, dtype=dtype)

    def tokenizer(self, part: str) -> CLIPTokenizer:
        """Return a tokenizer."""
        kind: Any = CLIPTokenizer  # its annotations want a revision, and take none
        return kind.from_pretrained(self.source, subfolder=part, revision=self.revision)

    def vae(self, part: str | None, dtype: torch.dtype) -> AutoencoderKL | AutoencoderTiny:
        """Return the autoencoder, of the class that its configuration names."""
        place: dict[str, Any] = {"subfolder": part} if part else {}
        config: Any = AutoencoderKL.load_config(self.source, **place, revision=self.revision)
        name = config.get("_class_name", "AutoencoderKL")
        if name not in _VAES:
            raise ValueError(f"autoencoder: got {name}; expected {' or '.join(_VAES)}")
        return self.load(_VAES[name], part, dtype)

    def scheduler(self, prediction: str | None) -> DDIMScheduler:
        """Return the noise schedule and prediction type; see `schedule`."""
        if self.folder is None:
            config: Any = DDIMScheduler.load_config(self.source, subfolder="scheduler", revision=self.revision)
            return schedule(config, prediction)
        config, facts = part_config(self.folder, "scheduler"), identify(self.folder)
        if not config and facts.kind == "kandinsky":
            raise ValueError("no scheduler file")
        if not config and prediction is None and facts.name == "Stable Diffusion 2.x":
            raise ValueError("no scheduler file, which Stable Diffusion 2.x needs: state `prediction` in its stanza")
        return schedule(config, prediction)


def load_pipeline(settings: PriorSettings, root: Path, dtype: torch.dtype, vae_dtype: torch.dtype) -> Pipeline:
    """Load the networks of a checkpoint of kind ``stable_diffusion`` or ``sdxl``, with the LoRA files of its stanza.

    Args:
        settings: what to load.
        root: folder that relative paths start at.
        dtype: of the weights of UNet and text encoders.
        vae_dtype: of the weights of the autoencoder.

    Raises:
        InputError: a part cannot be loaded, or the checkpoint is of another family.
    """
    quieten()
    check_kind(settings, root)
    place = find_checkpoint(settings.path, root, settings.revision)
    try:
        own = _other_vae(settings, root, vae_dtype) if settings.vae else None
        if place is not None and place.is_file():
            pipeline = _from_file(place, settings, root, dtype, vae_dtype, own)
        else:
            pipeline = _from_parts(Parts.find(settings.path, settings, root), settings, dtype, vae_dtype, own)
    except FAULTS as error:
        raise cannot_load(settings.path, root, error) from error
    fuse_loras(pipeline, settings.lora, root)
    return pipeline


def check_kind(settings: PriorSettings, root: Path) -> None:
    """Check that a checkpoint is of the kind that its stanza says, as far as its files tell.

    Raises:
        InputError: it is of another family, or neither on this machine nor on the hub.
    """
    place = find_checkpoint(settings.path, root, settings.revision)
    if place is not None and not (root / settings.path).exists() and not _is_whole(place, bool(settings.vae)):
        place = None
    try:
        facts = identify(place) if place is not None else hub_facts(settings)
    except FAULTS as error:
        raise cannot_load(settings.path, root, error) from error
    if facts.kind != settings.kind:
        fitting = f"kind: {facts.kind}" if facts.kind else "a text-to-image model of the families in docs/priors.md"
        raise InputError([f"prior: '{settings.path}' is {facts.name}; got kind: {settings.kind}; expected {fitting}"])


def hub_facts(settings: PriorSettings) -> Facts:
    """Return what a model on the hub is, from its small files, before any weights are fetched.

    Args:
        settings: `path` is its id.

    Raises:
        OSError: the model or one of the files is not there.
    """
    where: Any = {"revision": settings.revision}
    index: Any = StableDiffusionPipeline.load_config(settings.path, **where)
    parts: list[Any] = [{}, {}]
    if "unet" in index:
        kinds = {"unet": UNet2DConditionModel, "scheduler": DDIMScheduler}
        parts = [kind.load_config(settings.path, subfolder=part, **where) for part, kind in kinds.items()]
    return identify_parts(index, *parts)


def cannot_load(path: str, root: Path, error: Exception) -> InputError:
    """Return the error of a checkpoint that cannot be loaded.

    Args:
        path: as configured.
        root: folder that relative paths start at.
        error: what went wrong.
    """
    return InputError([f"prior: cannot load '{path}' (a folder or file below {root}, or a hub id): {error}"])


def checkpoint_id(settings: PriorSettings, root: Path) -> str:
    """Return the name of a prior with what identifies its weights: a hash of the files, or ``hub`` and the commit.

    Args:
        settings: what is loaded.
        root: folder that relative paths start at.
    """
    found = []
    for path in settings.sources:
        if (root / path).exists():
            found.append(weights_id(path, root)[:12])
        else:
            snapshot = find_checkpoint(path, root, settings.revision)
            found.append(f"hub-{snapshot.name[:12]}" if snapshot else "hub")
    scales = [lora.scale for lora in settings.lora]
    extra = [digest(scales)[:12]] if scales else []
    return f"{Path(settings.path).name}-{'-'.join(dict.fromkeys([*found, *extra]))}"


def quieten() -> None:
    """Silence progress bars and hints of diffusers and transformers; their errors are raised anyway."""
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _from_parts(
    parts: Parts, settings: PriorSettings, dtype: torch.dtype, vae_dtype: torch.dtype, vae: Any
) -> Pipeline:
    """Return the pipeline of a folder or hub id."""
    shared = {
        "vae": vae if vae is not None else parts.vae("vae", vae_dtype),
        "unet": parts.load(UNet2DConditionModel, "unet", dtype),
        "text_encoder": parts.load(CLIPTextModel, "text_encoder", dtype),
        "tokenizer": parts.tokenizer("tokenizer"),
        "scheduler": parts.scheduler(settings.prediction),
    }
    if settings.kind != "sdxl":
        unused: Any = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        return StableDiffusionPipeline(**shared, **unused)
    where: Any = {"revision": parts.revision}
    index: Any = (
        read_index(parts.folder) if parts.folder else StableDiffusionXLPipeline.load_config(parts.source, **where)
    )
    return StableDiffusionXLPipeline(
        **shared,
        text_encoder_2=parts.load(CLIPTextModelWithProjection, "text_encoder_2", dtype),
        tokenizer_2=parts.tokenizer("tokenizer_2"),
        force_zeros_for_empty_prompt=index.get("force_zeros_for_empty_prompt", True),
        add_watermarker=False,
    )


def _from_file(
    file: Path, settings: PriorSettings, root: Path, dtype: torch.dtype, vae_dtype: torch.dtype, vae: Any
) -> Pipeline:
    """Return the pipeline of a single file, configured by the stanza's folder or by its family."""
    facts, shapes = identify(file), tensor_shapes(file)
    kind = StableDiffusionXLPipeline if settings.kind == "sdxl" else StableDiffusionPipeline
    given: Any = {"add_watermarker": False} if settings.kind == "sdxl" else {"safety_checker": None}
    with tempfile.TemporaryDirectory() as place:
        folder = _configuration(settings, root, Path(place), facts.name, shapes)
        local = {"config": str(folder), "local_files_only": True}
        if vae is None:
            vae = AutoencoderKL.from_single_file(str(file), subfolder="vae", dtype=vae_dtype, **local)
            _check_complete(vae, shapes, VAE)
        pipeline: Any = kind.from_single_file(str(file), vae=vae, dtype=dtype, **local, **given)
        pipeline.scheduler = schedule(part_config(folder, "scheduler"), settings.prediction)
    _check_complete(pipeline.unet, shapes, UNET)
    return pipeline


def _configuration(
    settings: PriorSettings, root: Path, place: Path, family: str, shapes: dict[str, tuple[int, ...]]
) -> Path:
    """Return the folder with the configuration of a single file; `place` is filled where the stanza names none."""
    if settings.config:
        folder = find_checkpoint(settings.config, root)
        if folder is None:
            raise ValueError(f"config: {settings.config}: no such folder")
        return folder
    if family == "Stable Diffusion 2.x" and settings.prediction is None:
        raise ValueError("a single file does not say how Stable Diffusion 2.x predicts: state `prediction`")
    training: dict[str, Any] = {"prediction_type": "v_prediction"} if "v_pred" in shapes else {}
    training |= {"rescale_betas_zero_snr": True} if "ztsnr" in shapes else {}  # fine-tunes of XL mark both so
    names = {"Stable Diffusion 1.x": "sd1", "Stable Diffusion 2.x": "sd2", "Stable Diffusion XL": "sdxl"}
    write_configuration(place, names[family], training)
    return place


def _check_complete(network: torch.nn.Module, shapes: dict[str, tuple[int, ...]], prefix: str) -> None:
    """Check that a file has as many tensors as the network: diffusers leaves what it does not find at random values.

    Raises:
        ValueError: the file is of a network of another size.
    """
    found, needed = sum(name.startswith(prefix) for name in shapes), len(network.state_dict())
    if found != needed:
        raise ValueError(
            f"{prefix}*: got {found} tensors; expected {needed}: the network is not of its family's full size; "
            "name a folder with its configuration as `config`"
        )


def _is_whole(snapshot: Path, without_vae: bool) -> bool:
    """Return whether a folder in the hub's cache holds weights for all networks that its index names."""
    try:
        index = read_index(snapshot)
    except (OSError, ValueError):
        return False
    needed = [part for part in _NETWORKS if part in index and not (part == "vae" and without_vae)]
    return all(variants(snapshot / part) for part in needed)


def _other_vae(settings: PriorSettings, root: Path, dtype: torch.dtype) -> Any:
    """Return the autoencoder that a stanza names in place of the checkpoint's own."""
    path = str(settings.vae)
    place = find_checkpoint(path, root)
    if place is not None and place.is_file():
        with tempfile.TemporaryDirectory() as folder:
            family = "sdxl" if settings.kind == "sdxl" else "sd1"
            write_configuration(Path(folder), family, {})
            config = str(find_checkpoint(settings.config, root) if settings.config else folder)
            return AutoencoderKL.from_single_file(
                str(place), config=config, subfolder="vae", local_files_only=True, dtype=dtype
            )
    return Parts(str(place or path), place, variant=None, revision=None).vae(None, dtype)
