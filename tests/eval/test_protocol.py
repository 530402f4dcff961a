"""A protocol's hash changes with everything that decides a score, and with nothing else."""

from dataclasses import replace

import pytest
import torch

from avatargen.config.experiment import EvaluationSettings, JudgeSettings
from eval.embed import Judge
from eval.embed_captions import embed_captions
from eval.images import view_protocol
from eval.pools import build_pools
from eval.protocol import Item, Protocols
from tests.small_clip import write_clip

RIVALS = {
    (item, track): (f"{track} {item} x", f"{track} {item} y")
    for item in "ab"
    for track in ("texture", "shape_in_colour", "geometry")
}
SHOWN = ("anny", "warp")
"""Names of the head and the renderer."""


@pytest.fixture
def make(make_row, judge, prior_settings):
    """A function that returns a protocol; its arguments change one part of it each."""

    def protocol(
        items="ab",
        seeds=(0,),
        track="texture",
        rivals=RIVALS,
        judge=judge,
        prior=prior_settings,
        shown=SHOWN,
        **facts,
    ):
        views = {name: facts.pop(name) for name in list(facts) if name in EvaluationSettings.model_fields}
        settings = EvaluationSettings(**views)
        rows = [make_row(item, seed=seed, **facts) for item in items for seed in seeds]
        pools = build_pools(rows, rivals={rows[0].list: rivals})
        captions = {judge.name: embed_captions(judge, pools, [row.prompt for row in rows])}
        views = view_protocol(settings, prior, *shown)
        return Protocols.of(rows, pools, captions).find(rows[0], judge.name, track, views)["all"]

    return protocol


def test_each_part_of_a_protocol_changes_its_hash(make, judge, prior_settings, tmp_path):
    (tmp_path / "decoder").write_text("other weights")
    others = {
        "judge": make(
            judge=Judge.load("tiny", JudgeSettings(model=str(write_clip(tmp_path / "clip", seed=1))), tmp_path)
        ),
        "track": make(track="shape_in_colour"),
        "rivals": make(rivals={**RIVALS, ("a", "texture"): ("texture a x", "texture a z")}),
        "fewer rivals": make(rivals={**RIVALS, ("a", "texture"): ("texture a x",)}),
        "items": make(items="a"),
        "seeds": make(seeds=(0, 1)),
        "another seed": make(seeds=(1,)),
        "prompt": make(prompt="another prompt"),
        "list": make(list="other"),
        "head": make(shown=("flame", "warp")),
        "renderer": make(shown=("anny", "pytorch3d")),
        "prior's code": make(prior=prior_settings.model_copy(update={"kind": "kandinsky"})),
        **{name: make(**{name: value}) for name, value in {"distance": 2.0, "target_height": 0.1}.items()},
        "noise": make(noise_draws=1),
        "decoder": make(prior=prior_settings.model_copy(update={"vae": str(tmp_path / "decoder")})),
        "latents": make(prior=prior_settings.model_copy(update={"latent_size": 32})),
        **{name: make(**{name: value}) for name, value in {"views": 4, "elevation": 11.0, "fov": 20.0}.items()},
        **{name: make(**{name: value}) for name, value in {"size": 64, "samples": 2, "background": (0, 0, 0)}.items()},
    }
    hashes = {"same": make().hash, **{name: protocol.hash for name, protocol in others.items()}}
    assert make().hash == hashes["same"]
    assert len(set(hashes.values())) == len(hashes), hashes


def test_each_part_of_a_judge_changes_its_digest(judge):
    before = judge.content()
    state = {name: values.clone() for name, values in judge.model.state_dict().items()}
    with torch.no_grad():
        next(iter(judge.model.parameters())).flatten()[0] += 1e-6
    changed = judge.content()
    judge.model.load_state_dict(state)
    others = [
        replace(judge, architecture={**judge.architecture, "quick_gelu": True}).content(),
        replace(judge, tokenize=lambda texts: judge.tokenize([text[1:] for text in texts])).content(),
    ]
    assert judge.content() == before and len({before, changed, *others}) == 4


def test_places_names_and_formats_do_not_change_a_judge(judge, tmp_path):
    """The same weights in another folder, under another name, in another type of file and of numbers."""
    folder = write_clip(tmp_path / "elsewhere")
    moved = Judge.load("other", JudgeSettings(model=str(folder)), tmp_path)
    assert moved.content() == judge.content() and moved.id != judge.id
    weights = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    torch.save({name: values.double() for name, values in weights.items()}, folder / "open_clip_pytorch_model.bin")
    assert Judge.load("other", JudgeSettings(model=str(folder)), tmp_path).content() == judge.content()


def test_names_and_order_are_no_part_of_a_protocol(make, judge):
    turned = {key: tuple(reversed(captions)) for key, captions in RIVALS.items()}
    same = [
        make(judge=replace(judge, name="other", id="other")),
        make(items="ba"),
        make(seeds=(0,), rivals=turned),
        make(folder="/somewhere/else", method="other"),
    ]
    assert {protocol.hash for protocol in same} == {make().hash}


def test_a_protocol_spells_out_items_and_pools(make):
    found = make(seeds=(1, 0))
    assert found.items[0] == Item("tiny", "a", "head a", (0, 1), "head a", 0)
    assert found.pools == (("head a", "texture a x", "texture a y"), ("head b", "texture b x", "texture b y"))


def test_items_that_compete_with_each_other_share_a_pool(make_row, judge):
    rows = [make_row(item) for item in "abc"]
    pools = build_pools(rows, ["a negative"])
    captions = {"tiny": embed_captions(judge, pools, ["head a"])}
    found = Protocols.of(rows, pools, captions).find(rows[0], "tiny", "texture", {})["all"]
    assert found.pools == (("a negative", "head a", "head b", "head c"),)
    assert [item.pool for item in found.items] == [0, 0, 0]
