"""Texts in words that the shipped models never read."""

from dataclasses import replace

import pytest

from eval.unread import unread_texts
from tests.eval.test_report import inputs, page_of  # noqa: F401

OWN, OTHER = "avatargen/weights/judge", "ViT-B-32"
PROTOCOLS = [{"captions": ["a man", "a girl", "a merry lad"]}, {"captions": ["a girl", "a hairless lad"]}]


@pytest.fixture
def some(make_row):
    return [make_row(prompt=prompt) for prompt in ("a man", "a merry lad")]


def test_prompts_and_other_captions_are_counted(some, prior_settings):
    found = unread_texts(some, PROTOCOLS, {"mini": prior_settings}, {"mini": OWN, "b32": OTHER})
    assert found.readers == ["judge 'mini'"], "no row was made with the prior"
    assert found.prompts == {"a merry lad": "merry, lad"} and found.total == 2
    assert found.captions == ["a hairless lad"] and found.total_captions == 2


def test_a_prior_reads_the_prompts_of_its_rows(some, prior_settings):
    own = prior_settings.model_copy(update={"path": "avatargen/weights/prior"})
    rows = [row.model_copy(update={"prior": "mini"}) for row in some]
    assert unread_texts(rows, [], {"mini": own, "sd15": prior_settings}, {}).readers == ["prior 'mini'"]


def test_other_models_read_free_text(some, prior_settings):
    found = unread_texts(some, PROTOCOLS, {}, {"b32": OTHER})
    assert not (found.readers or found.prompts or found.captions)


def test_the_report_says_which_words(inputs):  # noqa: F811
    assert "unknown words" not in page_of(inputs) and "never read" not in page_of(inputs)
    rows = [row.model_copy(update={"prompt": "a <merry> lad"}) if row.item == "b" else row for row in inputs.rows]
    page = page_of(replace(inputs, rows=rows, judges={"tiny": OWN}))
    assert page.count("unknown words: merry, lad</b>") == 1
    assert "prompts and <b>" in page and "other captions have words that judge &#39;tiny&#39; never read" in page
