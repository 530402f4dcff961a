"""What the trainings of the shipped models rest on: schedule, resumption, labels, weights, hard negatives."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from torch.nn import functional as F

from avatargen.config.errors import InputError
from avatargen.heads.anny.head import AnnyHead
from avatargen.headworld.attributes import VALUES, Attributes, held_out, may_be_seen, sample, sample_training
from avatargen.headworld.phrases import caption, parse
from avatargen.headworld.pools import known, swaps
from avatargen.render.warp import WarpRenderer
from avatargen.training import __main__ as command
from avatargen.training import artifact_cache, dataset, train_text
from avatargen.training.__main__ import ASSETS
from avatargen.training.artifact_cache import code
from avatargen.training.dataset import (
    MISTAKEN,
    Recipe,
    Renders,
    cached,
    generate,
    joined,
    plain_shape,
    relatives_of,
)
from avatargen.training.prior_loss import (
    CHANGE,
    DIFFERENCE,
    EDIT_FROM,
    PAIRED,
    UNCONDITIONAL,
    PriorLoss,
    Samples,
)
from avatargen.training.train_judge import (
    BEARDS,
    CAMOUFLAGED,
    DECODED,
    JUDGES,
    STATUES,
    SWAPS,
    TWO_COLOURS,
    WORN,
    Batches,
    Learner,
    augment,
    contrastive,
    swapped,
    through,
)
from avatargen.training.train_prior import BACKGROUND, DETAIL, loss_weights, relatives
from avatargen.training.train_text import TARGETS, Heads, Naming, corpus
from avatargen.training.train_vae import build_vae
from avatargen.training.trainer import Budget, Trainer, batch_indices
from tests.small_prior import write_pipeline


def test_rate_rises_stays_and_falls_to_zero():
    budget = Budget(steps=1000, batch=1, lr=2.0, warmup=100)
    assert budget.rate(0) == pytest.approx(0.02)
    assert budget.rate(100) == budget.rate(750) == 2.0
    assert budget.rate(875) == pytest.approx(1.0)
    assert 0 < budget.rate(999) < 0.01


def train(folder, steps, upto, **facts):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    trainer = Trainer("line", folder, {"model": model}, Budget(steps, 4, 0.1, warmup=2), facts, save_every=5)

    def loss(step):
        if step == upto:
            raise KeyboardInterrupt
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    trainer.run(loss)
    return model.weight.detach()


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path):
    whole = train(tmp_path / "whole", 20, None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "truncated", 20, 13)
    assert torch.equal(train(tmp_path / "truncated", 20, None), whole)


def test_a_checkpoint_goes_on_with_more_steps_but_not_as_another_training(tmp_path):
    train(tmp_path, 5, None, seed=1, recipe={"heads": (1, 2)})
    train(tmp_path, 10, None, seed=1, recipe={"heads": [1, 2]})
    assert torch.load(tmp_path / "line.ckpt")["step"] == 10
    with pytest.raises(InputError, match=r"line\.ckpt: .*recipe.heads was \[1, 2\], is \[1, 3\]\); remove it"):
        train(tmp_path, 10, None, seed=1, recipe={"heads": (1, 3)})


def test_a_checkpoint_without_facts_is_taken_as_it_is(tmp_path, capsys):
    train(tmp_path, 5, None, seed=1)
    state = torch.load(tmp_path / "line.ckpt")
    del state["facts"]
    torch.save(state, tmp_path / "line.ckpt")
    train(tmp_path, 5, None, seed=2)
    assert "line.ckpt: does not say" in capsys.readouterr().out


def some_renders(recipe):
    shape = (recipe.heads, 2, 2, 4)
    angles, points = np.zeros(recipe.heads), np.zeros((recipe.heads, 1, 2))
    images, texts = np.full(shape, recipe.seed, np.uint8), (["a man"] * recipe.heads, ["front view"] * recipe.heads)
    return Renders(images, *texts, angles, np.arange(recipe.heads), points, points)


def test_renders_are_kept_until_the_recipe_or_the_code_is_another(tmp_path, monkeypatch, capsys):
    path, made = tmp_path / "prior.npz", []

    def seed_of(recipe):
        return int(cached(path, recipe, lambda asked: made.append(asked) or some_renders(asked)).images[0, 0, 0, 0])

    assert seed_of(Recipe(heads=2, seed=1)) == seed_of(Recipe(heads=2, seed=1)) == 1 and len(made) == 1
    assert capsys.readouterr().out == ""
    assert seed_of(Recipe(heads=2, seed=2)) == 2 and "recipe.seed was 1, is 2" in capsys.readouterr().out
    monkeypatch.setattr(dataset, "code", lambda *_: "another")
    assert seed_of(Recipe(heads=2, seed=2)) == 2 and len(made) == 3
    path.with_name("prior.npz.json").unlink()
    assert seed_of(Recipe(heads=2, seed=3)) == 2 and "prior.npz: does not say" in capsys.readouterr().out


def test_renders_that_were_not_finished_leave_the_old_ones(tmp_path, monkeypatch):
    path, recipe = tmp_path / "prior.npz", Recipe(heads=2, seed=1)
    cached(path, recipe, some_renders)

    def full(file, **_):
        file.write(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(dataset.np, "savez", full)
    with pytest.raises(OSError):
        cached(path, replace(recipe, seed=2), some_renders)
    assert [found.name for found in sorted(tmp_path.iterdir())] == ["prior.npz", "prior.npz.json"]
    assert cached(path, recipe, some_renders).images.max() == 1


def test_weights_are_replaced_when_all_are_there_and_their_neighbours_stay(tmp_path, monkeypatch):
    work, output = tmp_path / "work", tmp_path / "assets"

    def write(folder, text):
        folder.mkdir(parents=True)
        (folder / text).write_text(text)

    def fail(*_):
        raise KeyboardInterrupt

    for name in ("prior", "judge", "guide"):
        write(output / name, "old")
    (output / "README.md").write_text("stays")
    monkeypatch.setattr(command, "train_the_prior", lambda _work, made: write(made, "new"))
    monkeypatch.setattr(command, "train_a_judge", fail)
    with pytest.raises(KeyboardInterrupt):
        command.train("all", work, output)
    assert [path.name for path in sorted(output.rglob("*")) if path.is_file()] == ["README.md", "old", "old", "old"]
    monkeypatch.setattr(command, "train_a_judge", lambda _name, _work, prior, made: write(made, (prior / "new").name))
    monkeypatch.setattr(command, "report", lambda made, _work: (made / "REPORT.md").write_text("of the new"))
    command.train("all", work, output)
    names = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    assert names == ["README.md", "REPORT.md", "guide/new", "judge/new", "prior/new"]
    assert not list(work.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pools"], "pools: expected prompt lists"),
        (["pools", "no/such.tsv"], "no/such.tsv: not readable"),
        (["lists"], "lists: expected one existing folder"),
        (["lists", "no/such"], "lists: expected one existing folder, got no/such"),
        (["prior", "some.tsv"], "prior: takes no lists"),
        (["judge", "--output", "no/such"], "expected a prior at no/such/prior, got none"),
    ],
)
def test_wrong_input_is_said_in_a_line(arguments, message, capsys):
    assert command.main(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and message in said[1]


def test_code_counts_but_not_how_long_it_trains(monkeypatch):
    assert code("train_vae") != code("train_prior")
    everything = code("train_vae")
    monkeypatch.setattr(artifact_cache, "SCHEDULE", ())
    assert code("train_vae") != everything  # which holds a BUDGET


def test_labels_of_captions_are_what_the_captions_say():
    lines, labels = corpus(200, seed=5)
    names = list(TARGETS)
    for line, row in zip(lines, labels.tolist(), strict=True):
        said = dict(zip(names, row, strict=True))
        text, view = line.rsplit(", ", 1) if line.endswith("view") else (line, "")
        head = parse(text)
        assert head is not None
        assert TARGETS["view"][said["view"]] == view
        assert {name: VALUES[name][said[name]] for name in VALUES} == {name: getattr(head, name) for name in VALUES}


def test_the_loss_weighs_the_head_and_its_rim_most():
    coverage = np.zeros((2, 128, 128), np.uint8)
    coverage[0, 40:80, 40:80] = 255
    landmarks = np.full((2, 6, 2), -1.0, np.float32)
    landmarks[0] = np.array((12.5, 17.5)) / 16 - 1  # column and row of the middle of a latent pixel
    weights = loss_weights(coverage, 32, landmarks)
    assert weights.shape == (2, 1, 32, 32)
    assert weights[0, 0, 17, 12] == 1 + DETAIL
    assert (weights[0, 0, 9:15, 9:21] == 1).all() and (weights[0, 0, 17, 15:21] == 1).all()
    assert weights[0, 0, 0, 0] == BACKGROUND and (weights[1, 0, 3:] == BACKGROUND).all()
    mirrored = loss_weights(coverage[:, :, ::-1], 32, landmarks * np.array((-1, 1), np.float32))
    assert torch.equal(mirrored[:1, ..., 1:-1], weights[:1].flip(3)[..., 1:-1])


def seen_by(pipeline, loss, steps):
    """What a UNet and its text encoder are given: noisy latents, timesteps and tokens, over some steps."""
    seen, asked = [], []
    pipeline.unet.register_forward_pre_hook(lambda module, given: seen.append(given))
    pipeline.text_encoder.register_forward_pre_hook(lambda module, given: asked.append(given[0]))
    with torch.no_grad():
        losses = [loss(pipeline.unet, pipeline.text_encoder, step) for step in range(steps)]
    noisy, times, _ = (torch.stack(part) for part in zip(*seen, strict=True))
    return noisy, times, torch.stack(asked), torch.stack(losses)


def test_timesteps_of_all_noises_are_trained_and_pairs_where_noise_hides_something(tmp_path):
    pipeline = StableDiffusionPipeline.from_pretrained(write_pipeline(tmp_path, "v_prediction"))
    latents, weights = torch.zeros(2, 4, 4, 4).half(), torch.ones(2, 1, 4, 4).half()
    samples = Samples(latents, weights, torch.tensor([[1], [0]]), ["", ""])
    loss = PriorLoss(samples, torch.zeros(2, 8).long(), torch.ones(8).long(), seed=0, batch=512)
    _, times, tokens, losses = seen_by(pipeline, loss, 16)
    pairs = round(PAIRED * 256)
    for part, expected in ((times[:, : 2 * pairs], (0.23, 0.83, 1.0)), (times[:, 2 * pairs :], (0.2, 0.6, 1.0))):
        share = [(part < end).float().mean().item() for end in (200, 600, 1000)]
        assert share == pytest.approx(expected, abs=0.03)
    assert times[:, : 2 * pairs].min() >= EDIT_FROM > times[:, 2 * pairs :].min()
    assert losses.isfinite().all()
    untold = (tokens == 1).all(-1)
    assert untold.float().mean() == pytest.approx(UNCONDITIONAL, abs=0.03) and not untold[:, : 2 * pairs].any()


def test_a_pair_shows_one_image_that_ought_to_become_what_each_caption_says(tmp_path, monkeypatch):
    pipeline = StableDiffusionPipeline.from_pretrained(write_pipeline(tmp_path, "v_prediction"))
    latents = torch.full((2, 4, 4, 4), 0.25).half() * torch.tensor([-1, 1]).view(2, 1, 1, 1)
    weights, tokens = torch.ones(2, 1, 4, 4).half(), torch.tensor([[3], [4]]).expand(2, 8)
    samples = Samples(latents, weights, torch.tensor([[1], [0]]), ["", ""])
    loss = PriorLoss(samples, tokens, torch.ones(8).long(), seed=0, batch=256)
    noisy, times, asked, _ = seen_by(pipeline, loss, 1)
    pairs = round(PAIRED * 128)
    for given in (noisy[0], times[0]):
        assert torch.equal(given[:pairs], given[pairs : 2 * pairs])
    a = loss.signal[times[0]]
    shown = noisy[0].mean((1, 2, 3)) / a.sqrt()  # the noise's mean is small
    sure = (a > 0.9) & (asked[0, :, 0] > 2)
    told = torch.arange(256) < pairs
    alone = torch.from_numpy(batch_indices(0, 0, 256 - 2 * pairs, 2)) * 2.0 - 1
    named = torch.cat([(asked[0, : 2 * pairs, 0] - 3.5).sign(), alone])
    assert torch.equal(asked[0, sure, 0], (named[sure].long() + 7) // 2)
    assert torch.equal(shown[sure].sign(), torch.where(told, -named, named)[sure]) and sure[told].any()

    def right(noisy, t, text):  # what the caption says of the latents, whatever is shown
        clean, signal = 0.25 * named.view(-1, 1, 1, 1), loss.signal[t].view(-1, 1, 1, 1)
        return SimpleNamespace(sample=(signal.sqrt() * noisy - clean) / (1 - signal).sqrt())

    monkeypatch.setattr(pipeline.unet, "forward", right)
    assert loss(pipeline.unet, pipeline.text_encoder, 0) < 1e-6


def test_changes_weigh_alike_and_those_that_nobody_sees_are_not_shown(tmp_path, monkeypatch):
    pipeline = StableDiffusionPipeline.from_pretrained(write_pipeline(tmp_path, "v_prediction"))
    latents = torch.zeros(3, 4, 8, 8).half()
    latents[1, :, 0, 0], latents[2, :, :4] = 0.75, 1.0  # differ from the first in a pixel, and in half of all
    tokens, none = torch.tensor([[3], [4], [5]]).expand(3, 8), torch.zeros(3, 1, 8, 8).half()
    samples = Samples(latents, none, torch.tensor([[1, 2], [0, 0], [0, 0]]), [""] * 3)
    loss = PriorLoss(samples, tokens, torch.ones(8).long(), seed=0, batch=64)
    steps = loss.cumulative.diff(prepend=torch.zeros(1).double()).view(3, 2)
    assert steps[0, 0] / steps[0, 1] == pytest.approx(32**0.5, rel=0.01)

    def lazy(noisy, t, text):  # leaves all as it is shown
        signal = loss.signal[t].view(-1, 1, 1, 1)
        noise = torch.cat([drawn[0][:pairs], drawn[0]])
        clean = (noisy - (1 - signal).sqrt() * noise) / signal.sqrt()
        return SimpleNamespace(sample=(signal.sqrt() * noisy - clean) / (1 - signal).sqrt())

    drawn, randn, pairs = [], torch.randn, round(PAIRED * 32)

    def noise(*shape, generator):
        drawn.append(randn(*shape, generator=generator))
        return drawn[-1]

    monkeypatch.setattr(torch, "randn", noise)
    monkeypatch.setattr(pipeline.unet, "forward", lazy)
    left = loss(pipeline.unet, pipeline.text_encoder, 0)  # alone, and as a difference that captions do not make
    assert left == pytest.approx((1 + DIFFERENCE) * CHANGE * pairs / 64, rel=0.01)
    latents[1, :, 0, 0] = 0.0
    loss = PriorLoss(samples, tokens, torch.ones(8).long(), seed=0, batch=64)
    steps = loss.cumulative.diff(prepend=torch.zeros(1).double()).view(3, 2)
    assert steps[0, 0] < 1e-5 and steps[1].max() < 1e-5


def test_relatives_are_the_others_of_a_family_in_the_same_copy():
    families = np.array([1, 0, 1, 0, 0, 1])
    found = relatives(families, variants=2)
    assert found.shape == (12, 2)
    for row, others in enumerate(found.tolist()):
        assert {o // 6 for o in others} == {row // 6} and row not in others and len(set(others)) == 2
        assert {families[o % 6] for o in others} == {families[row % 6]}


def test_relatives_may_be_seen_in_training_and_differ():
    rng, changed = np.random.default_rng(0), Counter()
    for _ in range(40):
        head = sample_training(rng)
        made = relatives_of(head, 6, rng)
        face, feature, mistaken, plain, again, other = made
        assert not any(any(held_out(one)) for one in made)
        assert caption(plain, colours=False) == "a man" or any(held_out(plain_shape(head)))
        assert other != head
        for one in (face, feature, again, mistaken):
            (name,) = {key for key in VALUES if getattr(one.plain(), key) != getattr(head.plain(), key)} - {"eyes"}
            changed[name] += 1  # seldom another attribute of shape: all others would be held out
    assert changed["expression"] >= 70 and changed["feature"] >= 35 and sum(changed[name] for name in MISTAKEN) >= 35


def test_a_recipe_asks_for_more_beards_of_another_colour_than_the_hair():
    def share(recipe):
        rng = np.random.default_rng(0)
        heads = [dataset.draw(recipe, rng) for _ in range(400)]
        assert all(map(may_be_seen, heads))
        return np.mean([head.beard != "none" and head.beard_colour != head.hair_colour for head in heads])

    usual = share(Recipe(heads=0, seed=0))
    assert usual < 0.08
    assert share(Recipe(heads=0, seed=0, two_coloured=0.5)) == pytest.approx(0.5 + usual / 2, abs=0.08)


def test_parts_of_a_set_make_the_whole_and_families_share_camera_light_and_background():
    head = AnnyHead.load()
    renderer = WarpRenderer(head.topology, head.canonical(head.shape_template[None])[0])
    recipe = Recipe(heads=16, seed=3, views=1, relatives=1)
    whole = generate(head, renderer, recipe)
    parts = joined([generate(head, renderer, recipe, part, 2) for part in (1, 0)])
    for name in vars(whole):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name
    assert whole.images.shape == (32, 128, 128, 4) and whole.families.tolist() == sorted([*range(16)] * 2)
    over = whole.over_backgrounds(0)
    clear = (whole.images[0::2, ..., 3] == 0) & (whole.images[1::2, ..., 3] == 0)
    assert clear.any((1, 2)).all() and (over[0::2][clear] == over[1::2][clear]).all()
    assert whole.views[0::2] == whole.views[1::2] and (whole.azimuths[0::2] == whole.azimuths[1::2]).all()


def test_a_mirrored_prompt_names_the_mirrored_view():
    points = np.zeros((2, 1, 2))
    shapes = np.zeros((2, 2, 2, 4), np.uint8), ["a man"] * 2, ["close 45 left view", "back view"], np.zeros(2)
    renders = Renders(*shapes, np.arange(2), points, points)
    ends = [
        {text.removeprefix("a man") for seed in range(30) for text in renders.prompts(seed, f)} for f in (False, True)
    ]
    assert ends == [{"", ", close 45 left view", ", back view"}, {"", ", close 45 right view", ", back view"}]


def test_naming_is_learnt_from_states_that_tell_and_not_from_others(monkeypatch):
    monkeypatch.setattr(train_text, "CAPTIONS", 3000)  # a minute less of wording
    naming = Naming(len(TARGETS) * 8, lambda lines: torch.arange(len(lines)), seed=0)
    told = F.one_hot(naming.labels, max(len(options) for options in TARGETS.values())).float().flatten(1)
    states = {"untold": torch.zeros_like(told), "told": told}
    losses = {}
    for name, known_by in states.items():
        naming.heads = Heads(told.shape[1])
        optimiser = torch.optim.Adam(naming.parameters(), lr=0.05)
        for step in range(160):
            loss = naming(lambda rows, known_by=known_by: known_by[rows], step, 64)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[name] = loss.item()
    assert losses["told"] < 0.1 and losses["untold"] > 0.8
    rows = torch.arange(train_text.CAPTIONS)[-50:]
    assert (naming.accuracy(told.__getitem__, rows, naming.labels[rows]) == 1).all()


def test_beards_of_another_colour_than_the_hair_are_seen_most_then_others_statues_and_hair_like_skin():
    bearded, green = Attributes(skin="green", beard="full"), Attributes(skin="green", hair_colour="green")
    heads = [Attributes(skin="green"), bearded, replace(bearded, beard_colour="white")]
    heads += [Attributes(material="gold", beard="full"), green, replace(green, hair="bald")]
    heads += [replace(green, beard="full", beard_colour="green"), Attributes(skin="pale", hair_colour="white")]
    captions = [*map(caption, heads), caption(heads[2], colours=False)]
    count = len(captions)
    nothing = np.zeros((count, 1, 3), np.float32)
    images, alone = np.zeros((count, 2, 2, 4), np.uint8), np.arange(count)
    renders = Renders(images, captions, ["front view"] * count, nothing, alone, nothing[..., :2], nothing)
    batches = Batches(renders, lambda texts: torch.zeros(len(texts), 4), build_vae(), seed=0, size=2)
    shares = np.diff(batches.cumulative, prepend=0)
    hidden = CAMOUFLAGED
    expected = [1, BEARDS, BEARDS * TWO_COLOURS, STATUES, hidden, 1, BEARDS * hidden**2, hidden, 1]
    assert shares / shares[0] == pytest.approx(expected)


def test_some_pictures_are_mirrored_and_their_landmarks_are_not_learnt():
    image = np.zeros((1, 64, 64, 4), np.uint8)
    image[..., 3], image[..., 32:, :3] = 255, 255  # bright on the right
    points, displaced = np.zeros((1, 96, 2), np.float32), np.zeros((1, 96, 3), np.float32)
    renders = Renders(image, [caption(Attributes())], ["front view"], np.zeros(1), np.zeros(1, int), points, displaced)
    renders.displaced[0, 0] = 1.0
    batch = Batches(renders, lambda texts: torch.zeros(len(texts), 4), build_vae(), seed=0, size=16)(0)
    seen = slice(0, 16 - int(DECODED * 16))  # as an untrained autoencoder decodes, there is nothing to see
    right = batch.pixels[seen, ..., 40:].mean((1, 2, 3)) > batch.pixels[seen, ..., :24].mean((1, 2, 3))
    assert (right == ~batch.mirrored[seen]).all() and 2 < batch.mirrored.sum() < 14
    assert (renders.images[0, :, 32:, :3] == 255).all()

    class Tower(nn.Module):
        visual = nn.Sequential(nn.Identity())
        logit_scale = torch.zeros(())

        def encode_image(self, pixels):
            self.visual(torch.ones(16, 384, 4, 4))
            return torch.ones(16, 80)

        def encode_text(self, tokens, normalize):
            return torch.ones(len(tokens), 80)

    guide = JUDGES["guide"]
    learner = Learner(Tower(), replace(guide, last=("0", 384)))
    wrong = batch.landmarks + 5 * batch.mirrored.view(-1, 1, 1)
    assert learner(batch) == learner(replace(batch, landmarks=wrong))
    assert learner(batch) < learner(replace(batch, landmarks=batch.landmarks + 5))


def test_landmarks_off_the_image_weigh_nothing():
    landmarks = np.array([[(1.2, 0.0), (1.0, 0.0), (0.0, -1.5), (-3.0, 4.0)], [(0.97, 0.0)] * 4], np.float32)
    weights = loss_weights(np.zeros((2, 128, 128), np.uint8), 32, landmarks)
    assert (weights[0] == BACKGROUND).all()
    assert weights[1, 0, 16, 31] > BACKGROUND  # within the last column


def test_changes_of_a_shape_caption_are_of_shape():
    rng = np.random.default_rng(0)
    for _ in range(30):
        head = parse(caption(sample(rng), colours=False))
        for changed in swaps(head, rng, 3, colours=False):
            other = parse(caption(changed, colours=False))
            assert other == other.shape_only() != head


def test_changed_captions_are_worded_as_freely_as_others():
    own = caption(Attributes(hair="mohawk", beard="full", feature="horns", skin="green"))
    seen = swapped([known(own)] * 8, np.random.default_rng(0))
    canonical = sum(text == caption(parse(text)) for text in seen)
    assert own not in seen and 0 < canonical < len(seen)


def test_captions_and_changed_captions_are_of_nothing_held_out():
    lines, _ = corpus(300, seed=5, views=0.0, clay=0.4)
    rng = np.random.default_rng(0)
    own = [caption(sample_training(rng), colours) for colours in (True, False) * 8]
    changed = swapped([known(text) for text in own], rng)
    assert len(changed) == 16 * SWAPS
    for text in lines + changed:
        head = parse(text)
        shape, whole = held_out(head)
        assert not shape and (not whole or head == head.shape_only()), text


def test_an_image_is_pulled_to_its_caption_and_from_the_changed_one():
    def loss(images):
        return contrastive(images, torch.eye(4), torch.tensor(50.0), torch.tensor([[0], [1], [2], [3]]))

    assert loss(torch.eye(4)[:2]) < 1e-6
    assert loss(torch.eye(4)[:2].roll(1, 0)) > 10
    assert loss(torch.eye(4)[2:]) > 10  # each image looks like its changed caption


def test_some_of_the_augmented_pictures_are_worn():
    stripes = np.zeros((8, 128, 128, 4), np.uint8)
    stripes[:, :, ::16], stripes[..., 3] = 255, 255
    made, _ = augment(stripes, torch.zeros(8, 1, 2), np.random.default_rng(3))
    down = made[:, 0, 30:98, 30:98].diff(dim=1).abs().amax((1, 2))  # along a stripe nothing changes but by noise
    worn = int(WORN * 8)
    assert (down[:worn] > 0.02).all() and (down[worn:] < 0.01).all()
    assert made.min() >= 0 and made.max() <= 1


def test_decoded_pictures_are_those_of_the_autoencoder_and_most_have_noise_in_their_latents():
    pipeline = StableDiffusionPipeline.from_pretrained(ASSETS / "prior", safety_checker=None)
    pixels = torch.full((40, 3, 32, 32), 0.5)
    pixels[:, :, 8:24, 8:24] = torch.tensor([0.9, 0.3, 0.1]).view(3, 1, 1)
    made = through(pipeline.vae, pixels, np.random.default_rng(0))
    assert made.shape == pixels.shape and made.min() >= 0 and made.max() <= 1
    unrest = (made - made.median(0).values).abs().mean((1, 2, 3))
    clean = unrest < 2 * unrest.min() + 1e-4
    assert 0.1 < clean.float().mean() < 0.5  # CLEAN of them
    assert (made[clean] - pixels[clean]).abs().mean() < 0.03
    assert unrest.max() > 0.02


def test_augmented_pictures_keep_the_head_and_change_the_background():
    image = np.zeros((1, 128, 128, 4), np.uint8)
    image[:, 40:88, 40:88] = (0, 255, 0, 255)
    corners = torch.tensor([[[40.5, 40.5], [87.5, 87.5]]]) / 64 - 1  # its first pixel's centre and its last's
    pairs = [augment(image, corners, np.random.default_rng(seed)) for seed in range(6)]
    made = torch.cat([pixels for pixels, _ in pairs])
    assert made.shape == (6, 3, 128, 128) and made.min() >= 0 and made.max() <= 1
    green = (made[:, 1] > 0.8) & (made[:, 0] < 0.05) & (made[:, 2] < 0.05)
    assert ((green.sum((1, 2)) > 48**2 / 1.1**2 * 0.9) & (green.sum((1, 2)) < 48**2 / 0.75**2 * 1.1)).all()
    assert len(made[:, :, 0, 0].unique(dim=0)) == 6
    for inside, (_, moved) in zip(green, pairs, strict=True):
        rows, columns = inside.nonzero().T
        edges = torch.tensor([[columns.min(), rows.min()], [columns.max(), rows.max()]])
        assert ((moved[0] + 1) * 64 - 0.5 - edges).abs().max() < 1
