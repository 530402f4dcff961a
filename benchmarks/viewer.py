"""Frames a second of an exported avatar in a browser, beside decoded frames, as a Markdown table.

    python benchmarks/viewer.py results/embedded/embedded/full/avatars/NAME [--browser chromium] [--frames 200]

The page draws the full mesh with its baked texture, unlit, by WebGL: it turns by 2.5° a frame while a morph target
closes and opens the lids, as any viewer of the exported GLB does, and reads a pixel back after each frame, so that a
frame counts when it is drawn. Decoded frames are rendered and decoded by this repository, at their own size only. The
browser names its renderer; without a GPU that is one in software, and shares the CPU.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatargen.config.experiment import EvaluationSettings  # noqa: E402
from avatargen.config.loading import load_library  # noqa: E402
from avatargen.geometry.types import HeadTopology  # noqa: E402
from avatargen.io.avatar_file import Avatar, load_avatar  # noqa: E402
from avatargen.io.hardware import hardware  # noqa: E402
from eval.diagnostics.flicker import blink, neural_frame, turntable  # noqa: E402
from eval.views import RenderTools  # noqa: E402

SIZES = (128, 512)
"""Rows and columns of the browser's frames; decoded ones of the shipped prior have 128."""
BACKGROUND = [128, 128, 128]
PAGE = """<!doctype html><canvas id=c></canvas><pre id=out></pre><script>
const floats = text => new Float32Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
const canvas = document.getElementById('c'), gl = canvas.getContext('webgl2', {antialias: true});
const report = {}, shader = (kind, source) => {
  const made = gl.createShader(kind); gl.shaderSource(made, source); gl.compileShader(made); return made; };
function run(pixels) {
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  report.renderer = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  const program = gl.createProgram();
  gl.attachShader(program, shader(gl.VERTEX_SHADER, `#version 300 es
    in vec3 place, shift; in vec2 uv; uniform float angle, lids; out vec2 at;
    void main() { vec3 p = place + lids * shift; float c = cos(angle), s = sin(angle);
      vec3 q = vec3(c * p.x + s * p.z, p.y - 0.015, c * p.z - s * p.x - 1.22); at = uv;
      float f = 7.1, near = 0.1, far = 10.0;
      gl_Position = vec4(f * q.xy, (far + near) / (near - far) * q.z + 2.0 * far * near / (near - far), -q.z); }`));
  gl.attachShader(program, shader(gl.FRAGMENT_SHADER, `#version 300 es
    precision mediump float; in vec2 at; uniform sampler2D picture; out vec4 colour;
    void main() { colour = vec4(texture(picture, at).rgb, 1.0); }`));
  gl.linkProgram(program); gl.useProgram(program); gl.enable(gl.DEPTH_TEST);
  const data = DATA;
  for (const [name, width] of [['place', 3], ['shift', 3], ['uv', 2]]) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, floats(data[name]), gl.STATIC_DRAW);
    const where = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(where); gl.vertexAttribPointer(where, width, gl.FLOAT, false, 0, 0); }
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, pixels); gl.generateMipmap(gl.TEXTURE_2D);
  const at = name => gl.getUniformLocation(program, name), pixel = new Uint8Array(4);
  report.frames = {};
  for (const size of data.sizes) {
    canvas.width = canvas.height = size; gl.viewport(0, 0, size, size);
    const times = [];
    for (let i = 0; i < data.frames; i++) {
      const start = performance.now();
      gl.uniform1f(at('angle'), i * 2.5 * Math.PI / 180); gl.uniform1f(at('lids'), Math.sin(i / 4) ** 2);
      gl.clearColor(0.5, 0.5, 0.5, 1); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.drawArrays(gl.TRIANGLES, 0, data.corners);
      gl.readPixels(size / 2, size / 2, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
      times.push(performance.now() - start);
    }
    report.frames[size] = times.slice(3); report.pixel = Array.from(pixel);
  }
  report.error = gl.getError();
}
const picture = floats(TEXTURE), side = Math.round(Math.sqrt(picture.length / 3));
const bytes = new ImageData(side, side);
for (let i = 0; i < side * side; i++)
  for (let k = 0; k < 4; k++) bytes.data[4 * i + k] = k < 3 ? Math.round(255 * picture[3 * i + k]) : 255;
if (gl) run(bytes); else report.error = 'no WebGL 2';
document.getElementById('out').textContent = JSON.stringify(report);
</script>"""


