"""Write small untrained checkpoints of the families that people have, in the formats that they have.

Networks have the families' blocks with few channels, so that conversions between formats meet every kind of layer.
"""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tests.small_prior import write_words

FAMILIES = ("sd1", "sd2", "sdxl")
KIND = {"sd1": "stable_diffusion", "sd2": "stable_diffusion", "sdxl": "sdxl"}
PREDICTION = {"sd1": "epsilon", "sd2": "v_prediction", "sdxl": "epsilon"}
WIDTHS = {"sd1": 32, "sd2": 48, "sdxl": 32 + 48}
"""Of the text embeddings that the UNets take."""
POOLED = 40
"""Width of SDXL's pooled embedding."""
_UNETS = {
    "sd1": {"block_out_channels": (32, 64), "attention_head_dim": 2},
    "sd2": {"block_out_channels": (32, 64), "attention_head_dim": (2, 4), "use_linear_projection": True},
    "sdxl": {
        "block_out_channels": (32, 64, 64),
        "attention_head_dim": (2, 4, 4),
        "transformer_layers_per_block": (1, 1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + POOLED,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    },
}


def small_pipeline(family: str, words: Path, **unet) -> DiffusionPipeline:
    """Return an untrained pipeline of a family.

    Args:
        family: one of FAMILIES.
        words: folder for the tokenizer's files; is created if it is not there.
        unet: changes of the UNet's configuration.
    """
    if not words.is_dir():
        write_words(words)
    tokenizer = CLIPTokenizer.from_pretrained(words)
    shared = {
        "vae": small_vae(family),
        "unet": UNet2DConditionModel(
            **{
                "sample_size": 16,
                "layers_per_block": 1,
                "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                "cross_attention_dim": WIDTHS[family],
                **_UNETS[family],
                **unet,
            }
        ),
        "tokenizer": tokenizer,
    }
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    noise |= {"prediction_type": PREDICTION[family], "steps_offset": 1}
    if family == "sdxl":
        return StableDiffusionXLPipeline(
            **shared,
            scheduler=DDIMScheduler(**noise, clip_sample=False, set_alpha_to_one=False),
            text_encoder=CLIPTextModel(_text(tokenizer, 32, "quick_gelu")),
            text_encoder_2=CLIPTextModelWithProjection(_text(tokenizer, 48, "gelu")),
            tokenizer_2=CLIPTokenizer.from_pretrained(words, pad_token="!"),
            add_watermarker=False,
        )
    return StableDiffusionPipeline(
        **shared,
        scheduler=PNDMScheduler(**noise, skip_prk_steps=True),
        text_encoder=CLIPTextModel(_text(tokenizer, WIDTHS[family], "quick_gelu" if family == "sd1" else "gelu")),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def small_vae(family: str, **changes) -> AutoencoderKL:
    """Return an untrained autoencoder with the scaling of a family."""
    return AutoencoderKL(
        **{
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "block_out_channels": (8, 16),
            "latent_channels": 4,
            "norm_num_groups": 4,
            "scaling_factor": 0.13025 if family == "sdxl" else 0.18215,
            **changes,
        }
    )


def _text(tokenizer: CLIPTokenizer, width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act=activation,
        projection_dim=POOLED,
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def write_single_file(
    pipeline: DiffusionPipeline, family: str, file: Path, with_vae: bool = True, marks: tuple[str, ...] = ()
) -> None:
    """Write a pipeline's tensors into one file, under the names of the original Stable Diffusion.

    Args:
        pipeline: see `small_pipeline`.
        family: its family.
        file: is written.
        with_vae: include the autoencoder.
        marks: names of empty tensors to add.
    """
    tensors = {f"model.diffusion_model.{name}": value for name, value in _ldm_unet(pipeline.unet).items()}
    if with_vae:
        tensors |= {f"first_stage_model.{name}": value for name, value in ldm_vae(pipeline.vae).items()}
    if family == "sd2":
        tensors |= {f"cond_stage_model.model.{name}": v for name, v in _open_clip(pipeline.text_encoder).items()}
    else:
        place = "cond_stage_model" if family == "sd1" else "conditioner.embedders.0"
        plain = _plain(pipeline.text_encoder)
        tensors |= {f"{place}.transformer.text_model.{name}": value for name, value in plain.items()}
    if family == "sdxl":
        second = _open_clip(pipeline.text_encoder_2)
        tensors |= {f"conditioner.embedders.1.model.{name}": value for name, value in second.items()}
    tensors |= {mark: torch.empty(0) for mark in marks}
    save_file({name: value.detach().contiguous().clone() for name, value in tensors.items()}, file)


def _plain(text: torch.nn.Module) -> dict[str, Tensor]:
    """Return a text encoder's tensors without the prefix that some versions of transformers give them."""
    return {name.removeprefix("text_model."): value for name, value in text.state_dict().items()}


def _renamed(name: str, pairs: list[tuple[str, str]]) -> str:
    for new, old in pairs:
        name = name.replace(old, new)
    return name


_RESNET = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("emb_layers.1", "time_emb_proj"),
    ("skip_connection", "conv_shortcut"),
]
_ENDS = [
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
    ("input_blocks.0.0", "conv_in"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
]


def _ldm_unet(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    blocks, layers = len(unet.config.block_out_channels), unet.config.layers_per_block
    pairs = [("middle_block.1", "mid_block.attentions.0")]
    pairs += [(f"middle_block.{2 * j}", f"mid_block.resnets.{j}") for j in range(2)]
    for i in range(blocks):
        for j in range(layers):
            pairs.append((f"input_blocks.{(layers + 1) * i + j + 1}.0", f"down_blocks.{i}.resnets.{j}"))
            pairs.append((f"input_blocks.{(layers + 1) * i + j + 1}.1", f"down_blocks.{i}.attentions.{j}"))
        pairs.append((f"input_blocks.{(layers + 1) * (i + 1)}.0.op", f"down_blocks.{i}.downsamplers.0.conv"))
        for j in range(layers + 1):
            pairs.append((f"output_blocks.{(layers + 1) * i + j}.0", f"up_blocks.{i}.resnets.{j}"))
            pairs.append((f"output_blocks.{(layers + 1) * i + j}.1", f"up_blocks.{i}.attentions.{j}"))
        place = 2 if "CrossAttn" in unet.config.up_block_types[i] else 1
        pairs.append((f"output_blocks.{(layers + 1) * i + layers}.{place}", f"up_blocks.{i}.upsamplers.0"))
    named = {}
    for name, value in unet.state_dict().items():
        inner = _renamed(name, _RESNET) if "resnets" in name else name
        ends = inner if "blocks" in name or "mid_block" in name else _renamed(inner, _ENDS)
        named[_renamed(ends, pairs)] = value
    return named


def ldm_vae(vae: AutoencoderKL) -> dict[str, Tensor]:
    """Return an autoencoder's tensors under their original names, without prefix."""
    count = len(vae.config.block_out_channels)
    pairs = [("nin_shortcut", "conv_shortcut"), ("norm_out", "conv_norm_out"), ("mid.attn_1", "mid_block.attentions.0")]
    pairs += [(f"mid.block_{j + 1}", f"mid_block.resnets.{j}") for j in range(2)]
    for i in range(count):
        for j in range(vae.config.layers_per_block + 1):
            pairs.append((f"encoder.down.{i}.block.{j}", f"encoder.down_blocks.{i}.resnets.{j}"))
            pairs.append((f"decoder.up.{count - 1 - i}.block.{j}", f"decoder.up_blocks.{i}.resnets.{j}"))
        pairs.append((f"down.{i}.downsample", f"down_blocks.{i}.downsamplers.0"))
        pairs.append((f"up.{count - 1 - i}.upsample", f"up_blocks.{i}.upsamplers.0"))
    attention = [
        ("norm.", "group_norm."),
        ("q.", "to_q."),
        ("k.", "to_k."),
        ("v.", "to_v."),
        ("proj_out.", "to_out.0."),
    ]
    named = {}
    for name, value in vae.state_dict().items():
        inner = _renamed(name, attention) if "attentions" in name else name
        square = value[:, :, None, None] if "attentions" in name and value.ndim == 2 else value  # 1 x 1 convolutions
        named[_renamed(inner, pairs)] = square
    return named


def _open_clip(text: torch.nn.Module) -> dict[str, Tensor]:
    """Return a text encoder's tensors under the names of open_clip."""
    plain = _plain(text)
    pairs = [
        ("transformer.resblocks", "encoder.layers"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_final", "final_layer_norm"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("token_embedding", "embeddings.token_embedding"),
    ]
    named = {}
    for name, value in plain.items():
        if ".q_proj." in name:
            parts = torch.cat([plain[name.replace("q_proj", f"{which}_proj")] for which in "qkv"])
            place, _, ending = name.partition(".self_attn.q_proj.")
            named[_renamed(f"{place}.attn.in_proj_{ending}", pairs)] = parts
        elif name == "text_projection.weight":
            named["text_projection"] = value.T
        elif ".k_proj." not in name and ".v_proj." not in name:
            named[_renamed(name, pairs)] = value
    return named


LORA_RANK, LORA_ALPHA = 2, 1.0


def write_lora(pipeline: DiffusionPipeline, file: Path) -> dict[str, dict[str, Tensor]]:
    """Write a LoRA file in the format of the kohya scripts, for some layers of each network.

    Returns:
        the change of each weight at scale 1, by network and name of the weight.
    """
    generator = torch.Generator().manual_seed(0)
    changes: dict[str, dict[str, Tensor]] = {}
    tensors: dict[str, Tensor] = {}
    second = hasattr(pipeline, "text_encoder_2")
    networks = {"unet": "lora_unet_", "text_encoder": "lora_te1_text_model_" if second else "lora_te_text_model_"}
    networks |= {"text_encoder_2": "lora_te2_text_model_"} if second else {}
    for network, prefix in networks.items():
        weights = getattr(pipeline, network).state_dict()
        wanted = ("attn2.to_k.weight", "attn2.to_out.0.weight", "self_attn.q_proj.weight", "self_attn.out_proj.weight")
        changes[network] = {}
        for name in [name for name in weights if name.endswith(wanted)][:4]:
            rows, columns = weights[name].shape
            down = torch.randn(LORA_RANK, columns, generator=generator)
            up = torch.randn(rows, LORA_RANK, generator=generator)
            layer = prefix + name.removeprefix("text_model.").removesuffix(".weight").replace(".", "_")
            tensors |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
            tensors[f"{layer}.alpha"] = torch.tensor(LORA_ALPHA)
            changes[network][name] = LORA_ALPHA / LORA_RANK * up @ down
    save_file(tensors, file)
    return changes
