"""The report's section on how to make the same numbers again: command, configuration, versions, hardware, citation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from avatargen import __version__
from eval.results_file import ResultsFile

PAPER = """@article{bergman2023articulated,
  title   = {Articulated 3D Head Avatar Generation using Text-to-Image Diffusion Models},
  author  = {Bergman, Alexander W. and Yifan, Wang and Wetzstein, Gordon},
  journal = {arXiv preprint arXiv:2307.04859},
  year    = {2023}
}"""
SOFTWARE = """@software{{avatargen,
  title   = {{avatargen: a batch benchmark for text-to-3D head avatars}},
  author  = {{{{The avatargen authors}}}},
  version = {{{version}}},
  note    = {{code {code}, experiment {experiment}, configuration {hash}}}
}}"""


class Reproduction(NamedTuple):
    """What the section shows.

    Attributes:
        command: that started the run; empty if it is not known.
        facts: name and value of versions and hardware.
        config: the resolved configuration as YAML, without judges and methods; empty if it is not known.
        hash: of all resolved settings, prompts included.
        bibtex: entries of the paper and of this run.
    """

    command: str
    facts: list[tuple[str, str]]
    config: str
    hash: str
    bibtex: str


def reproduction(results: ResultsFile | None, versions: Mapping[str, str]) -> Reproduction:
    """Return what the section shows.

    Args:
        results: content of ``results.json``; None if it is not known.
        versions: see :func:`eval.versions.versions`.
    """
    if results is None:
        return Reproduction("", list(versions.items()), "", "", PAPER)
    config = results.config
    resolved = {"experiment": config.experiment, "judges": config.judges, "runs": config.runs}
    about = {"code": versions.get("code", "unknown"), "experiment": results.experiment, "hash": config.hash}
    software = SOFTWARE.format(version=__version__, **about)
    return Reproduction(
        config.command or "",
        [*versions.items(), *_hardware(results)],
        yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True, width=110),
        config.hash,
        f"{PAPER}\n\n{software}",
    )


def _hardware(results: ResultsFile) -> list[tuple[str, str]]:
    """Return the machines: the one that made the tables, and those that made the avatars."""
    found = [("tables made on", _machine(results.hardware)), ("tables made at", results.time.made)]
    for one in results.optimisation:
        about = {name: value for name, value in (("cpu", one.cpu), ("cores", one.cores), ("gpu", one.gpu)) if value}
        how = [f"batches of {one.batch_size}" if one.batch_size else "", one.number_format or ""]
        parts = [_machine(about), f"{one.threads} threads" if one.threads else "", *how]
        found.append((f"{one.method}, {one.n} made on", ", ".join(filter(None, parts)) or "unknown"))
    return found


def _machine(facts: Mapping[str, Any]) -> str:
    cores = f"{facts['cores']} cores" if facts.get("cores") else ""
    return ", ".join(str(part) for part in (facts.get("cpu"), cores, facts.get("gpu")) if part)
