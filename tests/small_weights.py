"""The smallest file of weights: one number, in the safetensors format."""

import numpy as np
from safetensors.numpy import save

WEIGHTS = save({"a": np.zeros(1, np.float32)})
OTHERS = save({"a": np.ones(1, np.float32)})
CLIP_CONFIG = '{"model_cfg": {}}'
"""What is read of ``open_clip_config.json`` before a run."""
