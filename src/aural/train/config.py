"""Define the keys of a recipe: what is trained, on what data, how, and with which expected result.

Every key and its default is documented here; an unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from aural.audio.augment import AugmentConfig
from aural.core.config import Config
from aural.models.clap import ClapConfig

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Tower = Literal["audio", "text"]
CAPTION_COLUMNS = ("captions", "caption_detailed", "caption_short", "caption_label")


class SourceConfig(Config):
    """A source of clips: exactly one of a manifest, captions, shards, scenes of a manifest's clips, and a world."""

    manifest: str = ""
    captions: str = ""
    """A CSV file with the columns path and caption, or a folder with one subfolder of sounds per class."""
    shards: tuple[str, ...] = ()
    """Folders, globs or names of webdataset tars."""
    scenes: str = ""
    """A manifest whose named clips are mixed into scenes during training."""
    scene_options: dict[str, Any] = Field(default_factory=dict)
    world: str = ""
    """Name of a world in `aural.data.worlds.WORLDS`; its options are in world_options."""
    world_options: dict[str, Any] = Field(default_factory=dict)
    split: str = "train"
    weight: Positive = 1.0
    """Share of the clips, relative to the other sources."""
    task: str = ""
    """In a recipe with tasks: the task that these clips have answers for."""

    @model_validator(mode="after")
    def _one(self) -> SourceConfig:
        self.require_one_of("manifest", "captions", "shards", "scenes", "world")
        return self


class BatchingConfig(Config):
    """The rule by which clips are gathered into batches."""

    name: Literal["windows", "lengths"] = "windows"
    """windows: loop.batch clips, each cropped or filled to the model's window. lengths: clips of similar length, padded
    to the longest of them; as many as `seconds` hold. The window is then the greatest length. The sound encoder must
    mask padding, and data need durations."""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """lengths: sound per step over all processes, padding included; 0: loop.batch windows."""
    pool: Count = 8192
    """lengths: clips that are sorted by length together. More give less padding and less random batches."""
    multiple: Count = 8
    """lengths: the clips of a step are a multiple of this, which the number of processes must divide."""
    shortest_s: Positive = 1.0
    """lengths: shorter clips are filled to this length."""
    round_s: Positive = 0.1
    """lengths: batches are padded to a multiple of this, so that fewer shapes occur."""


