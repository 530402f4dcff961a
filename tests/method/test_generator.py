"""The method on a small untrained prior: phases, resumption, and avatars that do not depend on their batch."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh

from avatargen.config.experiment import JudgeSettings, RunConfig
from avatargen.config.other_systems import MeshSettings
from avatargen.config.packages import pytorch3d_problem
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import CameraSettings, MethodSettings, SoftRasterSettings
from avatargen.geometry.cameras import keyed_noise
from avatargen.heads.face_points import FacePoints
from avatargen.heads.flame.files import VARIABLE
from avatargen.io.avatar_file import GREY
from avatargen.io.history import History
from avatargen.method.context import Batch, embed_prompts, mask_cameras
from avatargen.method.cost import peak_memory_mb
from avatargen.method.draws import draw
from avatargen.method.generator import Generator
from avatargen.method.geometry_losses import MASK_STREAM
from avatargen.method.optimise import take_step
from avatargen.method.state import CHECKPOINT, State, checkpoint_place, initial_state
from tests.small_clip import write_clip
from tests.small_flame import write_flame
from tests.small_prior import small_settings

MAN, GIRL, BEARDED = (
    PromptItem("test", "a", "a man with green skin"),
    PromptItem("test", "b", "a girl with a blond afro", seed=3),
    PromptItem("test", "c", "a smiling man with green skin and a white beard"),
)
FAST = {"phase1_steps": 2, "phase2_steps": 2, "views": 1, "mask_views": 2, "mask_period": 2}


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> Generator:
    return Generator.load("anny", "warp", small_settings(tmp_path_factory.mktemp("prior")), threads=1)


def run_config(generator: Generator, batch: int = 1, **method) -> RunConfig:
    return RunConfig(
        method_name="full",
        method=MethodSettings(**{**FAST, **method}),
        prior_name="small",
        prior=generator.settings,
        head="anny",
        renderer="warp",
        batch_size=batch,
        threads=1,
    )


def make(generator, run, items, folder: Path, on_step=None):
    folders = [folder / item.item for item in items]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    return list(generator.run(run, items, folders, on_step))


def test_a_negative_prompt_that_is_cut_is_named(generator):
    run, long = run_config(generator), "bright red lips and " * 40
    away = {text: run.prior.model_copy(update={"negative_prompt": text}) for text in ("lips", long)}
    named = {
        text: generator.truncated_by(run.model_copy(update={"prior": prior}), "a man") for text, prior in away.items()
    }
    assert named == {"lips": [], long: ["prior 'small' (its negative prompt)"]}


def same(a, b) -> bool:
    names = ("shape", "expression", "offsets", "latent_texture", "baked_texture")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_phase1_moves_the_texture_phase2_the_geometry(generator, tmp_path):
    (first,) = make(generator, run_config(generator, phase2_steps=0), [MAN], tmp_path)
    template = generator.head.template(1)
    assert first.status == "ok"
    assert torch.equal(first.shape, template.shape[0]) and not first.offsets.any()
    assert (first.latent_texture - generator.context.start[:, None, None]).abs().max() > 0
    (full,) = make(generator, run_config(generator), [MAN], tmp_path)
    assert not torch.equal(full.shape, template.shape[0])
    assert full.expression.abs().max() > 0 and full.offsets.abs().max() > 0
    low, high = generator.head.shape_bounds
    assert (full.shape >= low - 1e-6).all() and (full.shape <= high + 1e-6).all()


def test_flame_goes_through_the_same_method(generator, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(write_flame(tmp_path / "flame")))
    flame = Generator.load("flame", "warp", generator.settings, threads=1)
    run = run_config(generator).model_copy(update={"head": "flame"})
    (avatar,) = make(flame, run, [MAN], tmp_path)
    assert avatar.status == "ok" and avatar.head_id == flame.head.id and len(avatar.shape) == 300
    for moved in (avatar.shape, avatar.expression, avatar.offsets):
        assert moved.isfinite().all() and moved.abs().max() > 0


@pytest.mark.slow
@pytest.mark.skipif(pytorch3d_problem() is not None, reason=str(pytorch3d_problem()))
def test_pytorch3d_goes_through_the_same_method(generator, tmp_path):
    """Both phases, masks, snapshots and baking; the avatar is another one than Warp's."""
    soft = Generator.load("anny", "pytorch3d", generator.settings, 1, SoftRasterSettings(faces_per_pixel=10))
    run = run_config(generator).model_copy(update={"renderer": "pytorch3d"})
    (avatar,) = make(soft, run, [MAN], tmp_path)
    assert avatar.status == "ok" and soft.proxy_renderer.soft.faces_per_pixel == 10
    (other,) = make(generator, run_config(generator), [MAN], tmp_path / "warp")
    for name in ("shape", "expression", "offsets", "latent_texture"):
        moved, by_warp = getattr(avatar, name), getattr(other, name)
        assert moved.isfinite().all() and moved.abs().max() > 0 and not torch.equal(moved, by_warp)


