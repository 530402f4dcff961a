"""Train the mini CLIPs in open_clip's own format: open_clip_config.json, weights, tokenizer in one folder."""

# diffusers loads its names lazily, and its types of `.to`, configurations and outputs are too narrow.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from avatargen.training.artifact_cache import Facts, code
from avatargen.training.dataset import Renders
from avatargen.training.judge_batches import Batch, Batches
from avatargen.training.landmarks import Regressor, landmark_loss
from avatargen.training.rendering import SIZE
from avatargen.training.tokens import LENGTH, write_tokenizer
from avatargen.training.train_text import Heads, train_words
from avatargen.training.trainer import Budget, Trainer, fast_math

MEAN, STD = 0.5, 0.25
"""Of the pixels, for the image tower's input."""
SHAPING = 10.0
"""Weight of the landmarks' loss; the losses of attributes are summed with weight 1."""
CONTRAST = 2.0
"""Weight of CLIP's contrastive loss."""


@dataclass(frozen=True)
class Spec:
    """A judge's architecture and training.

    Attributes:
        vision: open_clip's ``vision_cfg`` without the image size.
        last: name of the module that makes the image tower's last map, and that map's channels.
        width: of the text tower and of the embeddings.
        layers: of the text tower.
        seed: of weights and batches.
        budget: of the training.
    """

    vision: dict[str, Any]
    last: tuple[str, int]
    width: int
    layers: int
    seed: int
    budget: Budget


BUDGET = Budget(steps=27_500, batch=48, lr=2e-3, cool=0.5)
RESNET = {"layers": [1, 2, 2, 2], "width": 24, "head_width": 32}
REGNET = {
    "timm_model_name": "regnetx_004",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
}
JUDGES = {
    "judge": Spec(RESNET, ("layer4", 768), 96, 2, 2, BUDGET),
    "guide": Spec(REGNET, ("trunk.s4", 384), 80, 3, 5, replace(BUDGET, steps=5000)),
}
"""`judge` judges all methods; `guide` guides `clip_guided`, and judges all others."""


def write_config(folder: Path, spec: Spec) -> None:
    """Write the model's configuration and tokenizer."""
    write_tokenizer(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    text = {"context_length": LENGTH, "vocab_size": len(vocabulary), "width": spec.width, "heads": 4}
    model = {
        "embed_dim": spec.width,
        "vision_cfg": {**spec.vision, "image_size": SIZE},
        "text_cfg": {**text, "layers": spec.layers, "hf_tokenizer_name": "."},
    }
    preprocess = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}, indent=1)
    )


def train_judge(name: str, renders: Renders, vae: AutoencoderTiny, made_from: Facts, output: Path, work: Path) -> None:
    """Train one of JUDGES and save it.

    The text tower learns the words first. Each image meets its caption and SWAPS that differ in one attribute (as in
    NegCLIP, arXiv 2210.01936): the pools of CLIP-R hold such captions, and a random batch hardly ever does. Linear
    classifiers of the attributes, and landmarks, teach the image tower what covers few pixels.

    Args:
        name: of the judge.
        renders: the data set.
        vae: the prior's autoencoder.
        made_from: facts of renders and autoencoder.
        output: the model's folder.
        work: where checkpoints and curves go.

    Raises:
        InputError: the checkpoint is of another training.
    """
    spec = JUDGES[name]
    torch.manual_seed(spec.seed)
    building = work / f"{name}-model"
    building.mkdir(parents=True, exist_ok=True)
    write_config(building, spec)
    source = f"local-dir:{building}"
    model = open_clip.create_model(source, load_weights=False).to(memory_format=torch.channels_last)
    tokenizer = open_clip.get_tokenizer(source)
    if not (work / f"{name}.ckpt").exists():
        train_words(f"{name}-text", model, spec.width, model.encode_text, tokenizer, work, spec.seed, clay=0.45)
    learner = Learner(model, spec)
    built = {key: value for key, value in asdict(spec).items() if key != "budget"}
    facts = {"spec": built, "code": code("training.train_judge"), **made_from}
    trainer = Trainer(name, work, {"learner": learner}, spec.budget, facts)
    batches = Batches(renders, tokenizer, vae.to(trainer.device), spec.seed, spec.budget.batch)
    trainer.run(lambda step: learner(batches(step).to(trainer.device)))
    half = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(half, building / "open_clip_model.safetensors")
    shutil.copytree(building, output, dirs_exist_ok=True)


class Learner(nn.Module):
    """A CLIP with the heads that only its training needs.

    Args:
        clip: the model.
        spec: its architecture.
    """

    def __init__(self, clip: nn.Module, spec: Spec):
        super().__init__()
        name, channels = spec.last
        self.clip, self.names, self.shape = clip, Heads(spec.width), Regressor(channels, SIZE // 32)
        clip.visual.get_submodule(name).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, given: Any, made: Tensor) -> None:
        self._last = made

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        with fast_math(), sdpa_kernel(SDPBackend.MATH):  # fused attention of texts this small takes a third of a step
            pixels = ((batch.pixels - MEAN) / STD).contiguous(memory_format=torch.channels_last)
            images = self.clip.encode_image(pixels)
            texts = self.clip.encode_text(batch.tokens, normalize=True)
            named, found = self.names(images), self.shape(self._last)
        images = F.normalize(images.float(), dim=-1)
        contrast = contrastive(images, texts.float(), self.clip.logit_scale.exp(), batch.tokens)
        naming = sum(F.cross_entropy(s.float(), y) for s, y in zip(named, batch.labels.T, strict=False))
        plain = ~batch.mirrored
        found = tuple(part[plain] for part in found)
        shaping = landmark_loss(found, batch.landmarks[plain], batch.displaced[plain])
        return CONTRAST * contrast + naming + SHAPING * shaping


def contrastive(images: Tensor, texts: Tensor, scale: Tensor, tokens: Tensor) -> Tensor:
    """Return the symmetric cross-entropy of B images and N texts; equal texts share the probability.

    Args:
        images: unit embeddings, (B, D).
        texts: unit embeddings, (N, D); the first B are the images' own.
        scale: of the logits.
        tokens: of the texts, (N, L).

    Example:
        >>> own = torch.eye(2)
        >>> contrastive(own, own, torch.tensor(50.0), torch.tensor([[1], [2]])) < 1e-6
        tensor(True)
    """
    logits = scale * images @ texts.T
    count = len(images)
    same = (tokens[:count, None] == tokens[None]).all(-1).float()
    to_text = F.cross_entropy(logits, same / same.sum(1, keepdim=True))
    back, square = logits[:, :count].T, same[:, :count].T
    return (to_text + F.cross_entropy(back, square / square.sum(1, keepdim=True))) / 2