class DataConfig(Config):
    """The data sources, and how clips and captions are prepared for a batch."""

    renamed_values: ClassVar = {("crop", "centre"): "center"}

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    fields: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of batch fields (`views: 2`), and fields that the system does not ask for but an objective needs."""
    captions: tuple[str, ...] = CAPTION_COLUMNS
    """Columns that captions are drawn from; each caption of a clip is equally likely."""
    template: str = ""
    """A caption for clips without one: "the sound of {label}"."""
    captions_per_clip: Count = 1
    negatives: Natural = 0
    """False captions per clip (scenes make them), for hard_negatives."""
    negative_kinds: tuple[str, ...] = ()
    """Kinds of false captions to draw from: order, overlap, attribute, absent, count; empty: all."""
    crop: Literal["random", "first", "center"] = "random"
    augment: AugmentConfig = AugmentConfig()
    pcm16: bool = False
    """Copy sounds to the device as 16-bit samples: half the bytes, and lossless for 16-bit recordings."""
    batching: BatchingConfig = BatchingConfig()
    """The name alone is enough: `batching: lengths`."""
    pad_text: Literal["longest", "full"] = "longest"
    """Pad captions to the longest of the batch, or all to the tower's max_tokens."""
    pack_text: Natural = 0
    """Pack captions into rows of this many tokens, at least the tower's max_tokens, so that the text tower computes
    almost no padding; 0: one caption per row. Needs loop.micro_batch 0."""
    one_source: bool = False
    """Draw all clips of a batch from one source; the sources take turns in proportion to their weights."""
    shard_mix: Count = 8
    """Shards that are shuffled together."""
    workers: Natural = 2
    """Number of processes that decode and augment; 0: the training process does it."""
    prefetch: Count = 4
    """Number of batches that each worker prepares in advance."""

    @field_validator("batching", mode="before")
    @classmethod
    def _named_batching(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("template")
    @classmethod
    def _has_label(cls, template: str) -> str:
        if template and "{label}" not in template:
            raise ValueError("has no place for the label; write {label} where it goes")
        return template


class ModelConfig(Config):
    """A sound tower and a text tower, and their start weights."""

    clap: ClapConfig = Field(default=None)  # type: ignore[assignment]
    """The architecture; with `init` it is that of the model to start from and need not be given."""
    init: str = ""
    """A model of `aural models list`, a folder or a hub repository to start from, with its architecture; empty:
    random."""
    audio_init: str = ""
    """The folder of a stage-1 run, or a model by name or folder, whose audio encoder is taken."""
    text_init: str = "random"
    """ "random", "packaged-minilm" (from an installed package), a folder in our own format, or a local folder or hub
    name of pretrained weights of the text tower's architecture."""
    locked: tuple[Tower, ...] = ()
    """Towers whose encoder is frozen; projections are always trained."""
    text_lora: Natural = 0
    """Rank of the low-rank updates (LoRA) that are trained on a locked text tower; 0: none."""
    int8: bool = False
    """Round the finished model's matrices to 8 bits per row when it is opened, so that it equals its int8 form."""
    init_temperature: Positive = 0.07
    batch_norm: Literal["batch", "calibrated", "sync"] = "batch"
    """batch: statistics of each micro-batch and rank; sync: over ranks (CUDA); calibrated: measured on the first
    batches before step 0, then constant, so that a result does not depend on how a batch is cut."""

    @model_validator(mode="after")
    def _architecture(self) -> ModelConfig:
        if self.clap is None and not self.init:
            raise ValueError('key "clap" is missing; describe the towers, or name a model to start from in init')
        return self

    @model_validator(mode="after")
    def _updates_of_a_locked_tower(self) -> ModelConfig:
        if self.text_lora and "text" not in self.locked:
            raise ValueError("text_lora needs the text tower locked; add locked: [text]")
        return self


class DistillConfig(Config):
    """Shorthand for a frozen teacher and a `regress` objective: the audio tower learns to repeat its embeddings."""

    teacher: str
    """A model by name or folder, with the recipe's log-mel and embedding dimensions. Its input is not masked."""
    weight: Positive = 1.0
    """Weight of the mean of 1 - cosine."""
    only: bool = False
    """Train on this loss alone, without `objective`."""


class TeacherConfig(Config):
    """A source of targets that no gradient reaches. Its tensors are named `PREFIX_` plus the name of an output."""

    kind: Literal["frozen", "ema", "peer", "queue"]
    """frozen: a finished model. ema: the exponential average of the system's own weights. peer: the system's own
    outputs without gradient, for two towers that teach each other. queue: rows of earlier steps."""
    prefix: str = ""
    """Default: "teacher"; for a queue "queue"."""
    model: str = ""
    """frozen: a model by name or folder, with the recipe's log-mel and embedding dimensions. Its input is not
    masked."""
    towers: tuple[Tower, ...] = ("audio",)
    """frozen: which embeddings it gives: audio_emb, text_emb."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """ema: decay per step; smaller in the first steps."""
    of: tuple[str, ...] = ()
    """ema, peer, queue: outputs of the system that it gives; empty: all rows. A queue names at least one."""
    size: Count = 1024
    """queue: rows held. Until it is full the rest are random unit vectors."""

    @model_validator(mode="after")
    def _complete(self) -> TeacherConfig:
        if (self.kind == "frozen") != bool(self.model):
            raise ValueError('a teacher of kind "frozen", and no other, names its model')
        if self.kind == "queue" and not self.of:
            raise ValueError('a teacher of kind "queue" names in `of` the rows that it holds')
        return self

    @property
    def name(self) -> str:
        """The prefix of its tensors."""
        return self.prefix or ("queue" if self.kind == "queue" else "teacher")


class TargetsConfig(Config):
    """A producer of the matrix `targets` or `weights` (see aural.objectives.targets), with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    """Name that the producer uses -> name of the system's, a teacher's or a batch tensor: {frozen_emb: text_emb}."""


class ObjectiveConfig(Config):
    """A loss by its registered name, with its options and its share of the total."""

    name: str = "info_nce"
    weight: Positive = 1.0
    options: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    """Name that the objective uses -> name of the system's, a teacher's or a batch tensor:
    {audio_emb: text_a, text_emb: text_b} makes a loss of sounds and texts one of two texts."""
    targets: tuple[TargetsConfig, ...] = ()
    """Producers of the objective's `targets` and `weights`, from the rows of the batch."""
    label: str = ""
    """Name in the log; default: the objective's name. Two entries of one objective need different labels."""


class OptimizerConfig(Config):
    name: Literal["adam", "adamw"] = "adamw"
    lr: Positive = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: float = 0.0
    """Not applied to biases, norms, position tables and the temperature."""
    audio_lr: Positive = 1.0
    """Multiplier of the audio encoder's learning rate."""
    text_lr: Positive = 1.0
    lr_scale: dict[str, Positive] = Field(default_factory=dict)
    """Multipliers of the rates of other parts, by the name that the system gives them."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Multiplier of the rate per layer, counted from the output down."""
    clip_grad: float = 0.0
    """Largest norm of the gradient; 0: no limit."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of the average of the weights (smaller in the first steps); 0: no average."""


class ScheduleConfig(Config):
    name: Literal["cosine", "constant", "plateau"] = "cosine"
    warmup: Natural = 0
    """Steps of linear warm-up."""
    floor: float = 0.0
    """Last rate of the cosine, as a share of lr."""
    patience: Count = 10
    """plateau: epochs without a lower mean loss before the rate is divided."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1


class LoopConfig(Config):
    steps: Natural = 0
    epochs: Annotated[float, Field(ge=0)] = 0.0
    """Length of the run; give steps or epochs."""
    batch: Count = 64
    """Clips per step over all processes."""
    micro_batch: Natural = 0
    """Clips that a process holds at once; 0: its whole share."""
    large_batch: Literal["cache", "accumulate"] = "cache"
    """How micro-batches are combined. cache: the loss compares every pair of the whole batch (gradient caching).
    accumulate: each micro-batch has its own loss, and gradients are summed."""
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    """Compile the encoders (torch.compile)."""
    graphs: bool = False
    """With compile, on CUDA: replay the encoders as CUDA graphs, which saves the time to launch kernels."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    evaluate_every: Natural = 0
    """Steps between evaluations; 0: only at the end."""
    save_every: Count = 1000
    keep: Count = 2
    """Checkpoints kept."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of unreadable clips above which the run stops."""

    @model_validator(mode="after")
    def _length(self) -> LoopConfig:
        if bool(self.steps) == bool(self.epochs):
            raise ValueError("give either steps or epochs")
        if self.graphs and self.micro_batch:
            raise ValueError("graphs needs micro_batch 0, because a graph overwrites its outputs when it runs again")
        return self


class TaskConfig(Config):
    """A supervised task."""

    kind: str
    """Name in `aural.train.head_kinds.HEAD_KINDS`: classify, tag, regress, count, caption, or one of a plug-in."""
    column: str = "class_name"
    """Where the answer is stored: a column of the manifest, "meta.KEY" for a key of its meta JSON, or a key of the
    truth record of a scene (`classes`, `event_count`)."""
    classes: tuple[str, ...] = ()
    """classify, tag: the class names; empty: those of the training rows."""
    highest: Count = 10
    """count: the largest number; larger ones count as it."""
    weight: Positive = 1.0
    """Weight of the task's loss."""
    depth: Count = 2
    """caption: layers of the decoder."""
    dim: Count = 256
    max_tokens: Count = 32


class TrackConfig(Config):
    curves: bool = True
    """Draw curves.png when the run ends."""
    tensorboard: bool = False
    wandb: str = ""
    """Name of a Weights & Biases project; empty: none."""


class Recipe(Config):
    """A complete training run."""

    renamed_keys: ClassVar = {"optimiser": "optimizer", "distil": "distill"}

    paper: str
    shows: str
    command: str
    cost: str
    expected: str
    seed: Annotated[int, Field(ge=0)] = 0
    system: dict[str, Any] = Field(default_factory=dict)
    """What is trained: `name` of a system and its options (see aural.train.system); or give `model`."""
    model: ModelConfig | None = None
    """Shorthand for the system "pair" with a sound and a text tower; with `tasks`, for the system "heads"."""
    data: DataConfig
    objectives: tuple[ObjectiveConfig, ...] = ()
    """The loss is the weighted sum of these; or give `objective`."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Shorthand for a list of one."""
    distill: DistillConfig | None = None
    teachers: tuple[TeacherConfig, ...] = ()
    tasks: dict[str, TaskConfig] = Field(default_factory=dict)
    """With `model`: an audio encoder learns these supervised tasks (stage 1); text tower and objective are not used."""
    task_sampling: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Sources of tasks are drawn in proportion to weight * clips ** task_sampling."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loop: LoopConfig
    evaluators: tuple[str, ...] = ()
    """Names of evaluation task cards, and "retrieval": clips and captions of the first source find each other."""
    track: TrackConfig = TrackConfig()

    @model_validator(mode="after")
    def _packed_at_once(self) -> Recipe:
        if self.data.pack_text and self.loop.micro_batch:
            raise ValueError("data.pack_text needs loop.micro_batch 0: rows of tokens hold several captions")
        if self.data.pack_text and any(t.kind == "frozen" and "text" in t.towers for t in self.teachers):
            raise ValueError("data.pack_text must be 0 with a frozen teacher of texts, which reads padded captions")
        return self

    @model_validator(mode="after")
    def _lengths(self) -> Recipe:
        if self.data.batching.name == "lengths":
            if self.loop.graphs:
                raise ValueError('data.batching "lengths" gives batches of many shapes; set loop.graphs to false')
            if self.distill or any(teacher.kind == "frozen" for teacher in self.teachers):
                raise ValueError('a frozen teacher reads complete windows; set data.batching to "windows"')
        return self

    @model_validator(mode="after")
    def _one_system(self) -> Recipe:
        if bool(self.system) == (self.model is not None):
            raise ValueError("give either system or model")
        if self.system and (self.tasks or self.distill):
            raise ValueError("tasks and distill go with model; with system, write them as its options and objectives")
        return self
