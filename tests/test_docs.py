"""The documentation agrees with the code and with itself."""

import re
from pathlib import Path

import pytest
import yaml

from avatargen import __version__
from avatargen.config.loading import load_experiment, load_library, resolve
from avatargen.config.places import ROOT
from avatargen.config.settings import Frozen, MethodSettings, PriorSettings

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "prompts/README.md", *ROOT.glob("results/**/README.md")]
)
SETTING = re.compile(r"^\| `([\w.]+)` \| (.+?) \| (.*?) \| (paper|borrowed|ours|deviates)\b.*? \| .+ \|$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def documented(section):
    """Rows of a table of hyper-parameters: name to (default, value of the other column, provenance)."""
    text = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    _, _, part = text.partition(f"### {section}\n")
    rows = SETTING.findall(part.partition("\n### ")[0])
    return {name: (yaml.safe_load(default), yaml.safe_load(other), source) for name, default, other, source in rows}


def stated(model, used, prefix=""):
    """What the code says of each hyper-parameter, in the form of `documented`."""
    found = {}
    for name, field in model.model_fields.items():
        extra, value = field.json_schema_extra, getattr(used, name)
        if isinstance(field.default, Frozen):
            found |= stated(type(value), value, f"{name}.")
        elif isinstance(extra, dict) and "provenance" in extra:
            default, value = (list(v) if isinstance(v, tuple) else v for v in (field.default, value))
            found[prefix + name] = (default, None if value == default else value, extra["provenance"])
    return found


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_documented_method_settings_are_those_of_the_code():
    run = resolve(load_experiment("paper"), "full", load_library())
    assert documented("Of the method") == stated(MethodSettings, run.method)


def test_documented_prior_settings_are_those_of_the_code():
    mini = load_library().priors["mini"]
    assert documented("Of the diffusion prior") == stated(PriorSettings, mini)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__
