"""Captions that text towers learn from, and the classifiers of what they say."""

import numpy as np
import torch
from torch.nn import functional as F

from avatargen.headworld.attributes import VALUES, held_out, sample_training
from avatargen.headworld.phrases import caption, parse
from avatargen.headworld.pools import known
from avatargen.training import train_text
from avatargen.training.judge_batches import SWAPS, swapped
from avatargen.training.train_text import TARGETS, Heads, Naming, corpus


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


def test_no_caption_of_a_training_is_of_a_held_out_head():
    lines, _ = corpus(300, seed=5, views=0.0, clay=0.4)
    rng = np.random.default_rng(0)
    own = [caption(sample_training(rng), colours) for colours in (True, False) * 8]
    changed = swapped([known(text) for text in own], rng)
    assert len(changed) == 16 * SWAPS
    for text in lines + changed:
        head = parse(text)
        shape, whole = held_out(head)
        assert not shape and (not whole or head == head.shape_only()), text


def test_naming_is_learnt_only_from_states_that_tell(monkeypatch):
    monkeypatch.setattr(train_text, "CAPTIONS", 300)
    naming = Naming(len(TARGETS) * 8, lambda lines: torch.arange(len(lines)), seed=0)
    told = F.one_hot(naming.labels, max(len(options) for options in TARGETS.values())).float().flatten(1)
    states = {"untold": torch.zeros_like(told), "told": told}
    losses = {}
    for name, known_by in states.items():
        naming.heads = Heads(told.shape[1])
        optimiser = torch.optim.Adam(naming.parameters(), lr=0.05)
        for step in range(120):
            loss = naming(lambda rows, known_by=known_by: known_by[rows], step, 64)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[name] = loss.item()
    assert losses["told"] < 0.1 and losses["untold"] > 0.8
    rows = torch.arange(train_text.CAPTIONS)[-50:]
    assert (naming.accuracy(told.__getitem__, rows, naming.labels[rows]) == 1).all()
