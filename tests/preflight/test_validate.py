"""Validation before the first job: every problem is reported at once."""

import socket

import pytest

from avatargen.config import packages
from avatargen.config.errors import InputError
from avatargen.config.loading import load_experiment, load_library
from avatargen.config.pools import TRACKS
from avatargen.exchange.item_table import item_name
from avatargen.heads.flame.files import VARIABLE
from avatargen.preflight import disk_estimate
from avatargen.preflight.validate import check_space, guiding_judges, needed_bytes, running_bytes, validate_all
from avatargen.runtime.launch import notes_of, start_run, study_of
from tests.small_flame import write_flame
from tests.user_folder import notes_beside_pools, problems_of, write_yaml

SMALL_POOLS = [f"few: pool of 2 captions in track '{track}': chance level 0.50" for track in ("texture", "geometry")]


def test_working_directory_brings_its_own_configuration(place):
    study = validate_all("mine")
    assert [item.seed for item in study.lists["few"]] == [0, 0, 1, 1]
    assert study.runs["full"].prior_name == "own" and study.files["few"].name == "few.txt"
    study = validate_all("mine", {"chunk_size": 3})
    assert {name: len(items) for name, items in study.chunks("few", "full").items()} == {"0000": 3, "0001": 1}


def test_all_problems_are_reported_at_once(place, monkeypatch):
    (place / "prompts/bad.txt").write_text("twice\ntwice\n")
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    changes = {"lists": ["bad", "fwe"], "methods": ["full", "txture_only"], "prior": "mni", "head": "any"}
    more = {"judges": ["owl"], "renderer": "wrap", "diagnose": ["robustnes", "shape", "shape"]}
    text = "\n".join(problems_of(validate_all, "mine", changes | more))
    for part in (
        "bad.txt:2: duplicate prompt 'twice'",
        "unknown list 'fwe'; did you mean 'few'?",
        "unknown method 'txture_only'; did you mean 'texture_only'?",
        "unknown prior 'mni'; did you mean 'mini'?",
        "unknown judge 'owl'; did you mean 'own'?",
        "unknown head 'any'; did you mean 'anny'?",
        "unknown renderer 'wrap'; did you mean 'warp'?",
        "unknown diagnostic 'robustnes'; did you mean 'robustness'?",
        "diagnose: duplicate 'shape'",
        "RAY_ADDRESS: got 'nonsense'; expected HOST:PORT",
    ):
        assert part in text


def test_wrong_field_or_table_hides_no_other_problem(place):
    changes = {"batchsize": 4, "seeds": ["x"], "reduced": {"methods": ["full"], "prompts": 1, "seeds": [1]}}
    problems = problems_of(validate_all, "mine", changes | {"lists": ["fwe"], "methods": ["ful"]})
    for part, line in zip(
        ("'batchsize'", "seeds: got 'x'", "'fwe'", "'ful'"), sorted(problems, key=_order), strict=True
    ):
        assert part in line
    (place / "workflow/config/methods.yaml").write_text("full: {reason: why, overides: {}}")
    problems = problems_of(validate_all, "mine", {"lists": ["fwe"]})
    assert [part in line for part, line in zip(("'overides'", "'fwe'"), problems, strict=True)] == [True, True]


