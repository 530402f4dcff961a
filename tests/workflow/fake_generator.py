"""A generator with the interface of the real one that makes tiny avatars, for tests of the code around it.

The words of a prompt decide what happens: ``explode``, ``memory``, ``diverge``, ``full disk``, ``die once``, ``die
always``, ``kill raylet``, ``fault of the GPU`` (once), ``faults of the GPU`` (always), ``long`` (truncated). Each step
leaves a checkpoint, from which the generator resumes. A process dies after the first step and adds its pid to ``died``
in the avatar's folder.
"""

import errno
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import SafetensorError

from avatargen.geometry.types import HeadParameters
from avatargen.io.atomic import write_text
from avatargen.io.avatar_file import Avatar


class FakeHead:
    id = "fake-1"

    def template(self, batch):
        zeros = torch.zeros
        return HeadParameters(zeros(batch, 2), zeros(batch, 3), zeros(batch, 1, 3), zeros(batch, 4, 3))


class FakeGenerator:
    head = FakeHead()
    prior = SimpleNamespace(id="none")

    @classmethod
    def load(cls, head, renderer, prior, threads, soft):
        return cls()

    def truncated_by(self, run, prompt):
        return [f"prior '{run.prior_name}'"] if "long" in prompt else []

    def run(self, run, items, folders, on_step=None, phase1_folders=None):
        for item, folder in zip(items, folders, strict=True):
            self._misbehave(item.prompt, folder)
        for folder in phase1_folders or ():
            folder.mkdir(parents=True, exist_ok=True)
        total = run.method.steps
        for step in range(self._resume(folders), total):
            for item, folder in zip(items, folders, strict=True):
                if step == 1:
                    self._die(item.prompt, folder)
            for folder in folders:
                write_text(folder / "checkpoint.json", json.dumps({"step": step + 1}))
            with (folders[0].parent / "steps.log").open("a") as log:
                log.write(f"{os.getpid()} {step} {len(items)}\n")
            if on_step:
                on_step(step + 1, total)
        for item, folder in zip(items, folders, strict=True):
            (folder / "checkpoint.json").unlink(missing_ok=True)
            yield self._avatar(run, item)

    def _resume(self, folders):
        files = [folder / "checkpoint.json" for folder in folders]
        return min(json.loads(file.read_text())["step"] if file.is_file() else 0 for file in files)

    def _misbehave(self, prompt, folder: Path):
        if "explode" in prompt:
            raise ValueError("it exploded")
        if "memory, says warp" in prompt:
            raise RuntimeError("Failed to allocate 1048576 bytes on device 'cuda:0'")
        if "memory" in prompt:
            raise MemoryError("no memory for this one")
        if "full disk" in prompt and not (folder.parent / "space").exists():
            if "rust" in prompt:
                raise SafetensorError("I/O error: No space left on device (os error 28)")
            raise OSError(errno.ENOSPC, "No space left on device")
        if "kill raylet" in prompt:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)

    def _die(self, prompt, folder: Path):
        dies = "die always" in prompt or "faults of the GPU" in prompt
        if dies or (("die once" in prompt or "fault of the GPU" in prompt) and not (folder / "died").exists()):
            with (folder / "died").open("a") as file:
                file.write(f"{os.getpid()}\n")
            if "GPU" in prompt:
                advice = "For debugging consider passing CUDA_LAUNCH_BLOCKING=1"
                raise torch.AcceleratorError(f"CUDA error: an illegal memory access was encountered\n{advice}")
            os.kill(os.getpid(), signal.SIGKILL)

    def _avatar(self, run, item):
        noise = torch.Generator().manual_seed(int(item.id[-8:], 16) % 2**31)
        return Avatar(
            id=item.id,
            prompt=item.prompt,
            seed=item.seed,
            method=run.method_name,
            head_id=self.head.id,
            prior_id=run.prior_name,
            shape=torch.randn(2, generator=noise),
            expression=torch.zeros(3),
            joints=torch.zeros(1, 3),
            offsets=torch.zeros(4, 3),
            latent_texture=None,
            baked_texture=torch.zeros(3, 4, 4),
            status="diverged" if "diverge" in item.prompt else "ok",
            message="the loss is not finite" if "diverge" in item.prompt else "",
            cost={"seconds": 0.1, "peak_memory_mb": 1.0},
        )
