"""Run a Ray cluster of several nodes on this machine, in a process of its own, and obey the lines of its stdin.

    python tests/workflow/ray_nodes.py NODES CPUS GPUS

It prints the cluster's address, then a line for each command that it has obeyed: ``kill`` ends all processes of the
last node that was added, as a machine that fails does. It shuts the cluster down when stdin ends.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path


def main(nodes, cpus, gpus):
    folder = tempfile.mkdtemp(prefix="ag-", dir="/tmp")  # Ray's socket paths are limited to 107 bytes
    os.environ["RAY_TMPDIR"] = folder  # so that no other program finds this cluster by itself
    os.environ.update(dict.fromkeys(("RAY_health_check_period_ms", "RAY_health_check_timeout_ms"), "1000"))
    from ray.cluster_utils import Cluster  # reads the environment when it is imported

    (Path(folder) / "ray").mkdir()
    facts = {"num_cpus": cpus, "num_gpus": gpus, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster()
    try:
        cluster.add_node(**facts)
        added = [cluster.add_node(**facts) for _ in range(nodes - 1)]
        print(cluster.address, flush=True)
        for line in sys.stdin:
            if line.strip() == "kill":
                cluster.remove_node(added.pop(), allow_graceful=False)
                print("killed", flush=True)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
