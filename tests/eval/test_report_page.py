"""The report in a browser: from a disk, without a network. Skipped where there is no Chromium."""

import base64
import lzma
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from avatargen.config.places import ROOT
from avatargen.config.plugins import HEADS, load_class
from avatargen.config.settings import MethodSettings
from avatargen.exchange.gltf_compact import QUANTUM, shared_part
from avatargen.io.avatar_file import Avatar, save_avatar
from eval import report
from eval.head_files import write_heads
from eval.head_index import FOLDER, INDEX
from eval.plots import write_plots
from eval.report import ReportInputs, write_report
from tests.browser import Browser, find_browser
from tests.eval.small_runs import draw_views

AXE = ROOT / "tests/data/axe-core-4.14.1.min.js.xz"
SHOWN = (
    "all('.cell').filter(c => c.checkVisibility()).map(c => c.dataset.method + ' ' + c.dataset.name.split('-').at(-2))"
)
READY = """new Promise((done) => { const wait = setInterval(() => {
  if (!said.textContent.startsWith('Loading')) { clearInterval(wait); done(said.textContent); } }, 20); })"""

pytestmark = pytest.mark.skipif(not find_browser(), reason="needs a Chromium")


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    assert path
    with Browser(path) as one:
        one.size(1440)
        one.media("light", "reduce")
        yield one


@pytest.fixture(scope="module")
def kept() -> dict[str, ReportInputs]:
    """What the first test makes, and the others read."""
    return {}


@pytest.fixture
def inputs(kept, request) -> ReportInputs:
    """Four prompts by two methods with pictures, and a 3D head for each avatar of `full`."""
    if "inputs" not in kept:
        names = ("tables", "experiment", "prior_settings", "rows", "tmp_path")
        kept["inputs"] = make_inputs(*map(request.getfixturevalue, names))
    return kept["inputs"]


def make_inputs(tables, experiment, prior_settings, rows, root) -> ReportInputs:
    head = load_class("head", "anny", HEADS).load()
    template = head.template(1).first()
    tagged = [row.model_copy(update={"tags": ("age=old" if row.item in "ab" else "age=young",)}) for row in rows]
    for row in tagged:
        if row.status == "ok":
            draw_views(root / row.folder)
            tensors = dict(template, latent_texture=None, baked_texture=torch.full((3, 8, 8), 0.5))
            about = {"id": row.id, "prompt": row.prompt, "seed": 0, "method": row.method, "prior_id": ""}
            save_avatar(root / row.folder, Avatar(**about, **tensors, head_id=head.id))
    index = root / "report" / INDEX
    write_heads(index, [row for row in tagged if row.method == "full"], {"full": "anny"}, root, "c")
    write_plots(tables, root / "plots")
    return ReportInputs(
        experiment=experiment,
        rows=tagged,
        methods={"full": MethodSettings(), "template": MethodSettings(source="template")},
        priors={"mini": prior_settings},
        root=root,
        tables=tables,
        plots=root / "plots",
        heads=index,
        judges={"tiny": "a/model"},
    )


@pytest.fixture
def opened(inputs, browser):
    page = write_report(inputs.root / "report" / "index.html", inputs)
    browser.open(page)
    return browser


def choose(browser, **values):
    """Choose from the gallery's lists; return which avatars are shown, and what the page says of their number."""
    browser.run("find('#tools').reset()")
    for name, value in values.items():
        browser.run(f"find('[name={name}]', tools).value = {value!r}")
    browser.run("arrange()")
    return browser.run(SHOWN), browser.run("find('output', tools).value")


def open_viewer(browser, item="a"):
    browser.run(f"find('.cell[data-name=\"full-{item}-0\"] .open').click()")
    return browser.run(READY)


def test_the_page_opens_without_errors_or_requests(opened, inputs):
    assert opened.complaints == []
    assert opened.requests == [(inputs.root / "report/index.html").resolve().as_uri()]


def test_filters_keep_what_they_name(opened):
    shown, said = choose(opened)
    assert len(shown) == 8 and said == "8 of 8 avatars"
    assert choose(opened, method="template")[0] == [f"template {item}" for item in "abcd"]
    assert choose(opened, tag="age=old")[1] == "4 of 8 avatars"
    assert choose(opened, group="failed") == (["full d"], "1 of 8 avatars")
    assert choose(opened, finding="=flicker")[0] == ["full a", "template a"]
    assert choose(opened, finding="none", method="full")[0] == ["full b", "full c"]
    assert choose(opened, finding="any", tag="age=young") == ([], "0 of 8 avatars")


