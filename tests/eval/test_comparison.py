"""The page that compares methods: every avatar in its cell, and why one is missing."""

import numpy as np

from eval.comparison import CAPTION, CELL, GAP, GUTTER, HEADER, MANY, MARGIN, Layout, comparison


def write_views(folder, colour, clay):
    folder.mkdir(parents=True, exist_ok=True)
    plain = np.ones((8, 32, 32, 3), np.uint8)
    np.savez(folder / "views.npz", texture=plain * np.uint8(colour), geometry=plain * np.uint8(clay))


def test_cells_are_at_their_method_and_prompt(make_row, tmp_path):
    rows = [make_row(item, method, prompt=f"head {item}") for item in "ab" for method in ("full", "template")]
    rows[3] = make_row("b", "template", prompt="head b", status="diverged")
    for number, row in enumerate(rows[:3]):
        write_views(tmp_path / row.folder, 50 * (number + 1), 200)
    page = np.asarray(comparison(rows, ["full", "template"], tmp_path))

    def middle(line, column, view):
        x = MARGIN + CAPTION + column * (3 * CELL + GUTTER) + view * CELL + CELL // 2
        return page[MARGIN + 26 + line * (CELL + GAP) + CELL // 2, x, 0]

    assert [middle(0, 0, 0), middle(0, 1, 1), middle(1, 0, 1)] == [50, 100, 150]
    assert [middle(0, 0, 2), middle(1, 0, 2)] == [200, 200]
    assert middle(1, 1, 2) == 250  # paper: the word stands at the left


def test_the_limit_bounds_the_rows(make_row, tmp_path):
    rows = [make_row(item, "full", prompt=f"head {item}") for item in "abcd"]
    heights = [comparison(rows, ["full"], tmp_path, limit=limit).height for limit in (1, 3)]
    assert heights[1] - heights[0] == 2 * (CELL + GAP)


def test_many_methods_show_clay_under_colour(make_row, tmp_path):
    methods = [f"way_{number}" for number in range(MANY + 1)]
    rows = [make_row("a", method, prompt="head a") for method in methods]
    for number, row in enumerate(rows):
        write_views(tmp_path / row.folder, 10 * (number + 1), 200)
    page = np.asarray(comparison(rows, methods, tmp_path))
    x = [MARGIN + CAPTION + column * (CELL + GAP) + CELL // 2 for column in range(len(methods))]
    y = MARGIN + 26 + CELL // 2
    assert page[y, x, 0].tolist() == [10 * (number + 1) for number in range(len(methods))]
    assert (page[y + CELL, x, 0] == 200).all()


def test_long_names_of_methods_stay_in_their_columns(make_row, tmp_path):
    """As a grid names them; what is drawn in a column is drawn from its left edge, with paper before the next one."""
    methods = [f"full-steps_{number}-phase1_share_0.39" for number in range(90, 90 + MANY + 1)]
    rows = [make_row("a", method, prompt="head a") for method in methods]
    layout = Layout.of(methods)
    page = np.asarray(comparison(rows, methods, tmp_path))
    assert layout.header > HEADER and page.shape[:2] == layout.size(len(methods), 1)[::-1]
    for column in range(len(methods)):
        left = layout.corner(column, 0)[0]
        title = page[MARGIN : MARGIN + layout.header - 4, left : left + layout.step[0]]
        assert title[:, :CELL].min() < 100 and (title[:, -3:] == page[0, 0]).all()
