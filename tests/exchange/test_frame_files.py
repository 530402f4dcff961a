"""Rendered views of other systems: where their cameras are, and what of them is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatargen.config.other_systems import FrameSettings
from avatargen.config.prompts import PromptItem
from avatargen.config.settings import MethodSettings
from avatargen.exchange.frame_files import Frame, frame_problems, list_frames, nearest, view_problems
from avatargen.exchange.frame_import import read_frames

MAN = PromptItem("few", "old-man", "an old man, smiling")
WOMAN = PromptItem("few", "woman", "a woman", seed=1)


def paint(path, colour=(200, 100, 50), size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(path)


def settings(folder, **stated):
    return FrameSettings(folder=str(folder), **stated)


def cameras(folder, files, **stated):
    for name in files:
        paint(folder / name)
    return {frame.path.name: frame[1:] for frame in list_frames(folder, settings(folder, **stated))}


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("045.png", (45, None)),
        ("-30.5.webp", (-30.5, None)),
        ("270.jpg", (-90, None)),
        ("head_az-90.png", (-90, None)),
        ("azimuth=180_elevation=10.png", (180, 10)),
        ("it100 az 12 el -5.jpeg", (12, -5)),
    ],
)
def test_names_state_degrees(tmp_path, name, camera):
    assert cameras(tmp_path, [name]) == {name: camera}


def test_a_turn_is_numbered_from_0_or_1(tmp_path):
    zero = cameras(tmp_path / "a", [f"step-{number}.png" for number in range(8)], names="turn")
    assert zero == {f"step-{number}.png": ((number * 45 + 179) % 360 - 179, None) for number in range(8)}
    one = cameras(tmp_path / "b", [f"{number:03d}.png" for number in range(1, 5)], names="turn")
    assert [azimuth for azimuth, _ in one.values()] == [0, 90, 180, -90]
    closed = cameras(tmp_path / "c", [f"{number}.png" for number in range(5)], names="closed_turn")
    assert closed == {"0.png": (0, None), "1.png": (90, None), "2.png": (180, None), "3.png": (-90, None)}


def test_the_face_and_the_direction_may_differ(tmp_path):
    found = cameras(tmp_path, ["0.png", "90.png", "180.png"], face=90, towards="right")
    assert found == {"0.png": (90, None), "90.png": (0, None), "180.png": (-90, None)}


def looking(azimuth, elevation):
    """Return the camera-to-world matrix of Blender's axes for a camera that looks at a head that looks along -y."""
    around, above = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.sin(around) * math.cos(above), -math.cos(around) * math.cos(above), math.sin(above)])
    right = np.cross([0, 0, 1], back) / np.linalg.norm(np.cross([0, 0, 1], back))
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(back, right), back, 2 * back], axis=1)
    return matrix.tolist()


def test_cameras_come_from_transforms(tmp_path):
    stated = [(0, 0), (45, 10), (-120, -20)]
    frames = [
        {"file_path": f"./images/{number}", "transform_matrix": looking(*camera)}
        for number, camera in enumerate(stated)
    ]
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.6, "frames": frames}))
    for number in range(3):
        paint(tmp_path / f"images/{number}.png")
    found = list_frames(tmp_path, settings(tmp_path, up="+z", front="-y"))
    assert [frame.path.is_file() for frame in found] == [True] * 3
    assert [(round(frame.azimuth), round(frame.elevation)) for frame in found] == stated
    assert nearest(found, 40.0, 0.0).path.name == "1.png"


def test_cameras_within_the_tolerances_come_first():
    near = Frame(Path("near"), 12.0, 10.0)
    assert nearest([near, Frame(Path("above"), 4.0, 24.0)], 0.0, 10.0).path.name == "above"
    assert nearest([near, Frame(Path("below"), 40.0, -40.0)], 0.0, 10.0) is near


def test_what_is_no_view_is_passed_over(tmp_path):
    """macOS leaves ``._045.png`` on foreign disks; a turn of 0 to 360 degrees has its first view twice."""
    for name in ("._045.png", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "90.png").mkdir()
    found = cameras(tmp_path, ["000.png", "120.png", "240.png", "360.png"])
    assert {name: azimuth for name, (azimuth, _) in found.items()} == {"000.png": 0, "120.png": 120, "240.png": -120}


