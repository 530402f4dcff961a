"""Experiments, methods and tables: what ships is valid, and what is wrong is named."""

from dataclasses import replace

import pytest

from avatargen.config.experiment import Experiment, NamedMethod
from avatargen.config.loading import load_experiment, load_library, load_methods, parse, resolve
from avatargen.config.phase1 import phase1_of
from avatargen.config.places import ROOT
from avatargen.config.settings import MethodSettings, PriorSettings
from avatargen.io.content_hash import digest
from avatargen.preflight.validate import validate_all
from avatargen.runtime.fingerprint import of_method
from tests.user_folder import problems_of, write_yaml

METHODS = load_methods()


@pytest.mark.parametrize("name", METHODS)
def test_method_differs_from_full_in_exactly_what_it_lists(name):
    experiment, library = load_experiment("embedded"), load_library()
    full, other = (resolve(experiment, method, library) for method in ("full", name))
    assert changed_keys(full.method, other.method) == set(keys_of(METHODS[name].overrides))
    assert changed_keys(full.prior, other.prior) == set(keys_of(METHODS[name].prior))


def changed_keys(before, after):
    before, after = keys_of(before.model_dump()), keys_of(after.model_dump())
    return {key for key in before if before[key] != after[key]}


def keys_of(nested, prefix=""):
    """Values by dotted keys."""
    flat = {}
    for key, value in nested.items():
        flat |= keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def test_nested_change_leaves_its_neighbours(place):
    write_yaml(
        place / "workflow/config/mine.yaml",
        lists=["few"],
        methods=["full"],
        prior="own",
        judges=["own"],
        evaluation={"fov": 20, "views": 4},
    )
    assert load_experiment("mine", changes={"evaluation": {"views": 6}}).evaluation.fov == 20
    library = load_library()
    near = {"reason": "near", "prior": {"cameras": {"distance": [1.16, 1.2]}}}
    library = replace(library, methods={"near": parse(NamedMethod, near, "near")})
    cameras = resolve(load_experiment("embedded"), "near", library).prior.cameras
    assert cameras.distance == (1.16, 1.2) and cameras.fov == library.priors["mini"].cameras.fov


def test_method_may_name_its_own_renderer():
    experiment, library = load_experiment("embedded"), load_library()
    changed = experiment.model_copy(update={"overrides": {"soft_raster": {"sigma": 1e-3}}})
    wide = {"reason": "blurred", "renderer": "pytorch3d", "overrides": {"soft_raster": {"gamma": 1e-2}}}
    library.methods["wide"] = parse(NamedMethod, wide, "wide")
    runs = [resolve(changed, name, library) for name in ("full", "soft_rasteriser", "wide")]
    assert [run.renderer for run in runs] == ["warp", "pytorch3d", "pytorch3d"]
    assert [run.method.soft_raster.sigma for run in runs] == [1e-3] * 3
    assert runs[2].method.soft_raster.gamma == 1e-2
    assert phase1_of(runs[0]) != phase1_of(runs[1]) != phase1_of(runs[2])
    assert len({digest(*of_method(run)) for run in runs}) == 3


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/config").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_experiment_is_valid(path):
    if path.stem not in ("methods", "priors", "judges"):
        experiment = load_experiment(path.stem)
        for method in experiment.methods:
            resolve(experiment, method, load_library())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batchsize": 4}, "mine: unknown key 'batchsize'; did you mean 'batch_size'?"),
        ({"evaluation": {"veiws": 4}}, "mine: evaluation: unknown key 'veiws'; did you mean 'views'?"),
        ({"batch_size": 0}, "mine: batch_size: got 0; expected a whole number from 1 to 256, or auto"),
        ({"experiment": "../x"}, "experiment: String should match pattern"),
        ({"lists": []}, "lists: Tuple should have at least 1 item"),
        ({"evaluation": {"background": [128, 128, 128]}}, "background.0: Input should be less than or equal to 1"),
    ],
)
def test_wrong_keys_and_values_are_named(values, message):
    given = {"experiment": "mine", "lists": ["few"], "methods": ["full"], **values}
    assert message in problems_of(parse, Experiment, given, "mine")[0]