@pytest.mark.parametrize("frozen", ["shape", "expression", "offsets"])
def test_frozen_parameters_do_not_move(generator, tmp_path, frozen):
    (avatar,) = make(generator, run_config(generator, **{frozen: False}), [MAN], tmp_path)
    template = generator.head.template(1)
    moved = {
        name: not torch.equal(getattr(avatar, name), getattr(template, name)[0])
        for name in ("shape", "expression", "offsets")
    }
    assert not moved.pop(frozen)
    assert all(moved.values())


def test_interrupted_avatar_ends_with_the_same_bits(generator, tmp_path, monkeypatch):
    monkeypatch.setattr("avatargen.method.batch_run.CHECKPOINT_STEPS", 1)
    run = run_config(generator)
    (whole,) = make(generator, run, [MAN], tmp_path / "whole")

    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(generator, run, [MAN], tmp_path / "parts", stop)
    assert checkpoint_place(tmp_path / "parts" / "a") == (0, 3)
    (resumed,) = make(generator, run, [MAN], tmp_path / "parts")
    assert same(whole, resumed)
    assert not (tmp_path / "parts" / "a" / CHECKPOINT).exists()


def test_avatar_does_not_depend_on_its_batch_mates(generator, tmp_path):
    run = run_config(generator, batch=2)
    alone = make(generator, run, [GIRL], tmp_path / "alone")[0]
    first = make(generator, run, [GIRL, MAN], tmp_path / "first")[0]
    second = make(generator, run, [MAN, GIRL], tmp_path / "second")[1]
    assert same(alone, first) and same(alone, second)


def begin(generator, items, **method) -> tuple[Batch, State]:
    """What the steps of a batch share, and the state before the first one."""
    settings, keys = run_config(generator, **method).method, [item.key for item in items]
    size = 2 * generator.settings.latent_size
    state = initial_state(generator.head, settings, generator.settings, generator.context.start, keys, size)
    prompts = embed_prompts(generator.prior, [item.prompt for item in items], view_prompts=True, words="latent_paint")
    return Batch(generator.context, settings, prompts, torch.tensor(keys)), state


def advance(generator, steps: int, items=(MAN,), **method) -> State:
    """The state after some steps."""
    batch, state = begin(generator, items, **method)
    for _ in range(steps):
        take_step(batch, state)
    return state


def draws_of(generator, item) -> dict[str, torch.Tensor]:
    """Everything random about an avatar, at its first step."""
    batch, state = begin(generator, [item], views=2)
    drawn, cameras = draw(batch, 0), draw(batch, 0).cameras
    uniform = {name: getattr(drawn, name) for name in ("timestep", "background", "turn", "height")}
    poses = {name: getattr(cameras, name) for name in ("azimuth", "elevation", "distance", "target")}
    noise = {name: keyed_noise(batch.keys, step, 2, (4, 8, 8)) for name, step in (("noise", 0), ("masks", MASK_STREAM))}
    return {**uniform, **poses, **noise, **{name: state.mlp[name] for name in ("mlp_w1", "mlp_w2")}}


