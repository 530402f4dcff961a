"""From manifests, embeddings and distances on disk to the tables of an experiment.

The folder of tables holds those of :mod:`eval.tabulate`, the ones for people as CSV, Markdown and LaTeX, the others as
CSV; and ``protocols.json``, which spells out the protocol hashes, and names the captions that judges truncate. No model
is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avatargen.config.crossing import split_name
from avatargen.config.errors import Problems
from avatargen.config.experiment import Experiment
from avatargen.config.settings import PriorSettings
from avatargen.io.atomic import write_json
from avatargen.io.manifest import Row
from eval.agreement import inverted_judges, mark_inverted
from eval.captions import CaptionEmbeddings
from eval.consistency import PRIORS, consistency
from eval.images import view_protocol
from eval.load import judges_of, load_avatar_files
from eval.pools import Pool
from eval.protocol import Protocol, Protocols, spelt_out
from eval.records import to_frame
from eval.score import AvatarScores, Score, score_avatar
from eval.tables import remove_table, split_runs, write_table
from eval.tabulate import baseline_of_experiment, list_records, tabulate


def collect(
    experiment: Experiment,
    priors: Mapping[str, PriorSettings],
    rows: Sequence[Row],
    pools: Mapping[str, Pool],
    captions: Mapping[str, CaptionEmbeddings],
    root: Path,
    tables: Path,
    guides: Mapping[str, Sequence[str]] | None = None,
    flat: Collection[str] = (),
) -> None:
    """Write all tables of an experiment.

    Args:
        experiment: whose tables they are.
        priors: by the name of the run; their settings decide how latents are shown.
        rows: of all manifests, in the order of :func:`eval.pools.in_method_order`.
        pools: of each track, see :func:`eval.pools.read_pools`.
        captions: their embeddings, by judge.
        root: what the rows' folders are relative to.
        tables: folder to write to.
        guides: for each method, the judges that guided it; these do not judge it.
        flat: methods whose avatars have no surface; the geometry track leaves them out.

    Raises:
        InputError: embeddings or distances of an avatar are missing, or embeddings are of other captions; all problems.
        ProtocolError: embeddings were made under different protocols.
    """
    problems = Problems()
    for name, embeddings in captions.items():
        problems.of(lambda name=name, e=embeddings: e.check(name, pools, [row.prompt for row in rows]))
    problems.check()
    shown = (experiment.head, experiment.renderer)
    views = {name: view_protocol(experiment.evaluation, prior, *shown) for name, prior in priors.items()}
    avatars = score_avatars(rows, captions, pools, views, root, guides or {}, flat)
    judges = list(captions)
    scores = [score for avatar in avatars for score in avatar.scores]
    scores.sort(key=lambda score: judges.index(score.record.judge))  # stable: avatars keep their order
    baseline = baseline_of_experiment(experiment)
    crossed = experiment.priors is not None
    for name, table in tabulate(avatars, scores, baseline).items():
        write_table(split_runs(table) if crossed else table, tables, name)
    for name, table in list_records(avatars, scores).items():
        write_table(split_runs(table) if crossed else table, tables, name, readable=False)
    remove_table(tables, PRIORS)  # of an earlier run with other priors
    if experiment.priors:
        inverted = inverted_judges(to_frame(score.record for score in scores), baseline)
        write_table(mark_inverted(consistency(avatars, experiment.priors), inverted), tables, PRIORS)
    write_json(tables / "protocols.json", protocol_facts(scores, captions))


def score_avatars(
    rows: Sequence[Row],
    captions: Mapping[str, CaptionEmbeddings],
    pools: Mapping[str, Pool],
    views: Mapping[str, dict[str, Any]],
    root: Path,
    guides: Mapping[str, Sequence[str]],
    flat: Collection[str] = (),
) -> list[AvatarScores]:
    """Read and score one avatar after the other; arguments as of :func:`collect` and `eval.score.score_avatar`.

    Raises:
        InputError: embeddings are missing; all problems.
    """
    problems, found, protocols = Problems(), [], Protocols.of(rows, pools, captions)
    for row in rows:
        judges = judges_of(row, captions, guides)
        files = problems.of(lambda row=row, judges=judges: load_avatar_files(row, root, judges))
        if files:
            found.append(score_avatar(files, captions, pools, views[row.method], protocols, row.method in flat))
    problems.check()
    return found


def protocol_facts(scores: Iterable[Score], captions: Mapping[str, CaptionEmbeddings]) -> dict[str, dict[str, Any]]:
    """Return each protocol by its hash, spelt out, with its subset and the captions that its judge truncates.

    In the tracks of colour, methods that are crossed with priors have a protocol for each decoder; it names these
    priors.
    """
    found: dict[str, tuple[Protocol, str, str]] = {}
    decoders: dict[str, dict[str, None]] = {}
    for protocols, record in scores:
        prior = split_name(record.method)[1] if record.track != "geometry" else ""
        for subset, protocol in protocols.items():
            found[protocol.hash] = (protocol, subset, record.judge)
            if prior:
                decoders.setdefault(protocol.hash, {})[prior] = None
    return {
        key: {
            "subset": subset,
            **spelt_out(protocol, judge, captions[judge].truncated[protocol.track]),
            **({"priors": list(decoders[key])} if key in decoders else {}),
        }
        for key, (protocol, subset, judge) in found.items()
    }
