"""Time of rendering calls on one core or a GPU, as Markdown tables.

    python benchmarks/renderer.py [--repeats 20] [--threads 1] [--device cpu]

The mesh is the default head (19,184 vertices, 38,068 faces). Times are the minimum of the repeats in
milliseconds, since other programs on the machine can only add time. With one thread on a CPU they are processor time,
which excludes waiting for other programs. The first table compares the renderers (`--compare` prints it alone), the
second splits one call of the default renderer into its parts; its first two rows, Warp's own refit and rays, are the
lower bound on this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.plugins import RENDERERS, load_class  # noqa: E402
from avatargen.geometry.cameras import evaluation_cameras  # noqa: E402
from avatargen.geometry.types import HeadTopology  # noqa: E402
from avatargen.heads.anny.head import AnnyHead  # noqa: E402
from avatargen.render.geometry import camera_frames  # noqa: E402
from avatargen.render.visibility import MeshBatch  # noqa: E402


class Timer:
    """Best-of-n time of a call, milliseconds: processor time with one CPU thread, else wall-clock time."""

    def __init__(self, repeats: int, device: str, threads: int):
        self.repeats, self.device = repeats, device
        self.clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter

    def __call__(self, call: Callable[[], object]) -> float:
        times = []
        for _ in range(self.repeats + 2):
            start = self.clock()
            call()
            if self.device != "cpu":
                torch.cuda.synchronize()
            times.append(self.clock() - start)
        return 1e3 * min(times[2:])


def load_heads(device: str) -> dict[str, tuple[torch.Tensor, HeadTopology]]:
    """Return the vertices (N, 3) and topology of the default head, and of the proxy mesh that optimisation renders."""
    full = AnnyHead.load().to(device)
    heads = {"full mesh": full, "proxy mesh": full.proxy()}
    return {
        name: (head.canonical(head.shape_template[None])[0].detach().contiguous(), head.topology)
        for name, head in heads.items()
    }


def subdivide(vertices: torch.Tensor, topology: HeadTopology) -> tuple[torch.Tensor, HeadTopology]:
    """Split every triangle in four at the middles of its edges."""
    faces = topology.faces
    edges = torch.stack((faces, faces.roll(-1, 1)), dim=-1).sort(dim=-1).values
    unique, index = edges.view(-1, 2).unique(dim=0, return_inverse=True)
    ab, bc, ca = (index.view(-1, 3) + len(vertices)).unbind(1)
    a, b, c = faces.unbind(1)
    corners = ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))
    vertices = torch.cat((vertices, vertices[unique].mean(1)))
    finer = torch.cat([torch.stack(triple, 1) for triple in corners])
    return vertices, HeadTopology(finer, vertices[:, :2].contiguous(), finer, {})


class Case:
    """One renderer and its inputs: a batch of copies of a head, with a random texture.

    Args:
        head: vertices (N, 3) and topology.
        batch, views, size, samples: of the call.
        texture: channels, and rows or columns.
        renderer: a name in `plugins.RENDERERS`.
    """

    def __init__(self, head, batch=1, views=1, size=64, samples=1, texture=(4, 128), renderer="warp"):
        vertices, topology = head
        self.size, self.samples = size, samples
        self.vertices = vertices.expand(batch, -1, -1).contiguous().requires_grad_()
        channels, side = texture
        self.texture = torch.rand(batch, channels, side, side, device=vertices.device).requires_grad_()
        self.cameras = evaluation_cameras(batch, views, device=vertices.device)
        self.renderer = load_class("renderer", renderer, RENDERERS)(topology, vertices.detach())

    def render(self, **options):
        """Render once, with or without gradients as the caller's grad mode says."""
        options = {"texture": self.texture, "samples": self.samples} | options
        return self.renderer.render(self.vertices, self.cameras, self.size, **options)

    def forward(self, **options):
        """Render once without gradients."""
        with torch.no_grad():
            return self.render(**options)

    def step(self, **options):
        """Run forward and backward of features, coverage and, where rendered, normals."""
        output = self.render(**options)
        loss = output.features.square().sum() + output.coverage.square().sum()
        if options.get("normals", True):
            loss = loss + output.normals[:, :, 2].sum()
        loss.backward()


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def renderers(timer: Timer, heads) -> None:
    """Print the time of one 64 x 64 view by each renderer, without and with soft blending or gradients of coverage."""
    rows = []
    for mesh, head in heads.items():
        for name in RENDERERS:
            case = Case(head, renderer=name)
            calls = (
                partial(case.forward, normals=False, gradients=False),
                partial(case.forward, normals=False),
                partial(case.step, normals=False, interior="none"),
                partial(case.step, normals=False),
            )
            rows.append([f"{name}, {mesh}", *(f"{timer(call):.1f}" for call in calls)])
    header = ["ms", "forward, no gradients", "forward", "forward + backward", "the same, interior gradient"]
    table("One view, 64 x 64, 1 sample a pixel, texture 4 x 128 x 128:", header, rows)


