"""Render an avatar's turntable, contact sheet and views into its folder, and export it; for `avatargen make`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatargen.config.experiment import RunConfig
from avatargen.config.loading import load_experiment
from avatargen.config.places import ROOT
from avatargen.exchange.gltf_export import NAME, to_glb
from avatargen.io.atomic import write_bytes
from avatargen.io.avatar_file import load_avatar
from avatargen.runtime.fingerprint import of_render
from eval.turntable import render_avatar
from eval.views import RenderTools

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path, help="folder of the avatar file")
parser.add_argument("--experiment", default="embedded", help="whose evaluation settings to render with")
options = parser.parse_args()

avatar = load_avatar(options.folder)
experiment = load_experiment(options.experiment)
run = RunConfig.model_validate(avatar.config).model_copy(update={"renderer": experiment.renderer})
settings = experiment.evaluation
tools = RenderTools.load(run.head, run.renderer, run.prior, ROOT)
fingerprint = of_render(avatar.provenance["fingerprint"], avatar.status, run, settings, run.prior)
render_avatar(avatar, tools, settings, options.folder, fingerprint)
if avatar.status == "ok" and avatar.topology is None:
    write_bytes(options.folder / NAME, to_glb(avatar, tools.head))
