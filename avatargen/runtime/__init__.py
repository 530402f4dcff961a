"""Schedule work: Snakemake jobs, the Ray head, worker pools, fingerprints, progress."""
