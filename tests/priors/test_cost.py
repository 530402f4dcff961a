"""What docs/gpu.md says an avatar costs, counted on full-size networks without weights."""

import math
import re

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from avatargen.config.loading import load_experiment, load_library, resolve
from avatargen.config.places import ROOT
from avatargen.method.context import MASK_BACKGROUNDS
from avatargen.priors import families

TEXT = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (`.*`) \| (\d+) × \d+ \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", re.MULTILINE)
FAMILY = {"`sd15`, `sd21_base`": "sd1", "`sd21`": "sd2", "`sdxl`": "sdxl"}


def evaluations():
    """Evaluations of the UNet for an avatar of `full`: two for each view and step, and those of the masks."""
    run = resolve(load_experiment("paper"), "full", load_library())
    method, prior = run.method, run.prior
    refreshes = math.ceil(method.phase2_steps / method.mask_period)
    masks = refreshes * method.mask_views * len(MASK_BACKGROUNDS) * prior.mask_steps
    return 2 * (method.steps * method.views + masks)


def tera_flops(family, size):
    """10^12 floating-point operations of one evaluation of a family's UNet."""
    config = families.UNETS[family]
    added = {}
    with torch.device("meta"):
        network = UNet2DConditionModel.from_config(config)
        if family == "sdxl":
            added["added_cond_kwargs"] = {"text_embeds": torch.zeros(1, 1280), "time_ids": torch.zeros(1, 6)}
        text = torch.zeros(1, families.LONGEST, config["cross_attention_dim"])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 4, size, size), torch.zeros(1), text, **added)
    return counter.get_total_flops() / 1e12


def test_documented_number_of_evaluations_is_that_of_the_experiment():
    assert f": {evaluations():,} evaluations." in TEXT


@pytest.mark.parametrize("name", FAMILY)
def test_documented_cost_is_that_of_the_networks(name):
    row = next(row for row in ROW.findall(TEXT) if row[0] == name)
    each, avatar, seconds = map(float, row[2:])
    counted = tera_flops(FAMILY[name], int(row[1]))
    assert each == pytest.approx(counted, abs=0.006)
    assert avatar == pytest.approx(counted * evaluations() / 1e3, abs=0.06)
    assert seconds == pytest.approx(counted * evaluations() / 400, abs=0.6)


def test_both_networks_of_a_row_cost_the_same():
    assert tera_flops("sd2", 64) == pytest.approx(tera_flops("sd1", 64), rel=0.005)
