"""Score distillation against values worked out by hand."""

import pytest
import torch

from avatargen.method.sds import sds_gradient, weight
from avatargen.priors.diffusion import add_noise, guide, to_epsilon, to_sample


def full(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value)


A = torch.tensor([0.64])  # sqrt(a) = 0.8, sqrt(1 - a) = 0.6


def test_add_noise_mixes_signal_and_noise():
    assert add_noise(full(2.0), full(-1.0), A).item() == pytest.approx(0.8 * 2 - 0.6)


def test_guidance_of_one_is_the_conditional_prediction():
    assert guide(full(1.0), full(3.0), 1.0).item() == 3.0
    assert guide(full(1.0), full(3.0), 100.0).item() == 201.0


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_prediction_types_give_the_same_epsilon_and_sample(prediction):
    clean, noise = full(0.7), full(-0.3)
    noisy = add_noise(clean, noise, A)
    output = {"epsilon": noise, "v_prediction": 0.8 * noise - 0.6 * clean, "sample": clean}[prediction]
    epsilon = to_epsilon(output, noisy, A, prediction)
    assert epsilon.item() == pytest.approx(-0.3, abs=1e-6)
    assert to_sample(epsilon, noisy, A).item() == pytest.approx(0.7, abs=1e-6)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="prediction type: got 'flow'"):
        to_epsilon(full(0.0), full(0.0), A, "flow")
    with pytest.raises(ValueError, match="weighting: got 'cubic'"):
        weight(A, "cubic")


@pytest.mark.parametrize(("kind", "expected"), [("latent_paint", 0.8 * 0.36), ("dreamfusion", 0.36), ("uniform", 1.0)])
def test_weights(kind, expected):
    assert weight(A, kind).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_is_the_weighted_error_of_the_noise():
    noise = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    w = torch.tensor([1.0, 2.0, 3.0])
    assert sds_gradient(noise, noise, w).abs().max() == 0
    assert sds_gradient(noise + 1, noise, w)[:, 0, 0, 0].tolist() == pytest.approx([1.0, 2.0, 3.0], rel=1e-5)
