"""The state of a batch under optimisation, and its checkpoints.

Parameters, optimiser moments, masks and what was read are stacked over the batch, and the optimisers work row by row.
So a row is one avatar's state: a checkpoint holds one row, and an avatar can resume in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.heads.base import HeadModel
from avatargen.io.atomic import replacing
from avatargen.method.expression_reading import Reading
from avatargen.method.offset_mlp import Layers, encode_positions, initial_layers
from avatargen.method.row_adam import RowAdam
from avatargen.method.segmentation import Masks

CHECKPOINT = "checkpoint.safetensors"
PACES = (1.0, 0.3)
"""Factor of all learning rates at each attempt; an avatar that diverges at the last attempt has failed."""


@dataclass
class State:
    """A batch of avatars under optimisation.

    Attributes:
        step: steps done.
        texture: latent textures.
        shape: deviation from the template, in units of each coefficient's range.
        expression: coefficients.
        mlp: weights of the offset MLPs, see `avatargen.method.offset_mlp`.
        masks: segmentation masks of the fixed cameras; zeros and not trusted before the first refresh.
        reading: expressions that were last read; zeros and not known before the first refresh.
        diverged: avatars that had a gradient that is not finite; they no longer move.
        texture_adam, geometry_adam: optimisers of the texture and of the geometry.
        elapsed: seconds that each avatar has taken so far, with earlier attempts and interrupted runs; on the CPU.
        attempt: how often these avatars have diverged before; later attempts take smaller steps.
        resting: vertices of the proxy meshes while geometry does not move, metres; not part of a checkpoint.
    """

    step: int
    texture: Float[Tensor, "B C Ht Wt"]
    shape: Float[Tensor, "B S"]
    expression: Float[Tensor, "B E"]
    mlp: Layers
    masks: Masks
    reading: Reading
    diverged: Bool[Tensor, " B"]
    texture_adam: torch.optim.Adam = field(repr=False)
    geometry_adam: RowAdam = field(repr=False)
    elapsed: Float[Tensor, " B"]
    attempt: int = 0
    resting: Float[Tensor, "B N 3"] | None = field(default=None, repr=False)

    @property
    def pace(self) -> float:
        """Return the factor of all learning rates."""
        return PACES[self.attempt]

    def geometry(self) -> dict[str, Tensor]:
        """Return the geometry's parameters by name."""
        return {"shape": self.shape, "expression": self.expression, **self.mlp}

    def parameters(self) -> dict[str, Tensor]:
        """Return all parameters by name."""
        return {"texture": self.texture, **self.geometry()}


def initial_state(
    head: HeadModel,
    method: MethodSettings,
    prior: PriorSettings,
    texture: Float[Tensor, " C"],
    keys: list[int],
    mask_size: int,
) -> State:
    """Return the state before the first step: template heads, a flat texture, offset MLPs that give zero.

    Args:
        head: the head model.
        method: learning rates and number of masks.
        prior: texture size, and the texture's learning rate.
        texture: latents of the colour that the texture starts in.
        keys: of each avatar's random numbers; they decide the weights of the offset MLPs.
        mask_size: rows and columns of the masks.
    """
    batch, device = len(keys), texture.device
    flat = texture[None, :, None, None].expand(batch, -1, prior.texture_size, prior.texture_size)
    features = encode_positions(head.canonical(head.shape_template[None])[0]).shape[1]
    mlp = {name: value.to(device) for name, value in initial_layers(features, keys).items()}
    tensors = {
        "texture": flat.clone(),
        "shape": torch.zeros(batch, len(head.shape_names), device=device),
        "expression": torch.zeros(batch, len(head.expression_names), device=device),
        **mlp,
    }
    masks = Masks(
        torch.zeros(batch, method.mask_views, 1, mask_size, mask_size, device=device),
        torch.zeros(batch, method.mask_views, dtype=torch.bool, device=device),
    )
    none = torch.zeros(batch, dtype=torch.bool, device=device)
    reading = Reading(torch.zeros_like(tensors["expression"]), none)
    return _with_optimisers(tensors, masks, reading, none.clone(), method, prior)


