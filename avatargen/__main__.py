"""One prompt, one avatar: ``python -m avatargen "a smiling old man with green skin and a white beard"``.

Makes the avatar with the same worker as the workflow, in this process, and then shows it: turntable, contact
sheet, the judges' views and a rigged GLB are made by ``workflow/scripts/show_avatar.py`` in a process of its own, since
`avatargen` does not know of `eval`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from avatargen.config.errors import InputError, Problems
from avatargen.config.experiment import Experiment, Library, RunConfig
from avatargen.config.loading import load_experiment, load_library, resolve
from avatargen.config.places import ROOT
from avatargen.config.prompts import PromptItem, item_problems, slug
from avatargen.headworld.phrases import described
from avatargen.io.atomic import DiskFullError, read_json, write_text
from avatargen.io.content_hash import digest
from avatargen.preflight.validate import WORLD_HEAD
from avatargen.preflight.weight_checks import head_problems, prior_problems
from avatargen.runtime.fingerprint import of_avatar
from avatargen.runtime.launch import DEFAULT_EXPERIMENT
from avatargen.runtime.worker import Task, Worker, is_done

SHOW = ROOT / "workflow/scripts/show_avatar.py"
EPILOG = """examples:
  python -m avatargen "a smiling old man with green skin and a white beard"
  python -m avatargen "a bald woman with blue skin" --method texture_only --seed 3 --out /tmp/avatars
  python -m avatargen "a baby" --steps-scale 0.25      a quick look, in a quarter of the steps

The same prompt, seed and settings give the same avatar, in a folder of its own. If it is there already, it is
only shown; if it was interrupted, it goes on. Many prompts at once: put a list into prompts/ and run snakemake."""


def main(arguments: list[str] | None = None) -> int:
    """Make and show one avatar. Returns the exit status: 0, 1 (it failed) or 2 (wrong input)."""
    options = parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        item, run, experiment = asked(options)
        task = Task(item, (options.out / folder_name(run, item)).absolute(), of_avatar(run, item))
        if not is_done(task):
            make(task, run, experiment.gpus_per_worker, console)
        facts = read_json(task.folder / "done.json")
        for reader in facts.get("truncated_by", []):
            cut = f"{reader} does not read this prompt to its end."
            console.print(cut, style="yellow", markup=False, highlight=False)
        shown = show(task, options, console)
    except InputError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 2
    except DiskFullError as error:
        console.print(f"{error.strerror}: {error.filename}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on from here.", style="yellow")
        return 130
    if facts["status"] != "ok":
        console.print(f"{facts['status']}: {facts['message']}", style="red", markup=False)
        return 1
    return 0 if shown else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m avatargen",
        description="Make one head avatar from a prompt: avatar file, turntable (MP4), contact sheet (PNG), GLB.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("prompt", help="what the head should look like, in quotes")
    found.add_argument("--method", default="full", help="name in methods.yaml (default: full)")
    found.add_argument("--seed", type=int, default=0, help="of noise and cameras (default: 0)")
    found.add_argument(
        "--out",
        type=Path,
        default=Path("results/avatars"),
        metavar="DIR",
        help="folder that gets the avatar's folder (default: results/avatars)",
    )
    found.add_argument(
        "--experiment",
        default=DEFAULT_EXPERIMENT,
        metavar="NAME",
        help=f"whose head, prior and settings to use (default: {DEFAULT_EXPERIMENT})",
    )
    found.add_argument(
        "--steps-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply the optimisation steps: 0.25 is a quick look (default: 1)",
    )
    found.add_argument("--no-show", action="store_true", help="write the avatar file only, render nothing")
    return found


def asked(options: argparse.Namespace) -> tuple[PromptItem, RunConfig, Experiment]:
    """What to make, and with what: its steps scaled.

    Raises:
        InputError: prompt or settings are not right: all that is wrong.
    """
    problems = Problems()
    if not 0 < options.steps_scale <= 100:
        problems.add([f"--steps-scale: got {options.steps_scale:g}; expected more than 0, at most 100"])
    item, settings = problems.of(lambda: make_item(options)), problems.of(lambda: configure(options))
    if item and settings and settings[0].method.source == "oracle" and described(item.prompt) is None:
        known = "true heads, which are known of captions like those in prompts/embedded.tsv"
        problems.add([f"--method: '{options.method}' makes {known}; got '{item.prompt}'"])
    problems.check()
    run, experiment = settings
    phases = {name: getattr(run.method, name) for name in ("phase1_steps", "phase2_steps")}
    scaled = {name: max(round(steps * options.steps_scale), min(steps, 1)) for name, steps in phases.items()}
    return item, run.model_copy(update={"method": run.method.model_copy(update=scaled)}), experiment


def configure(options: argparse.Namespace) -> tuple[RunConfig, Experiment]:
    """The method to run, for a batch of one.

    Raises:
        InputError: the experiment, its prior or the method is not right.
    """
    library: Library = load_library()
    experiment = load_experiment(options.experiment).model_copy(update={"batch_size": 1})
    run = resolve(experiment, options.method, library)
    problems = prior_problems(experiment.prior, library) + head_problems(run.head)
    if run.method.source == "oracle" and run.head != WORLD_HEAD:
        problems.append(f"--method: '{options.method}' makes true heads, which are of '{WORLD_HEAD}'; got '{run.head}'")
    if run.method.meshes:
        problems.append(f"--method: '{options.method}' takes meshes that are named for a list's prompts; use snakemake")
    if problems:
        raise InputError(problems)
    return run, experiment


def make_item(options: argparse.Namespace) -> PromptItem:
    """The prompt as an item of a list.

    Raises:
        InputError: it is empty, too long, or holds control characters.
    """
    prompt = options.prompt.strip()
    item = PromptItem("command-line", slug(prompt), prompt, seed=options.seed)
    problems = item_problems(item)
    if problems:
        raise InputError(problems)
    return item


def folder_name(run: RunConfig, item: PromptItem) -> str:
    """A name that prompt, seed and settings have for themselves, so that no other run empties the folder."""
    return f"{item.id}-{run.method_name}-{digest(run.model_dump(mode='json'))[:8]}"


def make(task: Task, run: RunConfig, gpus: float, console: Console) -> None:
    """Make the avatar, with a progress bar.

    Raises:
        DiskFullError: no space left.
    """
    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("loading head and prior", total=None)

        def on_step(done: int, total: int) -> None:
            phase = "texture" if done <= run.method.phase1_steps else "texture and geometry"
            progress.update(bar, description=phase, completed=done, total=total)

        Worker(run.threads, gpus, steps=on_step).make(run, [task])


def show(task: Task, options: argparse.Namespace, console: Console) -> bool:
    """Render what there is to look at, and say where everything lies. Returns whether it could be rendered."""
    files = ["avatar.safetensors", "avatar.json"]
    shown = options.no_show or render(task, options.experiment, console)
    if shown and not options.no_show:
        files += ["turntable.mp4", "sheet.png", *(["avatar.glb"] if (task.folder / "avatar.glb").is_file() else [])]
    for name in files:
        print(task.folder / name)
    return shown


def render(task: Task, experiment: str, console: Console) -> bool:
    """Render turntable and contact sheet in a process of their own. Returns whether that worked, and says if not."""
    command = [sys.executable, str(SHOW), str(task.folder), "--experiment", experiment]
    with console.status("rendering turntable and contact sheet"):
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    if ended.returncode == 0:
        return True
    log = task.folder / "show.log"
    write_text(log, ended.stderr)
    reason = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
    message = (
        f"The avatar is written, but rendering it failed: {reason}\nAll of it in {log}; the same command tries again."
    )
    console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
