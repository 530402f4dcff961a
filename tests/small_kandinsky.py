"""Writes small untrained Kandinsky 2.2 pipelines, in the format of the real ones."""

from pathlib import Path

import torch
from diffusers import (
    DDPMScheduler,
    KandinskyV22Pipeline,
    KandinskyV22PriorPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.small_prior import write_words

WIDTH = 16
"""Of all embeddings."""


def write_kandinsky(folder: Path) -> Path:
    """``small-decoder`` and, beside it, ``small-prior``. Returns the decoder's folder."""
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        addition_embed_type="image",
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        block_out_channels=(32, 64),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=12,
        norm_num_groups=8,
        norm_type="spatial",
    )
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False)
    KandinskyV22Pipeline(unet=unet, movq=movq, scheduler=scheduler).save_pretrained(folder / "small-decoder")
    _embedder(folder / "words").save_pretrained(folder / "small-prior")
    return folder / "small-decoder"


def _embedder(words: Path) -> KandinskyV22PriorPipeline:
    write_words(words)
    tokenizer = CLIPTokenizer.from_pretrained(words)
    sizes = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(
        **sizes,
        projection_dim=WIDTH,
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    vision = CLIPVisionConfig(**sizes, projection_dim=WIDTH, image_size=32, patch_size=8)
    prior = PriorTransformer(
        num_attention_heads=2,
        attention_head_dim=8,
        embedding_dim=WIDTH,
        num_layers=1,
        num_embeddings=tokenizer.model_max_length,
        additional_embeddings=4,
    )
    torch.nn.init.ones_(prior.clip_std)  # untrained, it makes zeros of everything
    return KandinskyV22PriorPipeline(
        prior=prior,
        image_encoder=CLIPVisionModelWithProjection(vision),
        text_encoder=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        scheduler=UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample_range=10.0
        ),
        image_processor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    )