def _with_optimisers(
    tensors: dict[str, Tensor],
    masks: Masks,
    reading: Reading,
    diverged: Tensor,
    method: MethodSettings,
    prior: PriorSettings,
) -> State:
    """Return a state at step 0 whose optimisers own the given tensors."""
    leaves = {name: value.requires_grad_() for name, value in tensors.items()}
    mlp = {name: value for name, value in leaves.items() if name.startswith("mlp_")}
    betas = (0.9, 0.99)
    groups = [
        {"params": [leaves["shape"]], "lr": method.lr_shape, "first_lr": method.lr_shape},
        {"params": [leaves["expression"]], "lr": method.lr_expression, "first_lr": method.lr_expression},
        {"params": list(mlp.values()), "lr": method.lr_offsets, "first_lr": method.lr_offsets},
    ]
    return State(
        step=0,
        texture=leaves["texture"],
        shape=leaves["shape"],
        expression=leaves["expression"],
        mlp=mlp,
        masks=masks,
        reading=reading,
        diverged=diverged,
        texture_adam=torch.optim.Adam([leaves["texture"]], lr=prior.lr_texture, betas=betas, eps=prior.adam_eps),
        geometry_adam=RowAdam(groups, betas=betas),
        elapsed=torch.zeros(len(diverged), dtype=torch.float64),
    )


def _adams(state: State) -> dict[str, torch.optim.Optimizer]:
    """Return the optimiser of each parameter by name."""
    return {name: state.texture_adam if name == "texture" else state.geometry_adam for name in state.parameters()}


def save_checkpoint(state: State, row: int, folder: Path) -> None:
    """Write the state of the avatar in a row to its folder, atomically."""
    tensors = {
        "masks": state.masks.foreground[row],
        "valid": state.masks.valid[row],
        "reading": state.reading.expression[row],
        "known": state.reading.known[row],
        "diverged": state.diverged[row],
        "elapsed": state.elapsed[row],
    }
    adams = _adams(state)
    for name, value in state.parameters().items():
        tensors[name] = value[row]
        moments = adams[name].state.get(value, {})
        for key in ("exp_avg", "exp_avg_sq"):
            if key in moments:
                tensors[f"{name}.{key}"] = moments[key][row]
    tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
    steps = {name: str(int(_steps(adam))) for name, adam in (("t", state.texture_adam), ("g", state.geometry_adam))}
    facts = {"step": str(state.step), "attempt": str(state.attempt), "texture": steps["t"], "geometry": steps["g"]}
    with replacing(folder / CHECKPOINT) as partial:
        save_file(tensors, partial, metadata=facts)


def _steps(adam: torch.optim.Optimizer) -> float:
    """Return the number of steps that an optimiser has taken."""
    return max((float(entry["step"]) for entry in adam.state.values()), default=0.0)


def checkpoint_place(folder: Path) -> tuple[int, int]:
    """Return (attempt, step) of a folder's checkpoint; (0, 0) if there is none that can be read."""
    try:
        with safe_open(folder / CHECKPOINT, framework="pt") as file:
            facts = file.metadata()
            return int(facts["attempt"]), int(facts["step"])
    except (OSError, SafetensorError):
        return 0, 0


def restore(state: State, folders: list[Path]) -> None:
    """Fill a new state from checkpoints, in place.

    Args:
        state: see `initial_state`.
        folders: one for each avatar; their checkpoints are all of one attempt and step.
    """
    rows = [load_file(folder / CHECKPOINT) for folder in folders]
    with safe_open(folders[0] / CHECKPOINT, framework="pt") as file:
        facts = file.metadata()
    stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    adams = _adams(state)
    with torch.no_grad():
        for name, value in state.parameters().items():
            value.copy_(stacked[name])
            if f"{name}.exp_avg" in stacked:
                count = facts["texture" if name == "texture" else "geometry"]
                moments = {key: stacked[f"{name}.{key}"].to(value.device) for key in ("exp_avg", "exp_avg_sq")}
                adams[name].state[value] = {"step": torch.tensor(float(count)), **moments}
    device = state.texture.device
    state.masks = Masks(stacked["masks"].to(device), stacked["valid"].to(device))
    state.reading = Reading(stacked["reading"].to(device), stacked["known"].to(device))
    state.diverged, state.elapsed = stacked["diverged"].to(device), stacked["elapsed"]
    state.step, state.attempt = int(facts["step"]), int(facts["attempt"])