def test_avatars_are_sorted_one_by_one(opened, inputs):
    """The worst first: high ranks and distances, low margins; what has no number comes last."""
    worst, _ = choose(opened, layout="avatars", sort="mm")
    best, _ = choose(opened, layout="avatars", sort="mm", order="best")
    assert {name.split()[0] for name in worst[:4]} == {"template"} and {name.split()[0] for name in best[:4]} == {
        "full"
    }
    keys = opened.run("all('[name=sort] option').map((option) => option.value)")
    assert keys[0] == "" and "mm" in keys and "rank, texture" in keys and "margin, texture" in keys
    for key, sign in (("rank, texture", -1), ("margin, texture", 1)):
        choose(opened, layout="avatars", sort=key)
        values = opened.run(
            f"all('#one-by-one .cell:not([hidden])').map((c) => JSON.parse(c.dataset.sort)['{key}'] ?? null)"
        )
        known = [value for value in values if value is not None]
        assert known == sorted(known, key=lambda value: sign * value) and len(set(known)) > 1
        assert None not in values[: len(known)]
    assert len(choose(opened, sort="mm")[0]) == 8 and opened.run("single.hidden")


def test_the_viewer_shows_the_head(opened):
    """Its vertices are those of the avatar, as three.js places them."""
    assert open_viewer(opened) == ""
    head = load_class("head", "anny", HEADS).load()
    vertex = shared_part(head.topology, head).vertex[::1000]
    wanted = head.vertices(head.template(1))[0].numpy()[vertex]
    drawn = np.array(opened.run("reportViewer.viewer.places()")).reshape(-1, 3)[::1000]
    assert np.abs(drawn - wanted).max() < QUANTUM
    assert opened.run("reportViewer.viewer.targets.length") == 52 and opened.complaints == []
    assert opened.requests[1:] == []


def test_sliders_move_the_face_and_the_clip_moves_sliders(opened):
    """Seen in clay: lids of one colour close over eyes of the same."""
    open_viewer(opened)
    opened.run("actions.clay()")
    blink, picture = "find('[name=eyeBlinkLeft]', face)", "canvas.toDataURL()"
    still = opened.run(picture)
    opened.run(f"{blink}.value = 1; {blink}.dispatchEvent(new Event('input'))")
    assert opened.run("reportViewer.viewer.weight('eyeBlinkLeft')") == 1 and opened.run(picture) != still
    opened.run("actions.own()")
    assert opened.run(f"{blink}.value") == "0" and opened.run(picture) == still
    opened.run("reportViewer.viewer.pose(0.55)")  # in the middle of the first blink
    assert float(opened.run(f"{blink}.value")) > 0.99 and opened.run(picture) != still
    opened.run("actions.neutral(); actions.clay()")
    assert opened.run(picture) != still and opened.run("button('clay').getAttribute('aria-pressed')") == "false"
    assert opened.run("all('summary', face).map((node) => node.textContent)")[:2] == ["Brows", "Eyes"]


def test_the_clip_plays_and_stops(opened):
    open_viewer(opened)
    opened.run("actions.play(); new Promise((done) => setTimeout(done, 300))")
    assert opened.run("reportViewer.viewer.playing > 0")
    angle = "reportViewer.viewer.controls.getAzimuthalAngle()"
    assert abs(opened.run(angle)) < 1e-6  # motion is unwanted, so the camera stays
    opened.run("actions.play()")
    assert opened.run("reportViewer.viewer.playing") == 0


def test_the_viewer_is_used_by_keyboard(opened):
    opened.run("find('.cell[data-name=\"full-a-0\"] .open').focus()")
    opened.press("Enter", 13, "\r")
    assert opened.run(READY) == "" and opened.run("dialog.open")
    opened.run("canvas.focus()")
    angle = "Math.round(reportViewer.viewer.controls.getAzimuthalAngle() * 180 / Math.PI)"
    opened.press("ArrowRight", 39)
    opened.press("ArrowRight", 39)
    assert opened.run(angle) == 20
    opened.press("Home", 36)
    assert opened.run(angle) == 0
    opened.press("Escape", 27)
    assert not opened.run("dialog.open")
    assert opened.run("document.activeElement.closest('.cell').dataset.name") == "full-a-0"