def test_names_of_cameras_may_have_dots(tmp_path):
    frames = [{"file_path": "r_0.5", "transform_matrix": looking(0, 0)}]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    (frame,) = list_frames(tmp_path, settings(tmp_path))
    assert frame.path.name == "r_0.5.png"


WRONG = {
    "names": ([f"frame{number}.png" for number in range(2)], {}, "got the name 'frame0.png'; expected an azimuth"),
    "gaps": (["0.png", "2.png"], {"names": "turn"}, "got the numbers 0, 2; expected 0 to 1, or 1 to 2: one turn"),
    "unnumbered": (["front.png"], {"names": "turn"}, "got the name 'front.png'; expected a number at its end"),
    "twice": (["az5.png", "az5_b.png"], {}, "az5.png and az5_b.png have the same camera; expected one view of each"),
    "hyphens": (["azimuth-000.png", "azimuth-045.png", "azimuth-315.png"], {}, "got negative azimuths alone, as in"),
    "others": (
        ["it500.mp4", "notes.txt"],
        {},
        "got no pictures but 'it500.mp4'; expected .png,",
    ),
    "columns": (["0.png"], {"pictures": 3}, "0.png: got 8 columns; expected a multiple of pictures: 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_names_that_say_nothing_are_refused(tmp_path, case):
    names, stated, line = WRONG[case]
    for name in names:
        write = paint if name.endswith(".png") else Path.touch
        (tmp_path / "old-man").mkdir(exist_ok=True), write(tmp_path / "old-man" / name)
    (problem,) = frame_problems("theirs", settings(tmp_path, **stated), [MAN], tmp_path)
    assert problem.startswith(f"methods.yaml: theirs: frames: old-man: {line}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "transforms.json: JSONDecodeError"),
        ("[" * 5000, "transforms.json: RecursionError"),
        ('{"frames": 3}', "transforms.json: TypeError"),
        ('{"frames": []}', "transforms.json: ValueError: got no frames or no name"),
        (
            '{"frames": [{"file_path": "a", "transform_matrix": [[1' + "0" * 400 + "]]}]}",
            "transforms.json: OverflowError",
        ),
        (json.dumps({"frames": [{"file_path": "a", "transform_matrix": [[0] * 4] * 4}]}), "or without a direction"),
        ('{"frames": [{"file_path": "a"}]}', "transforms.json: KeyError: 'transform_matrix'; expected frames with"),
        (
            '{"frames": [{"file_path": "a", "transform_matrix": [1]}]}',
            "transforms.json: a: got a matrix of shape (1,), not",
        ),
        (json.dumps({"frames": [{"file_path": "a", "transform_matrix": looking(0, 0)}]}), "refers to a.png"),
    ],
)
def test_faulty_cameras_are_refused(tmp_path, text, line):
    (tmp_path / "old-man").mkdir()
    (tmp_path / "old-man/transforms.json").write_text(text)
    (problem,) = frame_problems("theirs", settings(tmp_path), [MAN], tmp_path)
    assert line in problem


def test_missing_folders_and_rows_are_named(tmp_path):
    (problem,) = frame_problems("theirs", settings(tmp_path), [MAN, WOMAN], tmp_path)
    assert "no folder old-man, woman.1; expected one for each item; leave it empty for a failure" in problem
    (tmp_path / "map.csv").write_text("frames,prompt\nout/it5000-test,an old man smiling\n")
    problems = frame_problems("theirs", settings(tmp_path, table="map.csv"), [MAN], tmp_path)
    assert problems == [
        "methods.yaml: theirs: frames: map.csv: no row for old-man; expected one for each item; "
        "is 'an old man smiling' meant?"
    ]
    (tmp_path / "map.csv").write_text('frames,prompt\nout/it5000-test,"an old man, smiling"\n')
    paint(tmp_path / "out/it5000-test/0.png")
    assert not frame_problems("theirs", settings(tmp_path, table="map.csv"), [MAN], tmp_path)
    (tmp_path / "map.csv").write_text('frames,prompt\n/nowhere/at/all,"an old man, smiling"\n')
    (problem,) = frame_problems("theirs", settings(tmp_path, table="map.csv"), [MAN], tmp_path)
    assert "nowhere/at/all; expected one for each item" in problem


def test_views_that_nobody_took_are_named(tmp_path):
    for azimuth in range(0, 360, 90):
        paint(tmp_path / f"old-man/{azimuth}.png")
    frames = settings(tmp_path)
    assert not view_problems("theirs", frames, [MAN], 4, 10.0, tmp_path)
    (problem,) = view_problems("theirs", frames, [MAN], 8, 10.0, tmp_path)
    assert "old-man: no view at azimuth 45, elevation 10: the nearest is at azimuth 0; expected one within" in problem
    paint(tmp_path / "woman.1/az0_el60.png")
    (problem,) = view_problems("theirs", frames, [WOMAN], 1, 10.0, tmp_path)
    assert "the nearest is at azimuth 0, elevation 60" in problem
    (tmp_path / "old-man/x.png").touch()  # which `frame_problems` reports
    assert not view_problems("theirs", frames, [MAN], 8, 10.0, tmp_path)


def test_pictures_become_squares_of_one_size(tmp_path):
    paint(tmp_path / "0.png", (200, 100, 50), (48, 16))  # colour, normals and opacity side by side
    paint(tmp_path / "90.png", (10, 20, 30, 255), (24, 8))
    views = read_frames(tmp_path, settings(tmp_path, pictures=3))
    assert (
        views.images.shape == (2, 16, 16, 4) and views.azimuth.tolist() == [0, 90] and np.isnan(views.elevation).all()
    )
    assert (views.images[0] == (200, 100, 50, 255)).all() and (views.images[1] == (10, 20, 30, 255)).all()
    paint(tmp_path / "180.png", (0, 255, 0), (1200, 600))
    tall = read_frames(tmp_path, settings(tmp_path)).images[1]  # by name: 0, 180, 90
    assert tall.shape == (512, 512, 4) and (tall[256, :, :3] == (0, 255, 0)).all()
    assert not tall[:120, :, 3].any() and (tall[136:376, :, 3] == 255).all()


def test_pictures_of_other_kinds_are_read_as_viewers_show_them(tmp_path):
    Image.fromarray(np.full((8, 8), 25700, np.uint16)).save(tmp_path / "0.png")
    turned = Image.new("RGB", (8, 8), (255, 0, 0))
    turned.paste((0, 0, 255), (0, 0, 8, 4))  # blue above; orientation 6 is a quarter turn to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "90.jpg", exif=exif, quality=100, subsampling=0)
    grey, sideways = read_frames(tmp_path, settings(tmp_path)).images
    assert (grey == (100, 100, 100, 255)).all()
    assert sideways[4, 6, 2] > 200 > 50 > sideways[4, 1, 2]
    stills = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    stills[0].save(tmp_path / "180.webp", save_all=True, append_images=stills[1:])
    with pytest.raises(ValueError, match=r"180\.webp: got an animation; expected a still picture"):
        read_frames(tmp_path, settings(tmp_path))


def test_unreadable_pictures_are_failures(tmp_path):
    with pytest.raises(ValueError, match="got an empty folder, which stands"):
        read_frames(tmp_path, settings(tmp_path))
    paint(tmp_path / "0.png", size=(16, 8))
    with pytest.raises(ValueError, match="got 16 columns; expected a multiple of pictures: 3"):
        read_frames(tmp_path, settings(tmp_path, pictures=3))
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        read_frames(tmp_path, settings(tmp_path))


def test_a_source_has_its_own_settings():
    there = {"frames": {"folder": "x"}}
    for stated in ({"source": "frames"}, there, there | {"source": "imported"}):
        with pytest.raises(ValueError, match=r"expected '(frames|imported)' with"):
            MethodSettings.model_validate(stated)
    with pytest.raises(ValueError, match="expected two different axes"):
        FrameSettings(folder="x", up="+z", front="-z")
