"""Learning rates, averaged weights, and the resumption of trainings."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from avatargen.config.errors import InputError
from avatargen.training.trainer import Budget, Trainer, warmed_up_average


def test_rate_rises_stays_and_falls_to_zero():
    budget = Budget(steps=1000, batch=1, lr=2.0, warmup=100)
    assert budget.rate(0) == pytest.approx(0.02)
    assert budget.rate(100) == budget.rate(750) == 2.0
    assert budget.rate(875) == pytest.approx(1.0)
    assert 0 < budget.rate(999) < 0.01


def train(folder, steps, upto=None, **facts):
    """Fit a line; return its weight. Interrupt the training before step `upto`."""
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
    whole = train(tmp_path / "whole", 20)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "interrupted", 20, upto=13)
    assert torch.equal(train(tmp_path / "interrupted", 20), whole)


def test_averages_follow_closely_at_first_then_by_decay():
    module = nn.BatchNorm1d(1)
    average = AveragedModel(module, multi_avg_fn=warmed_up_average(0.6), use_buffers=True)
    expected = 0.0
    for step in range(12):
        for value in (module.weight.data, module.running_mean, module.num_batches_tracked):
            value.fill_(step**2)
        kept = min(0.6, (step + 1) / (step + 10)) if step else 0.0
        expected = kept * expected + (1 - kept) * step**2
        average.update_parameters(module)
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert average.module.running_mean.item() == pytest.approx(expected, rel=1e-6)
    assert average.module.num_batches_tracked == 11**2  # integers are copied


def test_a_training_ends_with_averaged_weights(tmp_path):
    weight = train(tmp_path, 20)
    state = torch.load(tmp_path / "line.ckpt")
    assert torch.equal(weight, state["average"]["module.model.weight"])
    assert not torch.equal(weight, state["model"]["model.weight"])


def test_a_checkpoint_resumes_with_more_steps(tmp_path):
    train(tmp_path, 5, seed=1, recipe={"heads": (1, 2)})
    train(tmp_path, 10, seed=1, recipe={"heads": [1, 2]})
    assert torch.load(tmp_path / "line.ckpt")["step"] == 10


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    train(tmp_path, 5, seed=1, recipe={"heads": (1, 2)})
    with pytest.raises(InputError, match=r"line\.ckpt: .*recipe.heads was \[1, 2\], is \[1, 3\]\); remove it"):
        train(tmp_path, 10, seed=1, recipe={"heads": (1, 3)})