def test_other_prompts_are_a_button_away(opened):
    open_viewer(opened)
    opened.run("actions.next()")
    assert opened.run(READY) == "" and opened.run("find('#viewer-title').textContent") == "head b"
    opened.run("actions.previous()")
    opened.run(READY)
    assert opened.run("find('#viewer-title').textContent") == "a <script>alert('x')</script> man & \"wife\""


def test_a_saved_file_is_the_whole_head(opened, inputs):
    length = opened.run("glbOf(prompts[0].cells[0]).then((bytes) => bytes.length)")
    start = "new Uint8Array(bytes.slice(0, 12))"
    head = opened.run(f"glbOf(prompts[0].cells[0]).then((bytes) => btoa(String.fromCharCode(...{start})))")
    magic = base64.b64decode(head)
    assert magic[:4] == b"glTF" and int.from_bytes(magic[8:], "little") == length
    assert length == opened.run("Number(prompts[0].cells[0].size)")


def test_heads_beside_the_page_are_loaded_when_opened(inputs, browser, monkeypatch):
    monkeypatch.setattr(report, "HEAD_ROOM", 0)
    page = write_report(inputs.root / "report" / "index.html", inputs)
    browser.open(page)
    assert browser.run("all('script[data-file]').length") == 0 and len(browser.requests) == 1
    assert open_viewer(browser) == "" and browser.run("reportViewer.viewer.targets.length") == 52
    folder = (inputs.root / "report" / FOLDER).resolve().as_uri()
    assert len(browser.requests) == 3 and all(one.startswith(folder) for one in browser.requests[1:])


def test_a_page_without_its_heads_says_so(inputs, browser, monkeypatch):
    monkeypatch.setattr(report, "HEAD_ROOM", 0)
    browser.open(write_report(inputs.root / "elsewhere" / "index.html", inputs))
    assert open_viewer(browser) == "The head lies in the folder “heads”, which is not beside this page."
    assert not browser.run("picture.hidden") and browser.run("canvas.hidden")


def test_an_avatar_without_a_head_shows_its_views(opened):
    opened.run("find('.cell[data-name=\"template-a-0\"] .open').click()")
    assert opened.run(READY) == "This avatar has no 3D head in this report." and not opened.run("picture.hidden")


def test_what_hovers_is_shown_by_keyboard(opened):
    opened.run("find('.tip').focus()")
    assert opened.run("getComputedStyle(find('.tip .bubble')).visibility") == "visible"
    assert opened.run("getComputedStyle(all('.tip .bubble').at(-1)).visibility") == "hidden"


def test_a_link_to_a_definition_opens_it(opened):
    opened.run("location.hash = 'term-margin'; new Promise((done) => setTimeout(done, 100))")
    assert opened.run("document.getElementById('term-margin').checkVisibility()")


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_is_as_wide_as_the_window(opened, width):
    opened.size(width)
    opened.run("all('details').forEach((node) => { node.open = true; })")
    assert opened.run("document.documentElement.scrollWidth") == width
    opened.size(1440)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing(opened, width, scheme):
    """In the page as it opens, with all that is folded open, and in the viewer."""
    opened.size(width)
    opened.media(scheme, "reduce")
    opened.run(lzma.decompress(AXE.read_bytes()).decode() + ";0")
    for step in ("0", "all('details').forEach((node) => { node.open = true; })", "find('.open').click()"):
        opened.run(step)
        opened.run(READY)
        found = opened.run(
            "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.map("
            "(one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`))"
        )
        assert found == []
    opened.size(1440)
    opened.media("light", "reduce")


def test_text_from_outside_is_no_code(opened):
    assert opened.run("document.querySelectorAll('bdi b, bdi script').length") == 0
    assert re.search("alert", opened.run("find('#prompt-1-text').textContent"))


def test_large_pages_link_to_pictures(inputs, browser, monkeypatch):
    monkeypatch.setattr(report, "ROOM", 0)
    page = write_report(inputs.root / "report" / "index.html", replace(inputs, heads=None))
    browser.open(page)
    address = browser.run("find('.avatar img.views').getAttribute('src')")
    assert address.startswith("../results/full/avatars/") and (page.parent / address).is_file()
    browser.run("find('.more').open = true; find('.avatar img.views').scrollIntoView()")
    assert browser.run("find('.avatar img.views').decode().then(() => find('.avatar img.views').naturalWidth)") == 16
