"""Find out what this machine lacks for an experiment: a GPU, and models that are neither here nor can be downloaded.

A run asks if its jobs run on this machine; on a cluster, GPUs and models are elsewhere.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from avatargen.config.experiment import Experiment, Library
from avatargen.config.settings import PriorSettings
from avatargen.io.checkpoint_files import cached_snapshot, hub_cache, is_hub_id, read_index
from avatargen.preflight.weight_checks import NETWORKS, has_weights, open_clip_weights
from avatargen.preflight.weight_files import file_problem, folder_problems

CONNECT_TIMEOUT_S = 3.0
CLIP_CACHE = Path("~/.cache/clip")
"""Where open_clip keeps files that do not come from the hub."""
HUB = "https://huggingface.co"
"""Address of the hub, unless HF_ENDPOINT states another one."""


@dataclass(frozen=True)
class HubModel:
    """A model that comes from the hub, or a file from an address.

    Attributes:
        where: what names it, for messages.
        id: ``OWNER/NAME``, or the address.
        revision: branch, tag or commit; None is ``main``.
        variant: of the files to load, see `PriorSettings`.
        without: a network that is loaded from elsewhere.
    """

    where: str
    id: str
    revision: str | None = None
    variant: str | None = None
    without: str | None = None

    def lack(self) -> str | None:
        """Return what the cache lacks of the model; None if it holds all of it."""
        if self.is_file:
            file = CLIP_CACHE.expanduser() / self.id.rpartition("/")[2]
            return None if file.is_file() and not file_problem(file) else f"no whole copy in {file.parent}"
        folder = cached_snapshot(self.id, self.revision)
        parts = [folder, *filter(Path.is_dir, folder.iterdir())] if folder else []
        if folder is None or not any(map(has_weights, parts)):
            return f"no copy in {hub_cache()}"
        networks = self._networks(folder)
        if gone := [name for name in networks if not has_weights(folder / name)]:
            return f"no weights of {', '.join(gone)} in {folder}"
        loaded = [folder / name for name in networks] or parts
        broken = [line for part in loaded for line in folder_problems(part, self.variant)]
        return f"a damaged copy in {folder} ({broken[0]})" if broken else None

    def _networks(self, folder: Path) -> list[str]:
        """Return the networks that the index of a pipeline names; none where there is no index."""
        try:
            return sorted(set(read_index(folder)) & set(NETWORKS) - {self.without})
        except (OSError, ValueError):
            return []

    @property
    def is_file(self) -> bool:
        """Whether the model is one file at an address."""
        return "://" in self.id


def machine_problems(experiment: Experiment, library: Library, root: Path) -> list[str]:
    """Return what this machine lacks for an experiment.

    Args:
        experiment: with names that may be unknown; those are ignored.
        library: the named priors and judges.
        root: folder that relative paths of weights start from.
    """
    return [*gpu_problems(experiment), *hub_problems(hub_models(experiment, library, root))]


def ray_address_problems(experiment: Experiment) -> list[str]:
    """Return whether RAY_ADDRESS is no address, or nothing answers there."""
    address = os.environ.get("RAY_ADDRESS", "")
    if experiment.backend != "ray" or address in ("", "local"):
        return []
    match = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", address)
    if not match or not 0 < int(match[2]) < 65536:
        return [f"RAY_ADDRESS: got '{address}'; expected HOST:PORT of a Ray head (by default port 6379) or 'local'"]
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        return [f"RAY_ADDRESS: nothing answers at {address} ({reason}); unset it to use this machine"]
    return []


def gpu_problems(experiment: Experiment) -> list[str]:
    """Return whether an experiment asks for more GPUs than this machine has; of a cluster that is not known."""
    asked = experiment.gpus_per_worker
    if not asked or os.environ.get("RAY_ADDRESS", "local") not in ("", "local"):
        return []
    if (found := count_gpus()) >= asked:
        return _torch_problems(experiment)
    return [
        f"{experiment.experiment}: gpus_per_worker: got {asked:g}; nvidia-smi finds {found} GPUs on this machine; "
        "expected a machine with an NVIDIA GPU and its driver, a cluster (docs/clusters.md), or 0 for the CPU, which "
        "is fast enough for the embedded prior alone"
    ]


def _torch_problems(experiment: Experiment) -> list[str]:
    """Return whether the installed torch cannot use GPUs."""
    try:
        built = version("torch")
    except PackageNotFoundError:
        return []
    if not built.endswith("+cpu"):
        return []
    where = f"{experiment.experiment}: gpus_per_worker: got {experiment.gpus_per_worker:g}"
    return [f"{where}; the installed torch {built} is built for the CPU alone; expected a build for CUDA"]


def count_gpus() -> int:
    """Return how many GPUs nvidia-smi lists; 0 without an NVIDIA driver."""
    if shutil.which("nvidia-smi") is None:
        return 0
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace")
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())


def hub_models(experiment: Experiment, library: Library, root: Path) -> list[HubModel]:
    """Return the models of an experiment that come from the hub, priors first."""
    priors = {name: library.priors[name] for name in experiment.prior_names if name in library.priors}
    found = [
        _hub_model(name, prior, path)
        for name, prior in priors.items()
        for path in (*prior.parts, *([prior.vae] if prior.vae else []))
        if is_hub_id(path) and not (root / path).exists()
    ]
    weights = open_clip_weights()
    for name in dict.fromkeys((*experiment.judges, *_clip_guides(experiment, library))):
        judge = library.judges.get(name)
        if judge is None or (root / judge.model).is_dir():
            continue
        tag = (judge.pretrained or "").lower().replace("-", "_")
        hub_id = weights.get(judge.model.replace("/", "-"), {}).get(tag, "")
        hub_id = judge.model.removeprefix("hf-hub:") if judge.model.startswith("hf-hub:") else hub_id
        if hub_id:
            found.append(HubModel(f"judge '{name}'", hub_id))
    return found


def _hub_model(name: str, prior: PriorSettings, path: str) -> HubModel:
    """Return what a prior takes from the hub: a pipeline, or its other autoencoder."""
    if path == prior.vae:
        return HubModel(f"prior '{name}'", path)
    without = "vae" if prior.vae else None
    return HubModel(f"prior '{name}'", path, prior.revision, prior.variant, without)


def _clip_guides(experiment: Experiment, library: Library) -> list[str]:
    """Return the CLIPs that guide methods of the experiment."""
    methods = [library.methods[name] for name in experiment.methods if name in library.methods]
    guided = [method for method in methods if {**experiment.overrides, **method.overrides}.get("guide") == "clip"]
    return [method.clip_guide or experiment.clip_guide for method in guided]


def hub_problems(models: Iterable[HubModel]) -> list[str]:
    """Return the models that are neither in the hub's cache nor can be downloaded to it."""
    missing = {model: lack for model in models if (lack := model.lack())}
    reason = _why_unreachable(_address()) if any(not model.is_file for model in missing) else None
    files = {model: _why_unreachable(model.id, hub=False) for model in missing if model.is_file}
    return [
        f"{model.where}: {model.id}: got {lack}, and {why}; expected one or the other; download "
        f"{model.id if model.is_file else f'{_address()}/{model.id}'} elsewhere and copy the cache, or put the path of "
        f"a {'file' if model.is_file else 'folder'} into the stanza"
        for model, lack in missing.items()
        if (why := files.get(model) if model.is_file else reason)
    ]


def _address() -> str:
    return os.environ.get("HF_ENDPOINT") or HUB


def _why_unreachable(address: str, hub: bool = True) -> str | None:
    """Return why nothing can be downloaded from an address; None if it answers.

    Args:
        address: of the hub, or of a file.
        hub: whether it is the hub, which an environment variable may forbid.
    """
    if hub and is_offline():
        return "HF_HUB_OFFLINE forbids downloads"
    there = urlsplit(address)
    try:
        socket.create_connection((str(there.hostname), there.port or 443), CONNECT_TIMEOUT_S).close()
    except OSError:
        return f"nothing answers at {there.hostname}"
    return None


def is_offline() -> bool:
    """Return whether the environment forbids downloads from the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
