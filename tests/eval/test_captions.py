"""Embeddings of captions on disk, and what decides that they are current."""

import subprocess
import sys

import numpy as np
import pytest

from avatargen.config.errors import InputError
from avatargen.config.places import ROOT
from avatargen.io.code_hash import closure
from eval.captions import CaptionEmbeddings
from eval.embed_captions import embed_captions
from eval.pools import build_pools

LONG = "a man " * 40


@pytest.fixture
def embedded(judge, make_row) -> CaptionEmbeddings:
    rows = [make_row("a", geometry="a bald man"), make_row("b")]
    return embed_captions(judge, build_pools(rows, [LONG]), [row.prompt for row in [*rows, rows[0]]])


def test_captions_come_back_as_they_were(embedded, tmp_path):
    embedded.save(tmp_path / "tiny.npz")
    loaded = CaptionEmbeddings.load(tmp_path / "tiny.npz")
    assert loaded.judge == embedded.judge and list(loaded.prompts) == ["head a", "head b"]
    assert loaded.captions == {"texture": ["head a", "head b", LONG], "geometry": ["a bald man", "head b"]}
    assert loaded.truncated == {"texture": [LONG], "geometry": []}
    for track, embeddings in embedded.pools.items():
        np.testing.assert_array_equal(loaded.pools[track], embeddings)
    for prompt, embedding in embedded.prompts.items():
        np.testing.assert_array_equal(loaded.prompts[prompt], embedding)


def test_rows_are_the_judges_embeddings(embedded, judge):
    np.testing.assert_array_equal(embedded.pools["geometry"], judge.embed_texts(["a bald man", "head b"]))


def test_damaged_captions_are_an_input_error(tmp_path):
    (tmp_path / "tiny.npz").write_bytes(b"PK half a file")
    for name in ("tiny", "absent"):
        with pytest.raises(InputError, match=f"{name}.npz: not readable"):
            CaptionEmbeddings.load(tmp_path / f"{name}.npz")


def test_code_that_builds_pools_counts():
    """An edit of the pools, or of the geometry captions, makes the embeddings stale; those of images stay."""
    shaping = {"eval.pools", "avatargen.headworld.phrases"}
    assert shaping | {"eval.embed", "eval.captions"} <= closure(("eval.embed_captions",))
    assert not shaping & closure(("eval.embed",))


def test_collecting_loads_no_model():
    code = "import sys, eval.collect; print('open_clip' in sys.modules, 'diffusers' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