def page(avatar: Avatar, vertices: torch.Tensor, closed: torch.Tensor, topology: HeadTopology, frames: int) -> str:
    """Return the page that draws an avatar.

    Args:
        avatar: its texture is drawn.
        vertices, closed: (N, 3) with lids open and closed, metres.
        topology: of the head.
        frames: to draw of each size.
    """
    corners = topology.faces.long().flatten()
    uv = topology.uvs[topology.face_uvs.long().flatten()] * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    arrays = {"place": vertices[corners], "shift": (closed - vertices)[corners], "uv": uv}
    data = {name: encoded(values) for name, values in arrays.items()}
    data |= {"frames": frames, "corners": len(corners), "sizes": SIZES}
    texture = json.dumps(encoded(avatar.baked_texture.permute(1, 2, 0)))
    return PAGE.replace("DATA", json.dumps(data)).replace("TEXTURE)", f"{texture})")


def encoded(values: torch.Tensor) -> str:
    """Return 32-bit floats as base64."""
    return base64.b64encode(values.detach().float().contiguous().numpy().tobytes()).decode("ascii")


def browse(browser: str, content: str) -> dict:
    """Return what a page reports when a headless browser opens it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "viewer.html"
        path.write_text(content, encoding="utf-8")
        options = ["--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", f"--user-data-dir={folder}/profile"]
        shown = subprocess.run(
            [browser, *options, "--timeout=600000", "--dump-dom", path.as_uri()],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = re.search(r"<pre id=\"out\">(.*?)</pre>", shown, re.S)
    if not found or not found[1]:
        sys.exit(f"{browser}: the page reported nothing; expected JSON in <pre id=out>")
    return json.loads(html.unescape(found[1]))


def decoded_seconds(avatar: Avatar, tools: RenderTools, repeats: int = 15) -> float:
    """Return the median time of one decoded frame."""
    settings = EvaluationSettings()
    frame, arc = neural_frame(avatar, tools, settings), turntable(avatar, tools, settings, 0.0)
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        frame(arc.vertices[:1], arc.cameras.view(number % len(arc.vertices)))
        times.append(time.perf_counter() - start)
    return median(times[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar", type=Path, help="folder of a finished avatar")
    parser.add_argument("--browser", default="chromium", help="a Chromium, by name or path (default: chromium)")
    parser.add_argument("--frames", type=int, default=200, help="of each size (default: 200)")
    arguments = parser.parse_args()
    if not shutil.which(arguments.browser):
        sys.exit(f"--browser: got '{arguments.browser}', which is not there; expected the name or path of a Chromium")
    avatar, settings = load_avatar(arguments.avatar), EvaluationSettings()
    tools = RenderTools.load("anny", "warp", load_library().priors["mini"], ROOT)
    lids = blink(avatar, tools, settings)
    assert lids is not None  # the Anny head has lids
    found = browse(
        arguments.browser, page(avatar, lids.vertices[0], lids.vertices[4], tools.head.topology, arguments.frames)
    )
    if found.get("error"):
        sys.exit(f"{arguments.browser}: WebGL reported {found['error']}; expected no error")
    if found["pixel"][:3] == BACKGROUND:
        sys.exit(f"{arguments.browser}: the middle of the picture is background; expected the head")
    facts = hardware()
    print(f"{facts['cpu']}, {facts['cores']} cores; the browser draws by {found['renderer']}\n")
    print("| frame | size | ms | frames a second |\n|---|---|---|---|")
    for size, times in found["frames"].items():
        print(f"| exported, browser | {size} | {median(times):.1f} | {1e3 / max(median(times), 1e-3):.0f} |")
    if avatar.latent_texture is not None:
        seconds, size = decoded_seconds(avatar, tools), tools.prior_settings.latent_size * tools.prior.downscale
        threads = f"{torch.get_num_threads()} threads"
        print(f"| decoded, this repository, {threads} | {size} | {1e3 * seconds:.1f} | {1 / seconds:.1f} |")


if __name__ == "__main__":
    main()
