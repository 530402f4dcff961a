"""The failure signatures of score distillation, and the values from which they are findings.

misaligned    what the prior, shown the avatar over a plain background, adds to or removes from its outline, as a
              fraction of the head's area: where texture and geometry disagree. This is the prior that made the masks:
              avatars that followed them do better (`full` 0.10) than ground-truth heads (0.12)
saturated     fraction of the head's pixels with a channel that is black or full
masks         change of the segmentation masks from one refresh to the next, as a fraction of the head's area
at_bounds     fraction of the shape coefficients that lie at a bound
at_limit      fraction of the vertices with a component of their offset at its limit
cut           fraction of the judged views in which the head touches the border of the image: judges see a part of it
flicker       mean absolute RGB change of the decoded renders from frame to frame of a fine turntable, beyond the
              change of the exported texture
janus         fraction of the rear views that the prior takes for a front, see :mod:`eval.janus`

The thresholds are ours. Most separate good avatars from bad ones by eye. Two cannot be told by eye and come from
studies: `misaligned`, which 1 of the study's 48 ground-truth heads reaches (a prior never agrees with an outline
altogether), and `masks`, which a fifth of the avatars of an earlier version of `full` reached, and none of the study's.
"""

from __future__ import annotations

from dataclasses import dataclass

FINDINGS = {
    "misaligned": 0.25,
    "saturated": 0.25,
    "masks": 0.25,
    "at_bounds": 0.1,
    "at_limit": 0.02,
    "flicker": 0.03,
    "cut": 0.01,  # a single view: there are at most 72
    "janus": 0.5,
}
"""The least value of each measure that is a finding."""


@dataclass(frozen=True)
class Diagnosis:
    """Measures of one avatar, see the module; NaN where one does not apply (a ground-truth head has no masks)."""

    misaligned: float
    saturated: float
    masks: float
    at_bounds: float
    at_limit: float
    flicker: float
    cut: float
    janus: float

    @property
    def findings(self) -> list[str]:
        """Names of the measures that reach their thresholds."""
        return [name for name, least in FINDINGS.items() if getattr(self, name) >= least]
