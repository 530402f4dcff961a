"""Every hyper-parameter of the method: description, bounds and provenance.

Provenance is `paper` (stated in arXiv 2307.04859), `borrowed` (from the named open implementation), `ours`, or
`deviates` (ours, where the paper does otherwise). It is that of the default; any other value is `ours`, or `deviates`
where the default is the paper's. The report prints it. A method in
``workflow/config/methods.yaml`` is a set of overrides of :class:`MethodSettings`; a prior in
``workflow/config/priors.yaml`` is a :class:`PriorSettings`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from avatargen.config.frozen import Frozen
from avatargen.config.other_systems import FrameSettings, MeshSettings, Number, Positive

Provenance = Literal["paper", "borrowed", "ours", "deviates"]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if low > high:
        raise ValueError(f"expected low <= high; got {low:g}, {high:g}")
    return bounds


Azimuths = Annotated[tuple[Number, Number], AfterValidator(_ordered)]
Elevation = Annotated[Number, Field(ge=-89.0, le=89.0)]
Elevations = Annotated[tuple[Elevation, Elevation], AfterValidator(_ordered)]
Distances = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
Angle = Annotated[Number, Field(gt=0.0, lt=180.0)]
Angles = Annotated[tuple[Angle, Angle], AfterValidator(_ordered)]
Fraction = Annotated[Number, Field(ge=0.0, le=1.0)]
Fractions = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]


def hyper(default: Any, provenance: Provenance, description: str, **bounds: Any) -> Any:
    """Declare a hyper-parameter: its default, where that comes from, and what it means."""
    return Field(default, description=description, json_schema_extra={"provenance": provenance}, **bounds)


class SoftRasterSettings(Frozen):
    """How renderers that blend softly do so (see `avatargen.render.pytorch3d`); others ignore it."""

    sigma: float = hyper(
        1e-4, "borrowed", "softness of outlines, half image heights squared (SoftRas; PyTorch3D)", gt=0, le=1
    )
    gamma: float = hyper(
        1e-4, "borrowed", "softness of occlusion, a share of the depths 1 to 100 m (SoftRas; PyTorch3D)", gt=0, le=1
    )
    faces_per_pixel: int = hyper(
        50, "borrowed", "nearest faces that blend at a sample (PyTorch3D's tutorials)", ge=1, le=150
    )


class MethodSettings(Frozen):
    """One way of making an avatar; the defaults are the full method."""

    source: Literal["optimise", "template", "oracle", "true_texture", "true_shape", "imported", "frames"] = hyper(
        "optimise",
        "ours",
        "optimise with the prior; or the floor (template), the ceiling (oracle), the ceiling of either half "
        "(true_texture, true_shape), another system's meshes (imported) or rendered views (frames)",
    )
    meshes: MeshSettings | None = Field(None, description="of source 'imported': where they are")
    frames: FrameSettings | None = Field(None, description="of source 'frames': where they are")
    guide: Literal["diffusion", "clip"] = hyper(
        "diffusion", "paper", "what pulls renders to the prompt: score distillation, or a CLIP loss"
    )
    clip_weight: float = hyper(1000.0, "ours", "weight of the CLIP loss, 1 - cosine", gt=0)
    phase1_steps: int = hyper(140, "ours", "steps that move the texture only", ge=0, le=20000)
    phase2_steps: int = hyper(220, "ours", "steps that move texture and geometry", ge=0, le=20000)
    phase3_steps: int = hyper(0, "ours", "steps after them that move the texture only again", ge=0, le=20000)
    views: int = hyper(2, "ours", "cameras for each avatar and step", ge=1, le=64)
    texture: bool = hyper(True, "paper", "optimise the latent texture")
    phase2_texture: bool = hyper(True, "paper", "phase 2 goes on moving the texture")
    shape: bool = hyper(True, "paper", "phase 2 moves the head model's shape coefficients")
    expression: bool = hyper(True, "ours", "phase 2 moves the head model's expression coefficients")
    offsets: bool = hyper(True, "paper", "phase 2 moves per-vertex offsets given by an MLP")
    view_prompts: bool = hyper(True, "borrowed", "add the view to the prompt (Latent-Paint)")
    shading_cue: Literal["added", "blended"] = hyper(
        "blended", "paper", "how the shaded geometry enters the latents: blended, or its contrast added (ours)"
    )
    shading_alpha: float = hyper(0.5, "ours", "weight of the shading cue at the first step", ge=0, le=1)
    shading_until: float = hyper(0.6, "ours", "fraction of phase 1 at which the cue has its last weight", ge=0, le=1)
    shading_end: float = hyper(0.0, "ours", "weight of the cue from there on, phase 2 included", ge=0, le=1)
    segmentation_weight: float = hyper(2.0, "ours", "weight of the segmentation loss, a sum over pixels", ge=0)
    mask_period: int = hyper(40, "ours", "steps between refreshes of the segmentation masks", ge=1)
    mask_views: int = hyper(8, "ours", "fixed cameras with a segmentation mask each", ge=1, le=64)
    reading_weight: float = hyper(
        1000.0, "ours", "weight of the pull to the expression that is read in the prior's images; needs a reader", ge=0
    )
    interior_gradient: bool = hyper(
        False, "deviates", "let score distillation inside the silhouette move vertices, as the paper does"
    )
    distil_silhouette: float = hyper(
        0.3, "deviates", "weight of score distillation's gradient through the silhouette; the paper states none", ge=0
    )
    distil_shading: float = hyper(
        0.0, "ours", "weight of score distillation's gradient through the shading cue's normals", ge=0
    )
    lr_shape: float = hyper(0.008, "ours", "r.m.s. step of shape, in units of each coefficient's range", gt=0)
    lr_expression: float = hyper(0.01, "ours", "r.m.s. step of expression coefficients", gt=0)
    lr_offsets: float = hyper(6e-3, "ours", "r.m.s. step of the weights of the offset MLP", gt=0)
    geometry_decay: float = hyper(0.1, "ours", "what is left of these rates at the end of phase 2", ge=0, le=1)
    offset_limit_mm: float = hyper(60.0, "ours", "largest offset of a vertex, mm", gt=0)
    laplacian_weight: float = hyper(100.0, "ours", "weight of the smoothness of offsets", ge=0)
    offset_weight: float = hyper(5.0, "ours", "weight of the size of offsets", ge=0)
    shape_prior_weight: float = hyper(30.0, "ours", "weight of the prior on shape and expression", ge=0)
    refine: bool = hyper(
        True, "deviates", "finish the texture by views that the prior denoises, if the prior has `refine_steps`"
    )
    gradient_clip: float = hyper(1e4, "ours", "largest norm of an avatar's geometry gradient", gt=0)
    soft_raster: SoftRasterSettings = SoftRasterSettings()

    @model_validator(mode="after")
    def _has_steps(self) -> MethodSettings:
        if self.optimises and self.steps == 0:
            raise ValueError(
                "phase1_steps + phase2_steps + phase3_steps is 0; expected at least 1 step for source 'optimise'"
            )
        for source, name, value in (("imported", "meshes", self.meshes), ("frames", "frames", self.frames)):
            if (self.source == source) != (value is not None):
                raise ValueError(f"source is '{self.source}', {name} are {value}; expected '{source}' with {name}")
        return self

    @property
    def optimises(self) -> bool:
        """Whether avatars take optimisation steps."""
        return self.source == "optimise"

    @property
    def steps(self) -> int:
        """Optimisation steps in all phases."""
        return self.phase1_steps + self.phase2_steps + self.phase3_steps if self.optimises else 0

    def in_phase2(self, step: int) -> bool:
        """Return whether a step, counted from 0, belongs to phase 2: the one that moves geometry."""
        return 0 <= step - self.phase1_steps < self.phase2_steps


class CameraSettings(Frozen):
    """Where training cameras stand: ranges (lowest, highest), in degrees and metres."""

    azimuth: Azimuths = hyper((-180.0, 180.0), "borrowed", "degrees; Latent-Paint: all around")
    front_bias: float = hyper(
        0.3, "ours", "b in the density of azimuths, 1 + b cos x: with 1 the face has twice the mean", ge=0, le=1
    )
    elevation: Elevations = hyper((-15.0, 30.0), "ours", "degrees")
    distance: Distances = hyper((1.12, 1.32), "ours", "metres from the head's centre")
    target_jitter: float = hyper(
        0.01, "ours", "half side of the cube around the centre in which the point looked at lies, metres", ge=0
    )
    fov: Angles = hyper((18.0, 18.0), "ours", "vertical field of view, degrees")
    close: float = hyper(0.0, "ours", "share of views that are close-ups of the face", ge=0, le=1)
    close_fov: Angles = hyper((9.0, 13.0), "ours", "vertical field of view of close-ups, degrees")


LATENT_SIZES = {"sdxl": 128}
"""Latent size of the kinds of prior whose weights are made for another than the default."""


class LoraSettings(Frozen):
    """A LoRA file that is fused into a prior's networks."""

    path: str = Field(description="safetensors file, relative to the repository, or absolute")
    scale: Number = Field(1.0, description="factor of its change of the weights")