def test_prompts_of_one_seed_have_draws_of_their_own(generator):
    man, girl = (draws_of(generator, replace(item, seed=3)) for item in (MAN, GIRL))
    assert [name for name in man if torch.isclose(man[name], girl[name]).float().mean() > 0.02] == []


def test_draws_follow_the_prompt_from_list_to_list(generator):
    here, there = (draws_of(generator, item) for item in (MAN, replace(MAN, list="other", item="z", tags=("a=b",))))
    assert [name for name in here if not torch.equal(here[name], there[name])] == []
    other = draws_of(generator, replace(MAN, seed=1))
    assert not any(torch.equal(here[name], other[name]) for name in here)


def test_phase3_moves_the_texture_alone(generator):
    phases = {"phase1_steps": 1, "phase2_steps": 2, "phase3_steps": 2}
    before, after = (advance(generator, steps, **phases) for steps in (3, 5))
    for name, value in before.geometry().items():
        assert torch.equal(value, after.geometry()[name])
    assert before.shape.abs().max() > 0 and not torch.equal(before.texture, after.texture)
    first, second, third = (advance(generator, steps, **phases, phase2_texture=False).texture for steps in (1, 3, 5))
    assert torch.equal(first, second) and not torch.equal(second, third)


def test_phase3_resumes_with_the_same_bits(generator, tmp_path, monkeypatch):
    """Interrupted in phase 2, at its end and in phase 3: what the geometry's optimiser holds goes through phase 3."""
    monkeypatch.setattr("avatargen.method.batch_run.CHECKPOINT_STEPS", 1)
    run = run_config(generator, phase1_steps=0, phase2_steps=2, phase3_steps=2)
    (whole,) = make(generator, run, [MAN], tmp_path / "whole")
    for last in (2, 3, 4):

        def stop(done: int, _total: int, last: int = last) -> None:
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(generator, run, [MAN], tmp_path / "parts", stop)
        assert checkpoint_place(tmp_path / "parts" / "a") == (0, last - 1)
    (resumed,) = make(generator, run, [MAN], tmp_path / "parts")
    assert same(whole, resumed)
    assert [step for step, _ in History.load(tmp_path / "parts" / "a").snapshots] == [1, 2, 3, 4]


def test_resting_vertices_are_reused_until_geometry_moves(generator):
    rest = generator.proxy.vertices(generator.proxy.template(1))
    frozen = {"shape": False, "expression": False, "offsets": False, "segmentation_weight": 0.0}
    assert torch.equal(advance(generator, 3, phase1_steps=3).resting, rest)
    assert torch.equal(advance(generator, 3, phase1_steps=1, **frozen).resting, rest)
    assert advance(generator, 3, phase1_steps=1).resting is None


def test_method_without_offsets_moves_the_shape_alone(generator):
    state, fresh = advance(generator, 2, phase1_steps=0, offsets=False), advance(generator, 0)
    assert state.shape.abs().max() > 0
    assert all(torch.equal(state.mlp[name], fresh.mlp[name]) for name in fresh.mlp)


def test_texture_can_stay_as_phase1_left_it(generator):
    before = advance(generator, 1, phase1_steps=1)
    kept, moved = (advance(generator, 3, phase1_steps=1, phase2_texture=moves) for moves in (False, True))
    assert torch.equal(kept.texture, before.texture) and not torch.equal(moved.texture, before.texture)
    assert kept.shape.abs().max() > 0


def test_the_gradient_through_the_silhouette_is_scaled(generator):
    plain = {"phase1_steps": 0, "segmentation_weight": 0.0, "reading_weight": 0.0, "gradient_clip": 1e12}
    whole, part, none = (advance(generator, 1, **plain, distil_silhouette=weight) for weight in (1.0, 0.25, 0.0))
    for name, value in whole.geometry().items():
        torch.testing.assert_close(part.geometry()[name].grad, 0.25 * value.grad, rtol=1e-3, atol=0)
        assert not none.geometry()[name].grad.any()
    assert whole.shape.grad.abs().max() > 0 and whole.expression.grad.abs().max() > 0
    assert torch.equal(whole.texture.grad, none.texture.grad)


