"""Write a reader of expressions with random weights, as `save_reader` saves them."""

from pathlib import Path

import torch

from avatargen.config.settings import ReaderSettings
from avatargen.priors.expression_reader import ReaderNetwork, save_reader

ACTIONS = ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft")


def write_reader(folder: Path) -> ReaderSettings:
    """Write a reader whose answers vary from image to image; return the settings that name it."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ReaderNetwork(torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.4], [0.0, 1.0, 0.0]]))
    save_reader(network, ACTIONS, folder / "reader.safetensors")
    return ReaderSettings(path=str(folder / "reader.safetensors"))