class ReaderSettings(Frozen):
    """A reader of facial actions in images that a prior makes (`avatargen.priors.expression_reader`)."""

    kind: str = Field("small", description="a name in avatargen.config.plugins.READERS")
    path: str = Field(description="its weights, relative to the repository, or absolute")
    neutral: float = Field(
        0.5, gt=0, lt=1, description="expected share of faces without an expression; a reader may ignore it"
    )


class PriorSettings(Frozen):
    """A diffusion prior and the hyper-parameters that belong to it rather than to the method."""

    reason: str = Field("", exclude=True, description="one line, for `avatargen list priors`")
    kind: str = Field("stable_diffusion", description="a name in avatargen.config.plugins.PRIORS")
    path: str = Field(
        description="diffusers folder or single .safetensors file (relative to the repository), or hub id"
    )
    variant: str | None = Field(
        None, description="which files of a folder or hub id: fp16 for *.fp16.safetensors; by default what is there"
    )
    revision: str | None = Field(None, description="branch, tag or commit of a hub id")
    config: str | None = Field(
        None, description="folder with the configuration of a single file; by default that of its family"
    )
    vae: str | None = Field(None, description="another autoencoder: folder, single .safetensors file or hub id")
    lora: tuple[LoraSettings, ...] = Field((), description="LoRA files to fuse into the networks, in order")
    prediction: Literal["epsilon", "v_prediction", "sample"] | None = Field(
        None, description="output of the UNet; by default what the scheduler's configuration says"
    )
    guidance: float = hyper(100.0, "paper", "classifier-free guidance scale of score distillation", ge=0)
    guidance_from: float = hyper(
        0.0,
        "ours",
        "timestep from which guidance acts, as a fraction of the schedule (Kynkäänniemi et al. 2024); below it is 1",
        ge=0,
        le=1,
    )
    t_range: Fractions = hyper((0.02, 0.98), "borrowed", "timestep range, as a fraction (Latent-Paint)")
    t_schedule: Literal["random", "annealed", "linear", "sqrt", "dreamtime"] = hyper(
        "random",
        "borrowed",
        "random timesteps (Latent-Paint), over a range whose upper end moves down, or falling ones: linearly, with the "
        "square root (HiFA) or by DreamTime's weights",
    )
    distillation: Literal["sds", "csd", "nfsd", "asd", "ism"] = hyper(
        "sds",
        "paper",
        "what is subtracted from the guided prediction: the noise, or the reference of classifier, noise-free or "
        "asynchronous score distillation, or of interval score matching",
    )
    negative_prompt: str = hyper("", "ours", "prompt to be guided away from, in place of the empty one")
    opposite_view: float = hyper(
        0.0, "ours", "weight of the prompt with the view across the head as a negative one (Perp-Neg)", ge=0
    )
    guidance_rescale: float = hyper(
        0.0, "ours", "share of the guided latents that get the unguided ones' deviation (Lin et al. 2024)", ge=0, le=1
    )
    dynamic_threshold: float = hyper(
        0.0, "ours", "largest latent of guided estimates (Imagen's dynamic thresholding); 0 for none", ge=0
    )
    view_words: Literal["latent_paint", "sectors"] = hyper(
        "latent_paint",
        "borrowed",
        "how prompts name views: front, side, back, overhead (Latent-Paint), or one of 16 directions and close-ups",
    )
    weighting: Literal["latent_paint", "dreamfusion", "uniform"] = hyper(
        "latent_paint", "borrowed", "w(t): sqrt(a)(1-a) (Latent-Paint), 1-a (DreamFusion), or 1"
    )
    latent_size: int = hyper(
        64, "paper", "rows and columns of the rendered latents; a stanza without it has those of its weights", ge=8
    )
    texture_size: int = hyper(512, "paper", "rows and columns of the latent texture", ge=16)
    mask_timestep: float = hyper(
        0.6, "ours", "how far renders are noised for estimates of masks, as a fraction", gt=0, lt=1
    )
    mask_steps: int = hyper(4, "ours", "denoising steps of each estimate of a mask", ge=1, le=50)
    mask_guidance: float = hyper(4.0, "ours", "classifier-free guidance scale of these estimates", ge=0)
    refine_steps: int = hyper(
        0, "ours", "denoising steps of the finish; 0 makes none: we measured it with mini alone", ge=0, le=100
    )
    refine_timestep: float = hyper(0.5, "ours", "how far its views are noised, as a fraction", gt=0, lt=1)
    refine_guidance: float = hyper(4.0, "ours", "its classifier-free guidance scale, from guidance_from on", ge=0)
    reader: ReaderSettings | None = Field(
        None, description="reads facial actions in the prior's images; without one, expressions are not read"
    )
    reading_timestep: float = hyper(
        0.6, "ours", "how far renders are noised before expressions are read in them, as a fraction", gt=0, lt=1
    )
    reading_steps: int = hyper(4, "ours", "denoising steps before expressions are read", ge=1, le=50)
    reading_guidance: float = hyper(4.0, "ours", "classifier-free guidance scale of these steps", ge=0)
    samples: int = hyper(2, "ours", "render samples on each side of a latent pixel", ge=1, le=8)
    lr_texture: float = hyper(1e-2, "borrowed", "Adam step of the latent texture (Latent-Paint)", gt=0)
    texture_decay: float = hyper(1.0, "ours", "what is left of lr_texture at the end of the run", ge=0, le=1)
    adam_eps: float = hyper(1e-15, "borrowed", "eps of Adam for the texture (Latent-Paint)", gt=0)
    cameras: CameraSettings = CameraSettings()

    @property
    def parts(self) -> list[str]:
        """Folders or hub ids to load: one, or Kandinsky's decoder and the pipeline that embeds texts for it."""
        if self.kind != "kandinsky":
            return [self.path]
        place, slash, name = self.path.rstrip("/").rpartition("/")
        return [self.path, f"{place}{slash}{name.replace('decoder', 'prior')}"]

    @property
    def sources(self) -> list[str]:
        """Everything that is loaded, as configured: `parts`, other configuration, another autoencoder, LoRA files."""
        return [*self.parts, *(path for path in (self.config, self.vae) if path), *(lora.path for lora in self.lora)]