def test_mask_cameras_lie_within_the_priors_ranges(generator):
    ranges = CameraSettings(distance=(1.1, 1.3), fov=(12.0, 20.0))
    settings = generator.settings.model_copy(update={"cameras": ranges})
    cameras = mask_cameras(replace(generator.context, settings=settings), MethodSettings(mask_views=4), batch=2)
    assert cameras.azimuth[1].tolist() == [0, 90, 180, 270]
    assert cameras.fov.unique().tolist() == [16] and cameras.distance.unique().tolist() == pytest.approx([1.2])


def test_shading_cue_can_stay_in_phase2(generator):
    fades, stays = ({"phase1_steps": 1, "shading_alpha": 0.5, "shading_end": end} for end in (0.0, 0.5))
    assert torch.equal(advance(generator, 1, **fades).texture, advance(generator, 1, **stays).texture)
    without, with_cue = (advance(generator, 2, **method).texture.grad for method in (fades, stays))
    assert not torch.equal(without, with_cue)


def poison(monkeypatch, is_poisoned):
    """Make the first avatar's gradient not a number where `is_poisoned` (of the call's number) says so."""
    from avatargen.method import distillation

    gradient, calls = distillation.sds_gradient, []

    def poisoned(*arguments):
        result = gradient(*arguments).clone()
        if is_poisoned(len(calls)):
            result[0] = float("nan")
        calls.append(None)
        return result

    monkeypatch.setattr(distillation, "sds_gradient", poisoned)
    return calls


def test_diverged_avatar_leaves_its_batch_mates_alone(generator, tmp_path, monkeypatch):
    run = run_config(generator, batch=2)
    expected = make(generator, run, [MAN, GIRL], tmp_path / "fine")[1]
    calls = poison(monkeypatch, lambda _: True)
    mate, broken = make(generator, run, [MAN, GIRL], tmp_path / "poisoned")
    assert broken.status == "diverged" and "finite, at each of 2 attempts" in broken.message
    assert mate.status == "ok" and same(mate, expected)
    assert len(calls) == 2 * run.method.steps  # both attempts to their end, since mates may be under way


def test_diverged_avatar_stays_where_it_was(generator, monkeypatch):
    states = []
    for steps in (1, 3):
        with monkeypatch.context() as patch:
            poison(patch, lambda call: call == 1)
            states.append(advance(generator, steps, [MAN, GIRL], phase1_steps=0, phase2_steps=4))
    before, after = (state.parameters() for state in states)
    assert states[1].diverged.tolist() == [True, False]
    assert all(torch.equal(after[name][0], before[name][0]) for name in before)
    assert not any(torch.equal(after[name][1], before[name][1]) for name in ("texture", "shape", "expression"))


def test_diverged_avatar_is_retried_with_smaller_steps(generator, tmp_path, monkeypatch):
    run = run_config(generator, batch=2)
    whole = make(generator, run, [MAN, GIRL], tmp_path / "fine")
    poison(monkeypatch, lambda call: call == 1)
    mate, again = make(generator, run, [MAN, GIRL], tmp_path / "once")
    assert same(mate, whole[1])
    assert again.status == "ok" and again.prompt == MAN.prompt
    start = generator.context.start[:, None, None]
    moved, before = ((a.latent_texture - start).abs().max() for a in (again, whole[0]))
    assert 0 < moved < 0.5 * before
    assert [step for step, _ in History.load(tmp_path / "once" / "a").snapshots] == [4]


