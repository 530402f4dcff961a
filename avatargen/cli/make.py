"""``avatargen make``: one prompt, one avatar.

The workflow's worker makes the avatar in this process. ``workflow/scripts/show_avatar.py`` renders and exports it in a
process of its own, since `avatargen` does not import `eval`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from avatargen.config.errors import InputError, Problems
from avatargen.config.experiment import Experiment, RunConfig
from avatargen.config.loading import load_experiment, load_library, resolve
from avatargen.config.places import DEFAULT_EXPERIMENT, shipped
from avatargen.config.prompts import PromptItem, item_problems, slug
from avatargen.io.atomic import read_json, write_text
from avatargen.io.content_hash import digest
from avatargen.method.sources import WORLD_HEAD, WORLD_HEADS, has_truth, source_of
from avatargen.preflight.weight_checks import head_problems, prior_problems
from avatargen.preflight.word_checks import prompt_note
from avatargen.runtime.fingerprint import of_avatar
from avatargen.runtime.worker import Task, Worker, is_done

SHOW = shipped("workflow/scripts/show_avatar.py")
EXAMPLES = """examples:
  avatargen make "a smiling old man with green skin and a white beard"
  avatargen make "a bald woman with blue skin" --method texture_only --seed 3 --out /tmp/avatars
  avatargen make "a baby" --steps-scale 0.25      a quick look, in a quarter of the steps

The same prompt, seed and settings give the same avatar, in a folder of its own. A finished avatar is only
shown again; an interrupted one resumes. For many prompts, put a list into prompts/ and use `avatargen run`."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen make``."""
    parser = subparsers.add_parser(
        "make",
        allow_abbrev=False,
        help="one avatar from a prompt: avatar file, turntable (MP4), contact sheet (PNG), GLB",
        description="Make one head avatar from a prompt: avatar file, turntable (MP4), contact sheet (PNG), GLB.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", help="what the head should look like, in quotes")
    parser.add_argument("--method", default="full", help="name in methods.yaml (default: full)")
    parser.add_argument("--seed", type=int, default=0, help="of noise and cameras (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/avatars"),
        metavar="DIR",
        help="folder that gets the avatar's folder (default: results/avatars)",
    )
    parser.add_argument(
        "--experiment",
        default=DEFAULT_EXPERIMENT,
        metavar="NAME",
        help=f"whose head, prior and settings to use (default: {DEFAULT_EXPERIMENT})",
    )
    parser.add_argument(
        "--steps-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply the optimisation steps: 0.25 is a quick look (default: 1)",
    )
    parser.add_argument("--no-show", action="store_true", help="write the avatar file only, render nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make and show one avatar. Return the exit status: 0, or 1 if it failed.

    Raises:
        InputError: prompt or settings are wrong; all problems.
        DiskFullError: no space left.
    """
    console = Console(stderr=True)
    item, config, experiment = resolved(options)
    task = Task(item, (options.out / folder_name(config, item)).absolute(), of_avatar(config, item))
    if note := prompt_note(config, item.prompt):
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if not is_done(task):
        make(task, config, experiment.gpus_per_worker, console)
    facts = read_json(task.folder / "done.json")
    for reader in facts.get("truncated_by", []):
        console.print(f"{reader} truncates this prompt.", style="yellow", markup=False, highlight=False)
    shown = show(task, options, console)
    if facts["status"] != "ok":
        console.print(f"{facts['status']}: {facts['message']}", style="red", markup=False)
        return 1
    return 0 if shown else 1


def resolved(options: argparse.Namespace) -> tuple[PromptItem, RunConfig, Experiment]:
    """Return what to make and with what, its steps scaled.

    Raises:
        InputError: prompt or settings are wrong; all problems.
    """
    problems = Problems()
    if not 0 < options.steps_scale <= 100:
        problems.add([f"--steps-scale: got {options.steps_scale:g}; expected more than 0, at most 100"])
    item, settings = problems.of(lambda: make_item(options)), problems.of(lambda: configure(options))
    if item and settings and source_of(settings[0]).needs_truth and not has_truth(WORLD_HEAD, item):
        known = "ground-truth heads, which are known of captions like those in prompts/embedded.tsv"
        problems.add([f"--method: '{options.method}' makes {known}; got '{item.prompt}'"])
    item, (config, experiment) = problems.checked(item), problems.checked(settings)
    phases = {name: getattr(config.method, name) for name in ("phase1_steps", "phase2_steps", "phase3_steps")}
    scaled = {name: max(round(steps * options.steps_scale), min(steps, 1)) for name, steps in phases.items()}
    return item, config.model_copy(update={"method": config.method.model_copy(update=scaled)}), experiment


def configure(options: argparse.Namespace) -> tuple[RunConfig, Experiment]:
    """Resolve the method for a batch of one.

    Raises:
        InputError: the experiment, its prior or the method is wrong.
    """
    library = load_library()
    experiment = load_experiment(options.experiment).model_copy(update={"batch_size": 1})
    config = resolve(experiment, options.method, library)
    problems = prior_problems(config.prior_name, library) + head_problems(config.head)
    source = source_of(config)
    if source.needs_truth and config.head not in WORLD_HEADS:
        problems.append(
            f"--method: '{options.method}' makes ground-truth heads, which are of '{WORLD_HEAD}'; got '{config.head}'"
        )
    if source.is_external:
        problems.append(
            f"--method: '{options.method}' takes files that are named for a list's prompts; use `avatargen run`"
        )
    if problems:
        raise InputError(problems)
    return config, experiment


def make_item(options: argparse.Namespace) -> PromptItem:
    """Return the prompt as an item of a list.

    Raises:
        InputError: it is empty, too long, or holds control characters.
    """
    prompt = options.prompt.strip()
    item = PromptItem("command-line", slug(prompt), prompt, seed=options.seed)
    problems = item_problems(item)
    if problems:
        raise InputError(problems)
    return item


def folder_name(config: RunConfig, item: PromptItem) -> str:
    """Return a name that is unique to prompt, seed and settings, so that no other avatar empties the folder."""
    return f"{item.id}-{config.method_name}-{digest(config.model_dump(mode='json'))[:8]}"


def make(task: Task, config: RunConfig, gpus: float, console: Console) -> None:
    """Make the avatar, with a progress bar.

    Raises:
        DiskFullError: no space left.
    """
    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("loading head and prior", total=None)

        def on_step(done: int, total: int) -> None:
            phase = "texture and geometry" if config.method.in_phase2(done - 1) else "texture"
            progress.update(bar, description=phase, completed=done, total=total)

        Worker(config.threads, gpus, steps=on_step).make(config, [task])


def show(task: Task, options: argparse.Namespace, console: Console) -> bool:
    """Render what there is to look at and print where every file lies. Return whether it could be rendered."""
    files = ["avatar.safetensors", "texture.png", "avatar.json"]
    shown = options.no_show or render(task, options.experiment, console)
    if shown and not options.no_show:
        files += ["turntable.mp4", "sheet.png", *(["avatar.glb"] if (task.folder / "avatar.glb").is_file() else [])]
    for name in files:
        print(task.folder / name)
    return shown


def render(task: Task, experiment: str, console: Console) -> bool:
    """Render turntable and contact sheet in a process of their own. Return whether that worked; say why not."""
    command = [sys.executable, str(SHOW), str(task.folder), "--experiment", experiment]
    with console.status("rendering turntable and contact sheet"):
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    if ended.returncode == 0:
        return True
    log = task.folder / "show.log"
    write_text(log, ended.stderr)
    reason = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
    message = f"The avatar is written, but rendering it failed: {reason}\nSee {log}; the same command tries again."
    console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return False
