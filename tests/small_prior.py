"""Writes a small untrained StableDiffusionPipeline folder, in the format of the real ones."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTokenizer

from avatargen.training.prior_parts import build_text_encoder
from avatargen.training.tokens import write_tokenizer


def write_words(folder: Path) -> None:
    """A tokenizer of 600 words, which takes seconds to learn and is learnt once a session."""
    folder.mkdir(parents=True)
    for name, text in _words().items():
        (folder / name).write_text(text)


@cache
def _words() -> dict[str, str]:
    with TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), vocabulary=600)
        return {path.name: path.read_text() for path in Path(folder).iterdir()}


def write_pipeline(folder: Path, prediction: str) -> Path:
    """A KL autoencoder (x4), a one-level UNet and a text encoder, as `from_pretrained` expects them."""
    write_words(folder / "words")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "words")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8), latent_channels=4, norm_num_groups=4, mid_block_add_attention=False,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(16,), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",), cross_attention_dim=96, attention_head_dim=4, norm_num_groups=4,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=build_text_encoder(tokenizer), tokenizer=tokenizer, unet=unet,
        scheduler=DDIMScheduler(prediction_type=prediction, clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder / "model")
    return folder / "model"
