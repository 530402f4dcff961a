"""Embeddings of an experiment's captions under one judge, so that tables are collected without loading a model.

``captions/{judge}.npz`` holds:

texture, …   (N, D) float32, one row for each caption of the track's pool; one array for each track of the experiment
prompts      (P, D) float32, one row for each prompt
facts        JSON: the judge, the captions and prompts of the rows, and the captions it truncates
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from avatargen.config.errors import InputError
from avatargen.io.atomic import replacing
from eval.pools import Pool


@dataclass(frozen=True)
class CaptionEmbeddings:
    """An experiment's captions under one judge; embeddings have unit norm.

    Attributes:
        judge: id of the judge, see :class:`eval.embed.Judge`.
        content: digest of the judge as it was loaded, see :meth:`eval.embed.Judge.content`.
        captions: the captions of each track's pool, in the pool's order.
        pools: their embeddings, by track.
        truncated: the captions of each track that are longer than the judge reads.
        prompts: the embedding of each prompt.
    """

    judge: str
    content: str
    captions: Mapping[str, Sequence[str]]
    pools: Mapping[str, Float[np.ndarray, "N D"]]
    truncated: Mapping[str, Sequence[str]]
    prompts: Mapping[str, Float[np.ndarray, " D"]]

    def save(self, path: Path) -> None:
        """Write the embeddings atomically.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        facts = {
            "judge": self.judge,
            "content": self.content,
            "captions": {track: list(captions) for track, captions in self.captions.items()},
            "truncated": {track: list(captions) for track, captions in self.truncated.items()},
            "prompts": list(self.prompts),
        }
        arrays: dict[str, Any] = {
            "facts": np.array(json.dumps(facts, ensure_ascii=False)),
            "prompts": np.stack(list(self.prompts.values())),
            **self.pools,
        }
        with replacing(path) as partial:
            np.savez(partial, **arrays)

    @classmethod
    def load(cls, path: Path) -> CaptionEmbeddings:
        """Read the embeddings that :meth:`save` wrote.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            with np.load(path) as file:
                facts = json.loads(str(file["facts"]))
                prompts = dict(zip(facts["prompts"], file["prompts"], strict=True))
                pools = {track: file[track] for track in facts["captions"]}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError([f"{path}: not readable ({error}); delete the file and run the workflow again"]) from error
        return cls(facts["judge"], facts["content"], facts["captions"], pools, facts["truncated"], prompts)

    def check(self, name: str, pools: Mapping[str, Pool], prompts: Sequence[str]) -> None:
        """Check that the embeddings are those of an experiment's pools and prompts.

        Args:
            name: of the judge, for the message.
            pools: of each track.
            prompts: every one of which needs an embedding.

        Raises:
            InputError: they are of other captions.
        """
        other = [track for track, pool in pools.items() if tuple(self.captions.get(track, ())) != pool.captions]
        missing = [prompt for prompt in prompts if prompt not in self.prompts]
        if other or missing:
            what = [f"captions of the {track} pool" for track in other] + [f"prompt '{text}'" for text in missing[:3]]
            raise InputError(
                [f"judge '{name}': got embeddings of other captions ({', '.join(what)}); embed the captions again"]
            )