def parts(timer: Timer, head) -> None:
    """Print the time of one 64 x 64 view, part by part."""
    case = Case(head)
    meshes, frames = MeshBatch(head[1].faces), camera_frames(case.cameras)
    calls = {
        "Warp: refit": lambda: meshes.update(case.vertices),
        "Warp: visible faces of 4,096 samples": lambda: meshes.visible_faces(frames, 64),
        "forward, texture": lambda: case.forward(normals=False),
        "forward, texture and normals": case.forward,
        "forward and backward, texture and coverage": lambda: case.step(normals=False),
        "the same without the interior gradient": lambda: case.step(normals=False, interior="none"),
        "forward and backward, all": case.step,
    }
    rows = [[name, f"{timer(call):.1f}"] for name, call in calls.items()]
    table("One view, 64 x 64, 1 sample a pixel, texture 4 x 128 x 128:", ["part", "ms"], rows)


def visibility(timer: Timer, head) -> None:
    """Print the time of visible faces and of coverage, by rasterised faces and by rays (on a GPU always by rays)."""
    vertices, topology = head
    frames, rows = camera_frames(evaluation_cameras(1, 4, device=vertices.device)), []
    batches = [MeshBatch(topology.faces, vertices, by_rays=by_rays) for by_rays in (False, True)]
    for meshes in batches:
        meshes.update(vertices[None])
    for size in (32, 64, 128, 256, 512):
        seen = [timer(partial(meshes.visible_faces, frames, size)) for meshes in batches]
        covered = [timer(partial(meshes.covered, frames, size, 2)) for meshes in batches]
        rows.append([f"{size} x {size}", *(f"{ms:.1f}" for ms in (*seen, *covered))])
    header = ["4 views", "visible, by faces, ms", "by rays, ms", "covered, by faces, ms", "by rays, ms"]
    table(f"{len(topology.faces):,} faces, rasterised and by rays:", header, rows)


def scaling(timer: Timer, head) -> None:
    """Print times by resolution and samples, by vertices, and by batch."""
    header = ["", "forward ms", "forward + backward ms"]

    def measure(name, **options):
        case = Case(options.pop("head", head), **options)
        forward, both = timer(lambda: case.forward(normals=False)), timer(lambda: case.step(normals=False))
        return [name, f"{forward:.1f}", f"{both:.1f}"]

    grid = [(32, 2), (32, 3), (32, 4), (64, 2), (64, 3), (64, 4)]
    rows = [measure(f"{s} x {s}, {k} x {k} samples", batch=4, views=2, size=s, samples=k) for s, k in grid]
    table("4 avatars x 2 views, texture 4 x 128 x 128, without normals:", header, rows)
    rows = [measure(f"{s} x {s}", size=s) for s in (32, 64, 128, 256)]
    table("One view, 1 sample a pixel, by resolution:", header, rows)
    finer = subdivide(*head)
    rows = [measure(f"{len(h[0]):,} vertices", head=h) for h in (head, finer)]
    table("One 64 x 64 view, by vertices:", header, rows)
    rows = [measure(f"{b} avatars", batch=b, views=2) for b in (1, 2, 4, 8)]
    table("Two 64 x 64 views of each, by batch:", header, rows)


def main() -> None:
    """Parse the command line and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="number of calls; the fastest counts")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--compare", action="store_true", help="only compare the renderers")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    heads, timer = load_heads(arguments.device), Timer(arguments.repeats, arguments.device, arguments.threads)
    head, load = heads["full mesh"], os.getloadavg()[0]
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {arguments.device}, load {load:.1f}")
    renderers(timer, heads)
    if arguments.compare:
        return
    parts(timer, head)
    visibility(timer, head)
    scaling(timer, head)


if __name__ == "__main__":
    main()
