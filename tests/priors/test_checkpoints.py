"""Checkpoints of each family load from every format that people have, with the same weights to the bit."""

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from avatargen.config.errors import InputError
from avatargen.config.loading import load_priors
from avatargen.config.settings import PriorSettings
from avatargen.io.checkpoint_files import identify, tensor_shapes
from avatargen.io.content_hash import weights_id
from avatargen.priors import families
from avatargen.priors.base import load_prior
from avatargen.priors.families import clip_tokenizer
from avatargen.priors.pipelines import Parts, hub_facts, load_pipeline
from avatargen.runtime import fingerprint
from tests.small_families import FAMILIES, KIND, PREDICTION, ldm_vae, small_pipeline, small_vae, write_lora
from tests.small_families import write_single_file as write_file
from tests.user_folder import write_yaml

NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")


PADDING = {"sd1": [49407], "sd2": [0], "sdxl": [49407, 0]}
"""Token that fills texts up, of each tokenizer of the published checkpoints."""


def tokenizers(pipeline) -> list:
    return [getattr(pipeline, name) for name in ("tokenizer", "tokenizer_2") if hasattr(pipeline, name)]


def loaded(family: str, path: Path, **changes):
    settings = PriorSettings(**{"kind": KIND[family], "path": str(path), **changes})
    return load_pipeline(settings, Path("/"), torch.float32, torch.float32)


def differing(first, second) -> list[str]:
    """Return the names of the weights in which two pipelines differ."""
    found = []
    for network in [network for network in NETWORKS if hasattr(first, network)]:
        one, other = getattr(first, network).state_dict(), getattr(second, network).state_dict()
        assert one.keys() == other.keys()
        found += [f"{network}.{name}" for name in one if not torch.equal(one[name], other[name])]
    return found


def fp16_variant(pipeline, folder: Path) -> None:
    pipeline.save_pretrained(folder, variant="fp16")


def pickled(pipeline, folder: Path) -> None:
    pipeline.save_pretrained(folder, safe_serialization=False)


def without_named_parts(pipeline, folder: Path) -> None:
    """An index that names parts whose folders are absent, as partial downloads have."""
    pipeline.save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index["image_encoder"] = ["transformers", "CLIPVisionModelWithProjection"]
    (folder / "model_index.json").write_text(json.dumps(index))


def sharded(pipeline, folder: Path) -> None:
    pipeline.save_pretrained(folder, max_shard_size="1MB")


FORMATS = (fp16_variant, pickled, without_named_parts, sharded)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_every_folder_has_the_same_weights(pipelines, family, write, tmp_path):
    write(pipelines[family], tmp_path / "model")
    made = loaded(family, tmp_path / "model")
    assert differing(pipelines[family], made) == []
    assert made.scheduler.config.prediction_type == PREDICTION[family]
    assert torch.equal(made.scheduler.alphas_cumprod, pipelines[family].scheduler.alphas_cumprod)