def test_interrupted_retry_resumes_as_a_retry(generator, tmp_path, monkeypatch):
    monkeypatch.setattr("avatargen.method.batch_run.CHECKPOINT_STEPS", 1)
    run = run_config(generator)
    poison(monkeypatch, lambda call: call == 1)
    (whole,) = make(generator, run, [MAN], tmp_path / "whole")

    seen = []

    def stop(done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == 7:  # four steps of the first attempt, three of the second
            raise KeyboardInterrupt

    monkeypatch.undo()
    monkeypatch.setattr("avatargen.method.batch_run.CHECKPOINT_STEPS", 1)
    poison(monkeypatch, lambda call: call == 1)
    with pytest.raises(KeyboardInterrupt):
        make(generator, run, [MAN], tmp_path / "parts", stop)
    assert checkpoint_place(tmp_path / "parts" / "a") == (1, 2)
    (resumed,) = make(generator, run, [MAN], tmp_path / "parts")
    assert whole.status == resumed.status == "ok" and same(whole, resumed)


def test_history_is_complete_after_an_interruption(generator, tmp_path, monkeypatch):
    monkeypatch.setattr("avatargen.method.batch_run.CHECKPOINT_STEPS", 2)
    monkeypatch.setattr("avatargen.method.recorder.EVERY", 2)
    run = run_config(generator, batch=2)
    make(generator, run, [MAN, GIRL], tmp_path / "whole")
    whole = History.load(tmp_path / "whole" / "b")
    assert [step for step, _ in whole.entries] == [step for step, _ in whole.snapshots] == [2, 4]
    first, last = (losses for _, losses in whole.entries)
    assert first["distillation"] > 0 and 0.1 < first["coverage"] < 0.9
    assert torch.tensor(first["segmentation"]).isnan() and last["segmentation"] >= 0  # phase 2 alone has masks
    assert whole.snapshots[0][1].shape == (64, 64, 3) and whole.snapshots[0][1].std() > 5

    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(generator, run, [MAN, GIRL], tmp_path / "parts", stop)
    make(generator, run, [MAN, GIRL], tmp_path / "parts")
    resumed = History.load(tmp_path / "parts" / "b")
    assert str(resumed.entries) == str(whole.entries)
    assert all((a[1] == b[1]).all() for a, b in zip(resumed.snapshots, whole.snapshots, strict=True))


def test_clip_loss_replaces_score_distillation(generator, tmp_path):
    clip = {"clip_guide": "tiny", "clip": JudgeSettings(model=str(write_clip(tmp_path / "clip")))}
    run = run_config(generator, guide="clip", segmentation_weight=0.0).model_copy(update=clip)
    (avatar,) = make(generator, run, [MAN], tmp_path)
    (other,) = make(generator, run_config(generator, segmentation_weight=0.0), [MAN], tmp_path / "diffusion")
    assert avatar.status == "ok" and not same(avatar, other)
    start = generator.context.start[:, None, None]
    assert (avatar.latent_texture - start).abs().max() > 0 and avatar.offsets.abs().max() > 0


def test_floor_and_ceiling_need_no_steps(generator, tmp_path):
    (floor,) = make(generator, run_config(generator, source="template"), [MAN], tmp_path)
    (ceiling,) = make(generator, run_config(generator, source="oracle"), [MAN], tmp_path)
    assert torch.equal(floor.shape, generator.head.template(1).shape[0])
    assert (floor.baked_texture == GREY).all()
    red, green, blue = ceiling.baked_texture[:, ceiling.baked_texture.sum(0) > 0].mean(1)
    assert green > red and green > blue


def test_either_half_of_the_ceiling_shows_that_half(generator, tmp_path):
    sources = ("template", "oracle", "true_texture", "true_shape")
    floor, ceiling, texture, shape = (
        make(generator, run_config(generator, source=source), [BEARDED], tmp_path)[0] for source in sources
    )
    geometry = ("shape", "expression", "offsets")
    assert ceiling.expression.abs().max() > 0 and ceiling.offsets.abs().max() > 0
    for name in geometry:
        assert torch.equal(getattr(texture, name), getattr(floor, name))
        assert torch.equal(getattr(shape, name), getattr(ceiling, name))
    assert torch.equal(texture.baked_texture, ceiling.baked_texture)
    assert torch.equal(shape.baked_texture, floor.baked_texture)
    assert texture.latent_texture is None and shape.latent_texture is None


def test_imported_mesh_is_fitted_by_its_landmarks(generator, tmp_path):
    """The template itself in centimetres, with a spike on its head, and a second time as tall as the template."""
    points, template = FacePoints.of(generator.head), generator.head.vertices(generator.head.template(1))
    spiky = torch.cat([template[0], torch.tensor([[0, 0.3, 0], [0.01, 0.2, 0], [0, 0.2, 0.01]])]).double().numpy()
    faces = torch.cat([generator.head.topology.faces, len(template[0]) + torch.tensor([[0, 1, 2]])]).numpy()
    trimesh.Trimesh(spiky * 100, faces, process=False).export(tmp_path / "a.ply")
    eyes, chin = (100 * points.eyes(template)[0]).tolist(), (100 * template[0, points.chin]).tolist()
    settings = [MeshSettings(folder=str(tmp_path), eyes=eyes, chin=chin), MeshSettings(folder=str(tmp_path))]
    runs = [run_config(generator, source="imported", meshes=each) for each in settings]
    by_face, by_height = (make(generator, run, [MAN], tmp_path)[0].offsets for run in runs)
    assert torch.allclose(by_face.max(0).values, torch.tensor(spiky.max(0)).float(), atol=1e-5)
    assert torch.allclose(by_face.min(0).values, template[0].min(0).values, atol=1e-5)
    assert float(by_height[:, 0].max() / by_face[:, 0].max()) == pytest.approx(0.2887 / 0.4444, abs=1e-3)


def test_seconds_cover_all_attempts_runs_and_baking(generator, tmp_path, monkeypatch):
    from avatargen.method import batch_run
    from avatargen.method import generator as module

    clock, steps, made = [0.0], [], {}
    bake, build_context = module.bake, module.build_context

    def takes(seconds: float, call):
        def timed(*arguments):
            clock[0] += seconds
            return call(*arguments)

        return timed

    def run_until(last: int, items) -> None:
        def on_step(done: int, _total: int) -> None:
            clock[0] += 10
            steps.append(done)
            if len(steps) == last:
                raise KeyboardInterrupt

        fresh, folders = replace(generator), [tmp_path / item.item for item in items]
        with suppress(KeyboardInterrupt):
            made.update((avatar.prompt, avatar) for avatar in fresh.run(run, items, folders, on_step))

    monkeypatch.setattr(batch_run, "CHECKPOINT_STEPS", 1)
    monkeypatch.setattr(batch_run, "now", lambda: clock[0])
    monkeypatch.setattr(module, "bake", takes(3, bake))
    monkeypatch.setattr(module, "build_context", takes(1000, build_context))
    poison(monkeypatch, lambda call: call == 1)
    run = run_config(generator, batch=2)
    for item in (MAN, GIRL):
        (tmp_path / item.item).mkdir()
    run_until(6, [MAN, GIRL])  # four steps of both, then the second of MAN's next attempt, which is lost
    assert made[GIRL.prompt].cost["seconds"] == 4 * 10 / 2 + 3 and MAN.prompt not in made
    run_until(0, [MAN])
    assert steps == [1, 2, 3, 4, 1, 2, 2, 3, 4]
    assert made[MAN.prompt].cost["seconds"] == 4 * 10 / 2 + 4 * 10 + 3


@pytest.mark.parametrize("source", ["optimise", "template"])
def test_peak_memory_is_that_of_the_batch(generator, tmp_path, source):
    run = run_config(generator, source=source, phase1_steps=1, phase2_steps=0)
    make(generator, run, [MAN], tmp_path / "before")
    torch.ones(2**27)
    high = peak_memory_mb()
    (avatar,) = make(generator, run, [MAN], tmp_path / "after")
    assert 100 < avatar.cost["peak_memory_mb"] < high - 100