def test_overrides_are_checked(place):
    (problem,) = problems_of(validate_all, "mine", {"overrides": {"phase1_step": 3}})
    assert "unknown key 'phase1_step'; did you mean 'phase1_steps'?" in problem
    write_yaml(place / "workflow/config/methods.yaml", full={"reason": "why", "overrides": {"viewz": 1}})
    assert "did you mean 'views'?" in problems_of(validate_all, "mine")[0]
    (problem,) = problems_of(parse, MethodSettings, {"phase1_steps": 0, "phase2_steps": 0}, "full")
    assert problem.startswith("full: phase1_steps + phase2_steps + phase3_steps is 0")


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "full: {reason: why}\nfull: {reason: two}\n"])
def test_invalid_yaml_and_duplicate_keys_are_refused(place, text):
    (place / "workflow/config/methods.yaml").write_text(text)
    assert "methods.yaml" in problems_of(validate_all, "mine")[0]


def test_names_are_fit_for_files_and_patterns(place):
    write_yaml(place / "workflow/config/methods.yaml", **{"phase+1": {"reason": "a name that is a pattern"}})
    (problem,) = problems_of(validate_all, "mine")
    assert "methods.yaml: 'phase+1': expected a name of letters" in problem


def test_method_may_change_prior_settings_not_weights(place):
    stated = {"reason": "why", "prior": {"guidance": 7}}
    write_yaml(place / "workflow/config/methods.yaml", gentle=stated)
    runs = validate_all("mine", {"methods": ["full", "gentle"]}).runs
    assert runs["gentle"].prior == runs["full"].prior.model_copy(update={"guidance": 7})
    write_yaml(place / "workflow/config/methods.yaml", gentle={**stated, "prior": {"path": "else"}})
    assert "methods.yaml: gentle: prior: a method may change" in problems_of(validate_all, "mine")[0]
    write_yaml(place / "workflow/config/methods.yaml", gentle={**stated, "prior": {"guidence": 7}})
    assert "unknown key 'guidence'" in problems_of(validate_all, "mine", {"methods": ["gentle"]})[0]


def test_a_method_may_have_a_head_of_its_own(place):
    stated = {"reason": "more faces", "head": "anny_fine"}
    write_yaml(place / "workflow/config/methods.yaml", denser=stated)
    runs = validate_all("mine", {"methods": ["full", "denser"]}).runs
    assert [run.head for run in runs.values()] == ["anny", "anny_fine"]
    write_yaml(place / "workflow/config/methods.yaml", denser={**stated, "head": "anny_fines"})
    (problem,) = problems_of(validate_all, "mine", {"methods": ["denser"]})
    assert problem.startswith("methods.yaml: denser: head: ") and "anny_fine" in problem


def test_fields_that_are_not_used_are_not_written():
    """Hashes of experiments without diagnostics and questions do not know of them."""
    plain = load_experiment("embedded").model_dump(mode="json")
    assert not {"diagnose", "question", "priors"} & set(plain)
    asked = load_experiment("embedded", changes={"diagnose": ["robustness"], "question": "robustness"})
    assert asked.model_dump(mode="json") == {**plain, "diagnose": ["robustness"], "question": "robustness"}


def test_inverted_ranges_are_reported_together():
    stated = {"elevation": [30, 0], "fov": [0, 18], "close_fov": [13, 9], "front_bias": 2, "distance": [1, "inf"]}
    problems = problems_of(parse, PriorSettings, {"path": "x", "t_range": [0.5, 0.05], "cameras": stated}, "p")
    assert [problem.split(": ")[1] for problem in problems] == [
        *("t_range", "cameras.front_bias", "cameras.elevation", "cameras.distance.1", "cameras.fov.0"),
        "cameras.close_fov",
    ]
    assert problems[2] == "p: cameras.elevation: expected low <= high; got 30, 0"
    assert "got '2'" in problems[1]
    (problem,) = problems_of(parse, PriorSettings, {"path": "x", "t_range": [0.5, 1.5]}, "p")
    assert problem.startswith("p: t_range.1: Input should be less than or equal to 1")


def test_groups_under_reduced_follow_what_the_command_line_asks_for():
    """``--methods`` and ``--seeds`` leave out parts of a study, and of the groups of methods that it reduces."""
    some = load_experiment("study", changes={"methods": ["full", "no_shape", "template"]})
    assert [(group.methods, group.prompts, group.seeds) for group in some.reduced] == [(("no_shape",), 24, (0,))]
    later = load_experiment("study", changes={"seeds": [1]})
    assert [(group.prompts, group.seeds) for group in later.reduced] == [(24, None)]
    assert load_experiment("study", changes={"methods": ["full"]}).reduced == ()
    assert validate_all("study", {"methods": ["full", "no_shape"], "seeds": [1]}).experiment.seeds == (1,)
