"""Manifests: rows come back as they were written, and all problems are reported."""

import json

import pytest

from avatargen.config.errors import InputError
from avatargen.io.manifest import EmbedRow, RenderRow, Row, read_manifests, read_rows, write_rows

ROW = Row(id="a-0", list="tiny", item="a", prompt="head a\u2028b", method="full", folder="avatars/a-0")


def test_rows_come_back_as_they_were(tmp_path):
    rows = [ROW, ROW.model_copy(update={"seed": 1, "status": "error", "message": 'two\nlines, a "quote"'})]
    write_rows(tmp_path / "0.jsonl", rows)
    assert read_manifests([tmp_path / "0.jsonl"]) == rows


@pytest.mark.parametrize(
    "row",
    [
        RenderRow(id="a-0", folder="avatars/a-0", render_fingerprint="r"),
        EmbedRow(id="a-0", folder="avatars/a-0", embedding_fingerprints={"mini": "e"}),
    ],
)
def test_rows_of_other_stages_come_back(row, tmp_path):
    write_rows(tmp_path / "0.jsonl", [row])
    assert [type(row).model_validate(found) for found in read_rows(tmp_path / "0.jsonl")] == [row]


def test_all_problems_are_reported(tmp_path):
    good, path = ROW.model_dump_json(), tmp_path / "0.jsonl"
    path.write_text("\n".join([good, "", good, "{", json.dumps({"id": "x"})]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_manifests([path, tmp_path / "1.jsonl"])
    duplicate, broken, not_a_row, missing = caught.value.problems
    assert "0.jsonl:3: duplicate avatar" in duplicate and "0.jsonl:1" in duplicate
    assert ":4: not a manifest row" in broken and ":5: not a manifest row" in not_a_row
    assert "1.jsonl: not readable" in missing
