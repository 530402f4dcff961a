"""How work is scheduled: Snakemake jobs, the Ray head, worker pools, fingerprints, progress."""