@pytest.mark.parametrize("family", FAMILIES)
def test_single_file_has_the_same_weights(pipelines, family_folders, family, tmp_path):
    write_file(pipelines[family], family, tmp_path / "model.safetensors")
    made = loaded(family, tmp_path / "model.safetensors", config=str(family_folders[family]))
    assert differing(pipelines[family], made) == []
    assert made.scheduler.config.prediction_type == PREDICTION[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_single_file_needs_nothing_but_its_family(family, tmp_path, monkeypatch):
    """The family's configuration is the shipped one, here with the numbers of small networks; nothing is fetched."""
    clip_tokenizer("<|endoftext|>").save_pretrained(tmp_path / "words")
    torch.manual_seed(1)
    pipeline = small_pipeline(family, tmp_path / "words")
    for table, part in ((families.UNETS, "unet"), (families.VAES, "vae")):
        monkeypatch.setitem(table, family, dict(getattr(pipeline, part).config))
    texts = {name: getattr(pipeline, name).config.to_dict() for name in families.TEXT_ENCODERS[family]}
    monkeypatch.setitem(families.TEXT_ENCODERS, family, texts)
    write_file(pipeline, family, tmp_path / "model.safetensors")
    stated = {"prediction": "v_prediction"} if family == "sd2" else {}
    made = loaded(family, tmp_path / "model.safetensors", **stated)
    assert differing(pipeline, made) == []
    assert made.scheduler.config.prediction_type == PREDICTION[family]
    assert torch.equal(made.scheduler.alphas_cumprod, pipeline.scheduler.alphas_cumprod)
    texts = ["a man with a red beard, side view", ""]
    assert made.tokenizer(texts).input_ids == pipeline.tokenizer(texts).input_ids
    padded = [tokenizer("", padding="max_length").input_ids for tokenizer in tokenizers(made)]
    assert [tokens[2:] for tokens in padded] == [[token] * 75 for token in PADDING[family]]


def test_single_file_of_another_size_is_refused(pipelines, tmp_path, monkeypatch):
    write_file(pipelines["sd1"], "sd1", tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="expected shape"):
        loaded("sd1", tmp_path / "model.safetensors")
    deeper = dict(pipelines["sd1"].unet.config) | {"layers_per_block": 2}
    monkeypatch.setitem(families.UNETS, "sd1", deeper)
    monkeypatch.setitem(families.VAES, "sd1", dict(pipelines["sd1"].vae.config))
    monkeypatch.setitem(families.TEXT_ENCODERS, "sd1", {"text_encoder": pipelines["sd1"].text_encoder.config.to_dict()})
    with pytest.raises(InputError, match=r"cannot load .*model\.safetensors"):
        loaded("sd1", tmp_path / "model.safetensors")


def test_single_file_of_sd2_has_to_state_its_prediction(pipelines, tmp_path):
    write_file(pipelines["sd2"], "sd2", tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="state `prediction`"):
        loaded("sd2", tmp_path / "model.safetensors")


def test_marked_single_file_predicts_v_at_zero_terminal_snr(pipelines, tmp_path, monkeypatch):
    """Fine-tunes of Stable Diffusion XL mark v prediction and their noise schedule by empty tensors."""
    for table, part in ((families.UNETS, "unet"), (families.VAES, "vae")):
        monkeypatch.setitem(table, "sdxl", dict(getattr(pipelines["sdxl"], part).config))
    texts = {name: getattr(pipelines["sdxl"], name).config.to_dict() for name in families.TEXT_ENCODERS["sdxl"]}
    monkeypatch.setitem(families.TEXT_ENCODERS, "sdxl", texts)
    write_file(pipelines["sdxl"], "sdxl", tmp_path / "model.safetensors", marks=("v_pred", "ztsnr"))
    made = loaded("sdxl", tmp_path / "model.safetensors")
    assert made.scheduler.config.prediction_type == "v_prediction"
    assert made.scheduler.alphas_cumprod[-1].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_lora_adds_its_product_to_the_weights(pipelines, family_folders, family, scale, tmp_path):
    changes = write_lora(pipelines[family], tmp_path / "style.safetensors")
    lora = [{"path": str(tmp_path / "style.safetensors"), "scale": scale}]
    made = loaded(family, family_folders[family], lora=lora)
    changed = {f"{network}.{name}" for network, weights in changes.items() for name in weights}
    assert set(differing(pipelines[family], made)) == changed
    for network, weights in changes.items():
        before, after = (getattr(pipe, network).state_dict() for pipe in (pipelines[family], made))
        for name, change in weights.items():
            torch.testing.assert_close(after[name], before[name] + scale * change, atol=1e-6, rtol=1e-5)


def test_two_loras_add_up(pipelines, family_folders, tmp_path):
    changes = write_lora(pipelines["sd1"], tmp_path / "style.safetensors")
    one = {"path": str(tmp_path / "style.safetensors"), "scale": 0.5}
    made = loaded("sd1", family_folders["sd1"], lora=[one, one])
    name, change = next(iter(changes["unet"].items()))
    expected = pipelines["sd1"].unet.state_dict()[name] + change
    torch.testing.assert_close(made.unet.state_dict()[name], expected, atol=1e-6, rtol=1e-5)


def test_lora_of_another_family_is_refused(pipelines, family_folders, tmp_path):
    write_lora(pipelines["sd2"], tmp_path / "style.safetensors")
    with pytest.raises(InputError, match=r"cannot fuse .*style"):
        loaded("sd1", family_folders["sd1"], lora=[{"path": str(tmp_path / "style.safetensors")}])


def test_snapshot_in_the_hubs_cache_is_used(pipelines, tmp_path, monkeypatch):
    """Snapshots are folders of links; offline, nothing else is looked at."""
    commit, repository = "0123456789abcdef" * 2, tmp_path / "models--OWNER--NAME"
    pipelines["sdxl"].save_pretrained(tmp_path / "blobs")
    for file in [file for file in (tmp_path / "blobs").rglob("*") if file.is_file()]:
        link = repository / "snapshots" / commit / file.relative_to(tmp_path / "blobs")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert differing(pipelines["sdxl"], loaded("sdxl", Path("OWNER/NAME"))) == []
    prior = load_prior(PriorSettings(kind="sdxl", path="OWNER/NAME", revision=commit), tmp_path)
    assert prior.id == f"NAME-hub-{commit[:12]}"
    settings = PriorSettings(kind="sdxl", path="OWNER/NAME", revision=commit)
    assert Parts.find("OWNER/NAME", settings, tmp_path).folder == repository / "snapshots" / commit
    for link in (repository / "snapshots" / commit / "unet").glob("*.safetensors"):
        link.unlink()
    incomplete = Parts.find("OWNER/NAME", settings, tmp_path)
    assert (incomplete.source, incomplete.folder, incomplete.revision) == ("OWNER/NAME", None, commit)


@pytest.mark.parametrize("form", ["folder", "file"])
def test_another_autoencoder_takes_the_place_of_the_own(pipelines, family_folders, form, tmp_path):
    torch.manual_seed(5)
    other = small_vae("sdxl", force_upcast=False)
    if form == "folder":
        other.save_pretrained(tmp_path / "vae")
        changes = {"vae": str(tmp_path / "vae")}
        path = family_folders["sdxl"]
    else:
        save_file({name: value.contiguous() for name, value in ldm_vae(other).items()}, tmp_path / "vae.safetensors")
        write_file(pipelines["sdxl"], "sdxl", tmp_path / "model.safetensors", with_vae=False)
        changes = {"vae": str(tmp_path / "vae.safetensors"), "config": str(family_folders["sdxl"])}
        path = tmp_path / "model.safetensors"
    made = loaded("sdxl", path, **changes)
    for name, value in other.state_dict().items():
        assert torch.equal(made.vae.state_dict()[name], value)
    assert not [name for name in differing(pipelines["sdxl"], made) if not name.startswith("vae.")]


def test_everything_that_is_loaded_is_part_of_the_id(pipelines, family_folders, tmp_path):
    write_lora(pipelines["sd1"], tmp_path / "style.safetensors")
    small_vae("sd1").save_pretrained(tmp_path / "vae")
    folder = str(family_folders["sd1"])
    plain = load_prior(PriorSettings(path=folder)).id
    assert plain == f"sd1-{weights_id(folder)[:12]}"
    lora = {"path": str(tmp_path / "style.safetensors")}
    changes = ({"vae": str(tmp_path / "vae")}, {"lora": [lora]}, {"lora": [{**lora, "scale": 0.5}]})
    ids = [load_prior(PriorSettings(path=folder, **change)).id for change in changes]
    assert len({plain, *ids}) == 4 and all(each.startswith(plain) for each in ids)
    settings = PriorSettings(path=folder, vae="a", config="b", lora=[{"path": "c"}])
    assert settings.sources == [folder, "b", "a", "c"]


def test_content_of_every_file_is_part_of_fingerprints(family_folders, tmp_path, make_run):
    names = {name: tmp_path / f"{name}.safetensors" for name in ("vae", "lora")}
    for file in names.values():
        save_file({"x": torch.zeros(1)}, file)
    prior = PriorSettings(path=str(family_folders["sd1"]), vae=str(names["vae"]), lora=[{"path": str(names["lora"])}])
    seen = [fingerprint.of_method(make_run().model_copy(update={"prior": prior}), tmp_path)]
    for file in names.values():
        save_file({"x": torch.ones(1)}, file)
        seen.append(fingerprint.of_method(make_run().model_copy(update={"prior": prior}), tmp_path))
    stated = prior.model_copy(update={"revision": "abc"})
    seen.append(fingerprint.of_method(make_run().model_copy(update={"prior": stated}), tmp_path))
    assert len({json.dumps(each) for each in seen}) == 4


@pytest.mark.parametrize("kind", ["stable_diffusion", "kandinsky"])
def test_folder_of_another_family_is_refused_at_loading(family_folders, kind):
    if kind == "kandinsky":
        with pytest.raises(InputError, match="is Stable Diffusion; got kind: kandinsky; expected kind: stable"):
            load_prior(PriorSettings(kind=kind, path=str(family_folders["sd1"])))
    else:
        with pytest.raises(InputError, match="is Stable Diffusion XL; got kind: stable_diffusion; expected kind: sdxl"):
            load_prior(PriorSettings(kind=kind, path=str(family_folders["sdxl"])))


@pytest.mark.parametrize("family", FAMILIES)
def test_model_on_the_hub_is_known_before_its_weights_are_fetched(family_folders, family, tmp_path):
    """diffusers reads the small files of a hub id and of a folder alike."""
    for file in ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(family_folders[family] / file, tmp_path / file)
    facts = hub_facts(PriorSettings(path=str(tmp_path)))
    assert facts == identify(family_folders[family]) and facts.kind == KIND[family]


def test_folder_without_scheduler_has_its_familys(pipelines, family_folders, tmp_path):
    shutil.copytree(family_folders["sd1"], tmp_path / "model")
    shutil.rmtree(tmp_path / "model/scheduler")
    made = loaded("sd1", tmp_path / "model")
    assert torch.equal(made.scheduler.alphas_cumprod, pipelines["sd1"].scheduler.alphas_cumprod)
    assert loaded("sd1", tmp_path / "model", prediction="sample").scheduler.config.prediction_type == "sample"
    config = json.loads((tmp_path / "model/unet/config.json").read_text()) | {"cross_attention_dim": 1024}
    (tmp_path / "model/unet/config.json").write_text(json.dumps(config))
    assert identify(tmp_path / "model").name == "Stable Diffusion 2.x"


def test_latent_size_is_that_of_the_weights_unless_stated(family_folders, workplace):
    (workplace / "workflow/config").mkdir(parents=True)
    folder = str(family_folders["sd2"])
    write_yaml(
        workplace / "workflow/config/priors.yaml",
        own={"path": folder},
        stated={"path": folder, "latent_size": 24},
        hub={"path": "OWNER/NAME"},
        xl={"path": "OWNER/NAME", "kind": "sdxl"},
    )
    sizes = {name: prior.latent_size for name, prior in load_priors().items()}
    assert [sizes[name] for name in ("own", "stated", "hub", "xl", "mini")] == [16, 24, 64, 128, 32]


PARAMETERS = {
    "sd1": (859_520_964, 83_653_863, 123_060_480),
    "sd2": (865_910_724, 83_653_863, 340_387_840),
    "sdxl": (2_567_463_684, 83_653_863, 123_060_480, 694_659_840),
}
"""Numbers of parameters of the published checkpoints: UNet, autoencoder, text encoders."""


@pytest.mark.parametrize("family", FAMILIES)
def test_configurations_are_those_of_the_published_networks(family):
    with torch.device("meta"):
        made = [UNet2DConditionModel.from_config(families.UNETS[family])]
        made.append(AutoencoderKL.from_config(families.VAES[family]))
        kinds = (CLIPTextModel, CLIPTextModelWithProjection)
        texts = families.TEXT_ENCODERS[family].values()
        made += [kind(CLIPTextConfig(**config)) for kind, config in zip(kinds, texts, strict=False)]
    assert tuple(sum(p.numel() for p in network.parameters()) for network in made) == PARAMETERS[family]


@pytest.mark.parametrize("text", ["a man with a long black beard, side view", "it's 3 o'clock — naïve café!! 一位", ""])
def test_tokens_are_those_of_open_clip(text):
    made = clip_tokenizer("<|endoftext|>")(text, padding="max_length", truncation=True).input_ids
    expected = open_clip.SimpleTokenizer()([text])[0].tolist()
    end = expected.index(49407) + 1
    assert made == expected[:end] + [49407] * (77 - end)


def test_header_of_a_file_tells_its_shapes(tmp_path):
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, tmp_path / "x.safetensors", {"note": "x"})
    assert tensor_shapes(tmp_path / "x.safetensors") == {"a": (2, 3), "b": ()}
    (tmp_path / "y.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="not a safetensors file"):
        tensor_shapes(tmp_path / "y.safetensors")