def test_wrong_field_is_not_judged_by_its_default(place, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    changes = {
        "methods": ["clip_guided", "ful"],
        "clip_guide": "mini",
        "judges": [{}],
        "backend": "Serial",
        "lists": {},
    }
    problems = problems_of(validate_all, "mine", changes | {"prior": ["x"], "experiment": "Other"})
    parts = ("judges.0", "backend", "lists", ": prior", "experiment: String", "'ful'")
    assert len(problems) == len(parts) and all(any(part in line for line in problems) for part in parts)


def _order(line):
    return [part in line for part in ("'batchsize'", "seeds: got 'x'", "'fwe'", "'ful'")].index(True)


def test_unknown_experiment_gets_a_suggestion(place):
    assert "did you mean 'mine'?" in problems_of(validate_all, "mien")[0]
    assert "unknown experiment 'methods'" in problems_of(validate_all, "methods")[0]
    assert "unknown key 'experimnt'; did you mean 'experiment'?" in problems_of(study_of, {"experimnt": 1}, False)[0]


def test_unreadable_pools_are_reported(place):
    (place / "prompts/few.negatives.txt").write_bytes(b"a p\xe4le baby\n")
    (place / "prompts/more.tsv").write_text("id\tprompt\na\ta man with green skin\n")
    rows = "a\ttexture\ta girl\na\tgeometry\ta man\na\tx\ty\n"
    (place / "prompts/more.pools.tsv").write_text(f"id\ttrack\tcaption\n{rows}")
    problems = problems_of(validate_all, "mine", {"lists": ["few", "more"], "methods": ["full", "ful"]})
    for part, line in zip(
        (
            "few.negatives.txt:1: not UTF-8: byte 0xe4",
            "more.pools.tsv:3: got 'a man', the own caption of 'a' in geometry",
            "more.pools.tsv:4: track: unknown track 'x'",
            "no captions in track 'shape_in_colour' for a;",
            "'ful'",
        ),
        problems,
        strict=True,
    ):
        assert part in line


def test_pools_file_excludes_negatives(place):
    (place / "prompts/few.negatives.txt").write_text("a pale baby\n")
    (place / "prompts/few.pools.tsv").write_text("")
    (problem,) = problems_of(validate_all, "mine")
    assert problem.startswith("few: got both few.pools.tsv and few.negatives.txt; expected one of them")


def test_small_pools_get_a_note(place):
    """Seeds do not count; a pools file's pools do not change with `limit`."""
    assert list(validate_all("mine").notes) == SMALL_POOLS
    assert [note for note in notes_of(validate_all("mine")) if "pool" in note] == SMALL_POOLS
    (place / "prompts/few.negatives.txt").write_text("".join(f"head {number}\n" for number in range(18)))
    (note,) = validate_all("mine").notes
    assert "'geometry'" in note
    (place / "prompts/few.negatives.txt").unlink()
    first, second = (item.item for item in validate_all("mine").lists["few"][:2])
    rows = [f"{id_}\t{track}\trival {k}\n" for id_ in (first, second) for track in TRACKS for k in range(19)]
    (place / "prompts/few.pools.tsv").write_text("id\ttrack\tcaption\n" + "".join(rows))
    assert not validate_all("mine", {"limit": 1}).notes
    (place / "prompts/few.pools.tsv").write_text("id\ttrack\tcaption\n" + "".join(rows[:-1]))
    assert list(validate_all("mine").notes) == ["few: pool of 19 captions: chance level 0.05"]
    assert not validate_all("mine", {"limit": 1}).notes


@pytest.mark.parametrize("gpus", [1.5, 2.25, 0.001, -1, "one"])
def test_shares_of_a_gpu_that_ray_refuses_are_reported(place, gpus):
    (problem,) = problems_of(validate_all, "mine", {"gpus_per_worker": gpus})
    assert "gpus_per_worker" in problem
    for right in (0, 0.25, 1, 2):
        assert validate_all("mine", {"gpus_per_worker": right}).experiment.gpus_per_worker == right


@pytest.mark.parametrize("address", ["localhost", "ray://host:10001", "host:port", "host:99999", "a b:1"])
def test_malformed_ray_address_is_reported(place, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    (problem,) = problems_of(validate_all, "mine")
    assert f"RAY_ADDRESS: got '{address}'; expected HOST:PORT" in problem
    assert validate_all("mine", {"backend": "serial"})


def test_oracle_leaves_out_prompts_without_a_true_head(place):
    strange = "\n".join(f"wizard number {number}" for number in range(5))
    (place / "prompts/few.txt").write_text(f"a man\n{strange}\n")
    study = validate_all("mine", {"methods": ["full", "oracle"]})
    assert len(study.items("few", "full")) == 12 and len(study.items("few", "oracle")) == 2
    (note,) = notes_beside_pools(study.notes)
    assert note.startswith("few: 'oracle' leaves out prompts") and "'wizard number 2') and 2 more" in note
    (place / "prompts/few.txt").write_text(strange)
    study = validate_all("mine", {"methods": ["full", "oracle"]})
    assert list(study.runs) == list(study.experiment.methods) == ["full"] and study.notes
    assert "none is left" in problems_of(validate_all, "mine", {"methods": ["oracle"]})[1]


def test_reduced_method_needs_only_the_meshes_it_uses(place):
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": {"folder": str(place)}}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    (first, second) = (item.item for item in validate_all("mine").lists["few"][:2])
    (place / f"{first}.ply").touch()
    asked = {"methods": ["full", "theirs"]}
    (problem,) = problems_of(validate_all, "mine", asked)
    assert f"no mesh for {second}, {first}.1, {second}.1;" in problem
    study = validate_all("mine", asked | {"reduced": {"methods": ["theirs"], "prompts": 1, "seeds": [0]}})
    assert [item.item for item in study.items("few", "theirs")] == [first]


def test_faces_are_compared_only_where_meshes_have_landmarks(place):
    meshes = {"folder": str(place), "scale": 0.01}
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": meshes}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    for item in validate_all("mine").lists["few"]:
        (place / f"{item.item}{f'.{item.seed}' if item.seed else ''}.ply").touch()
    asked = {"methods": ["full", "theirs"]}
    assert validate_all("mine", asked).experiment.evaluation.fit == "metric"
    (problem,) = problems_of(validate_all, "mine", {**asked, "evaluation": {"fit": "face"}})
    assert "fit: got 'face', but 'theirs' has meshes without landmarks" in problem
    del meshes["scale"]
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    assert any("as tall as the template" in note for note in validate_all("mine", asked).notes)
    write_yaml(
        place / "workflow/config/methods.yaml",
        theirs={
            **stanza,
            "overrides": {"source": "imported", "meshes": {**meshes, "eyes": [0, 1, 0], "chin": [0, 0, 0]}},
        },
    )
    fitted = validate_all("mine", {**asked, "evaluation": {"fit": "face"}}).notes
    assert not any("as tall as the template" in note for note in fitted)


def test_flame_needs_its_files_and_has_no_true_heads(place, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(place / "nowhere"))
    flame = {"head": "flame", "methods": ["full", "oracle"]}
    (problem,) = problems_of(validate_all, "mine", flame)
    assert "nowhere: no such folder; expected there" in problem and "FLAME_masks.pkl" in problem
    write_flame(place / "flame")
    monkeypatch.setenv(VARIABLE, str(place / "flame"))
    study = validate_all("mine", flame)
    assert list(study.runs) == ["full"]
    vertices, left_out = notes_beside_pools(study.notes)
    assert vertices.startswith("head 'flame': generic_model.pkl: 2,633 vertices after subdivision")
    assert left_out == "'oracle' is left out: ground-truth heads are of 'anny', not 'flame'"
    assert list(validate_all("paper").runs) == list(load_experiment("paper").methods)


def test_silent_ray_address_is_reported(place, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free.getsockname()[1]}")
        assert "nothing answers at 127.0.0.1" in problems_of(validate_all, "mine")[0]
        free.listen()
        assert validate_all("mine")


def test_too_little_disk_is_reported(place, monkeypatch):
    study = validate_all("mine")
    needed = needed_bytes(study, place / "results/mine")
    judges = study.judges.values()
    assert needed > 4 * disk_estimate.avatar_bytes(study.runs["full"], study.experiment.evaluation, judges)
    enough = needed + running_bytes(study) + disk_estimate.MARGIN
    monkeypatch.setattr(disk_estimate, "free_bytes", lambda folder: enough)
    check_space(study, place / "results/mine")
    monkeypatch.setattr(disk_estimate, "free_bytes", lambda folder: enough - 1)
    (problem,) = problems_of(check_space, study, place / "results/mine")
    assert "too little disk" in problem and "needed" in problem
    assert notes_beside_pools(notes_of(study)) == [problem.replace(str(place) + "/", "")], "a dry run says it"
    (place / "results/mine").mkdir(parents=True)
    with pytest.raises(InputError, match="too little disk"):
        start_run(study, 1, True, "plan.json")
    assert not (place / "plan.json").exists()
    for item in study.lists["few"]:
        done = place / "results/mine/few/full/avatars" / item.id / "done.json"
        done.parent.mkdir(parents=True)
        done.touch()
    check_space(study, place / "results/mine")


def test_diagnostics_take_space_until_they_have_measured(place):
    study, results = validate_all("mine", {"diagnose": ["robustness"], "methods": ["full"]}), place / "results/mine"
    plain = validate_all("mine", {"methods": ["full"]})
    each = disk_estimate.diagnostic_bytes("robustness")
    items = study.lists["few"]
    assert needed_bytes(study, results) - needed_bytes(plain, results) == len(items) * each
    measured = results / "few/full/avatars" / items[0].id / "diagnostics/robustness.json"
    measured.parent.mkdir(parents=True)
    measured.touch()
    assert needed_bytes(study, results) - needed_bytes(plain, results) == (len(items) - 1) * each


def test_clip_guide_is_never_the_only_judge(place):
    own, judges = {"model": str(place / "judge")}, place / "workflow/config/judges.yaml"
    changes = {"methods": ["full", "clip_guided"], "clip_guide": "own"}
    (problem,) = problems_of(validate_all, "mine", changes)
    assert "got only 'own', which guides method 'clip_guided'" in problem
    write_yaml(
        place / "workflow/config/judges.yaml", own={"model": str(place / "judge")}, second={"model": "no/such/folder"}
    )
    (problem,) = problems_of(validate_all, "mine", {**changes, "clip_guide": "second"})
    assert "judges.yaml: second: model: no/such/folder: no such folder" in problem
    (problem,) = problems_of(validate_all, "mine", {**changes, "clip_guide": "owl"})
    assert "clip_guide: unknown judge 'owl'" in problem
    write_yaml(judges, own=own, second={"model": "ViT-B-32", "pretrained": "openai"})
    study = validate_all("mine", {**changes, "judges": ["own", "second"]})
    assert guiding_judges(study) == {"clip_guided": ["own"]}
    assert study.runs["full"].clip is None


def test_an_unknown_question_is_named(place):
    (problem,) = problems_of(validate_all, "mine", {"question": "flickers"})
    assert problem == "mine: question: unknown question 'flickers'; did you mean 'flicker'?"


def test_a_question_without_its_diagnostic_is_a_note(place):
    """The run may go on: what is missing is not measured."""
    notes = validate_all("mine", {"question": "flicker", "diagnose": ["shape"]}).notes
    assert [note for note in notes if "question" in note] == [
        "mine: question: 'flicker' goes by what diagnose finds; without 'diagnose: [shape, flicker]' its answer says "
        "'not measured'"
    ]
    assert not any("question" in note for note in validate_all("mine", {"question": "cost"}).notes)


def test_methods_of_a_grid_are_runs(place):
    grid = {"vary": {"steps": [180], "mask_period": [20, 40]}}
    study = validate_all("mine", {"grid": grid, "methods": ["full"]})
    assert list(study.runs) == ["full"]  # the command line names the methods
    assert "full-steps_180-mask_period_20" not in study.runs
    study = validate_all("mine", {"grid": grid, "methods": ["full-steps_180-mask_period_20"]})
    assert study.runs["full-steps_180-mask_period_20"].method.mask_period == 20
    study = validate_all("mine", {"grid": grid})
    names = ["full-steps_180-mask_period_20", "full-steps_180-mask_period_40"]
    assert [name for name in study.runs if name.startswith("full-")] == names
    assert study.reasons[names[0]] == "full with steps 180, mask period 20"


def test_a_method_may_name_its_own_clip_guide(place):
    own, judges = {"model": str(place / "judge")}, place / "workflow/config/judges.yaml"
    write_yaml(judges, own=own, second={"model": "ViT-B-32", "pretrained": "openai"})
    guided = {"reason": "mirror", "clip_guide": "second", "overrides": {"guide": "clip"}}
    write_yaml(place / "workflow/config/methods.yaml", mirror=guided)
    changes = {"methods": ["clip_guided", "mirror"], "clip_guide": "own", "judges": ["own", "second"]}
    study = validate_all("mine", changes)
    assert guiding_judges(study) == {"clip_guided": ["own"], "mirror": ["second"]}
    assert [study.runs[name].clip_guide for name in ("clip_guided", "mirror")] == ["own", "second"]
    (problem,) = problems_of(validate_all, "mine", {**changes, "judges": ["second"]})
    assert "got only 'second', which guides method 'mirror'" in problem
    plain, typo = {"reason": "plain", "clip_guide": "own"}, {**guided, "clip_guide": "secnd"}
    write_yaml(place / "workflow/config/methods.yaml", mirror=typo, plain=plain)
    typo, plain = problems_of(validate_all, "mine", {**changes, "methods": ["mirror", "plain"]})
    assert typo == "methods.yaml: mirror: clip_guide: unknown judge 'secnd'; did you mean 'second'?"
    assert plain.startswith("methods.yaml: plain: clip_guide: got 'own', but no CLIP guides the method")


def test_shipped_mirror_is_guided_by_the_other_judge(place):
    study = validate_all("mine", {"methods": ["clip_guided", "clip_guided_by_mini"], "judges": ["mini", "guide"]})
    assert guiding_judges(study) == {"clip_guided": ["guide"], "clip_guided_by_mini": ["mini"]}
    first, mirror = study.runs.values()
    assert first.method == mirror.method and first.prior == mirror.prior


def test_reduced_methods_run_on_part_of_the_lists(place):
    reduced = {"methods": ["template"], "prompts": 1, "seeds": [1]}
    study = validate_all("mine", {"methods": ["full", "template"], "reduced": reduced})
    assert len(study.items("few", "full")) == 4
    ((only,),) = study.chunks("few", "template").values()
    assert (only.prompt, only.seed) == ("a man", 1)
    groups = [{"methods": ["full"], "seeds": [1]}, {"methods": ["template"], "prompts": 1}]
    study = validate_all("mine", {"methods": ["full", "template"], "reduced": groups})
    made = {name: [(item.prompt, item.seed) for item in study.items("few", name)] for name in study.runs}
    assert {seed for _, seed in made["full"]} == {1} and len(made["full"]) == 2
    assert made["template"] == [("a man", 0), ("a man", 1)]
    twice = {"methods": ["full"], "reduced": [{"methods": ["full"], "seeds": [1]}, {"methods": ["full"]}]}
    assert problems_of(validate_all, "mine", twice) == ("mine: reduced: methods: duplicate 'full'",)
    wrong = {"methods": ["full"], "reduced": {**reduced, "seeds": [7]}}
    problems = problems_of(validate_all, "mine", wrong)
    assert "reduced: methods: got 'template'" in problems[0] and "reduced: seeds: got '7'" in problems[1]


@pytest.mark.parametrize("name", ["embedded", "embedded-study", "extreme", "gate", "study"])
def test_every_shipped_prompt_has_a_true_head(place, name):
    assert not validate_all("mine", {"lists": [name], "methods": ["oracle"]}).notes


def test_guide_under_another_name_is_never_the_only_judge(place):
    """Two names of one judge are equal, whatever their reasons say."""
    own = {"model": str(place / "judge")}
    alias = {**own, "reason": "the same weights under another name"}
    write_yaml(place / "workflow/config/judges.yaml", own=own, alias=alias)
    changes = {"methods": ["full", "clip_guided"], "clip_guide": "own", "judges": ["alias"]}
    (problem,) = problems_of(validate_all, "mine", changes)
    assert "a guide is never its own judge" in problem
    study = validate_all("mine", {**changes, "judges": ["alias", "mini"]})
    assert guiding_judges(study) == {"clip_guided": ["alias"]}


def test_relative_paths_start_at_the_working_directory_too(place):
    """In an installation, nothing of the user's lies beside the packages. Meshes: at the file that names them."""
    write_yaml(place / "workflow/config/priors.yaml", own={"path": "prior"})
    write_yaml(place / "workflow/config/judges.yaml", own={"model": "judge"})
    stanza = {"reason": "theirs", "overrides": {"source": "imported", "meshes": {"folder": "../../theirs"}}}
    write_yaml(place / "workflow/config/methods.yaml", theirs=stanza)
    (place / "theirs").mkdir()
    items = validate_all("mine").lists["few"]
    for item in items:
        (place / "theirs" / f"{item_name(item)}.ply").touch()
    study = validate_all("mine", {"methods": ["full", "theirs"]})
    assert study.prior_of("full").path == str(place / "prior") and study.judges["own"].model == str(place / "judge")
    assert study.runs["theirs"].method.meshes.folder == str(place / "theirs")
    assert load_library().priors["mini"].path == "avatargen/weights/prior"


def test_renderer_that_cannot_be_imported_is_an_error(place, monkeypatch):
    """PyTorch3D for another torch: of a method's own renderer, and of the experiment's, said once."""
    (place / "workflow/config/methods.yaml").write_text("soft: {reason: theirs, renderer: pytorch3d}")
    versions = {"torch": "2.14.1", "easypytorch3d": "0.7.9.post1", "pytorch3d": ""}
    monkeypatch.setattr(packages, "_version", versions.__getitem__)
    monkeypatch.setattr(packages, "find_spec", lambda name: object())
    (problem,) = problems_of(validate_all, "mine", {"methods": ["full", "soft"]})
    assert problem.startswith("methods.yaml: soft: renderer: easypytorch3d 0.7.9.post1 does not load with torch 2.14.1")
    assert "expected easypytorch3d==0.7.9.post1 with torch 2.11 or 2.12" in problem
    (problem,) = problems_of(validate_all, "mine", {"methods": ["full", "soft"], "renderer": "pytorch3d"})
    assert problem.startswith("mine: renderer: ")
    assert validate_all("mine", {"methods": ["full"]})


def test_unknown_renderer_of_a_method_is_named(place):
    (place / "workflow/config/methods.yaml").write_text("soft: {reason: theirs, renderer: pytorch}")
    (problem,) = problems_of(validate_all, "mine", {"methods": ["soft"]})
    assert problem == "methods.yaml: soft: renderer: unknown renderer 'pytorch'; did you mean 'pytorch3d'?"
