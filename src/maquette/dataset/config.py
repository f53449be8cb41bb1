"""What a dataset is made of: where pictures lie, how often they are shown, how their captions are composed.

Records only; nothing here touches a disk. Sizes are pixels as (width, height); `px` lengths are one side.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from maquette.errors import ConfigError, Problem
from maquette.events import Message

PICTURE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
OTHER_PICTURE_EXTENSIONS = frozenset(
    {
        *(
            ".gif",
            ".apng",
            ".tif",
            ".tiff",
            ".heic",
            ".heif",
            ".hif",
            ".avif",
            ".avifs",
            ".jxl",
            ".jfif",
            ".jpe",
            ".jp2",
        ),
        *(".ico", ".tga", ".svg", ".psd", ".xcf", ".kra", ".exr", ".ppm", ".qoi", ".dds", ".eps", ".pdf"),
        *(".raw", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".dng"),
        *(".mp4", ".m4v", ".webm", ".mov", ".mkv", ".avi"),
    }
)
"""Of pictures and films that no trainer reads."""
CAPTION_EXTENSIONS = frozenset({".txt", ".caption", ".cap", ".tags"})
FOLDER_CAPTION_EXTENSION = ".txt"
TOML_CAPTION_EXTENSION = ".caption"  # sd-scripts' default, which ignores the .txt files most people have

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SubsetOptions:
    """How one folder's pictures are shown and captioned; the caller's values stand behind a TOML's."""

    num_repeats: int = 1
    """How often an epoch shows each picture. A folder named N_name carries its own."""
    caption_extension: str | None = None
    """Ending of caption files. None: `.txt` for folders, `.caption` for a kohya TOML, as in sd-scripts."""
    shuffle_caption: bool = False
    """Shuffle a caption's parts every time the picture is shown."""
    keep_tokens: int = 0
    """Leading caption parts that shuffling and dropping leave in place."""
    keep_tokens_separator: str = ""
    """Text that ends the kept part (a second one begins a kept ending); overrules keep_tokens."""
    caption_separator: str = ","
    """What separates a caption's parts."""
    secondary_separator: str = ""
    """Replaced by caption_separator after shuffling: parts that must stay together."""
    enable_wildcard: bool = False
    """Choose one line of the caption and one word of each {a|b}."""
    caption_prefix: str = ""
    """Put before every caption, with a space."""
    caption_suffix: str = ""
    """Put after every caption, with a space."""
    caption_dropout_rate: float = 0.0
    """Share of showings with an empty caption."""
    caption_dropout_every_n_epochs: int = 0
    """Every n-th epoch has empty captions; 0 never."""
    caption_tag_dropout_rate: float = 0.0
    """Share of a caption's movable parts that are left out."""
    token_warmup_min: int = 1
    """How many movable parts are shown at the first step where token_warmup_step is set."""
    token_warmup_step: float = 0
    """From which step on all movable parts are shown (below 1: that share of all steps); 0: from the first."""
    flip_aug: bool = False
    """Mirror half of the showings. Wrong for a subject with a left and a right."""
    color_aug: bool = False
    """Shift hue or gamma a little in a third of the showings."""
    random_crop: bool = False
    """Crop anywhere, not around the centre; without buckets, a piece of the picture at its own scale."""
    face_crop_aug_range: tuple[float, float] | None = None
    """Least and most share of the shorter side that a face fills is 1 over these. Only without buckets, and for
    pictures named name_x_y_w_h by the face's centre and size in pixels."""
    background: str | None = None
    """Colour that transparent parts are laid on; None: whatever is stored behind them, as in sd-scripts."""
    resize_interpolation: str | None = None
    """lanczos, nearest, bilinear, bicubic, area or box. None: area when shrinking, Lanczos when enlarging."""
    alpha_mask: bool = False
    """A picture's transparency says how much each place counts in the loss."""
    mask_folder: Path | None = None
    """Folder of grey pictures named like these, saying the same; sd-scripts' conditioning_data_dir. None: there is none."""
    masks_beside: bool = False
    """Such pictures lie beside these, named after them (`dataset/mask_files.py`)."""

    @property
    def moves_parts(self) -> bool:
        """Whether a caption's parts are moved, left out or held back, all but those that are kept in place."""
        return self.shuffle_caption or self.caption_tag_dropout_rate > 0 or self.token_warmup_step > 0


@dataclass(frozen=True, kw_only=True)
class SubsetSource:
    """One folder of pictures, not searched below, with everything that holds for all of them."""

    path: Path
    num_repeats: int = 1
    is_regularization: bool = False
    class_tokens: str | None = None
    """Caption of pictures without one: TOML `class_tokens`, or a folder's name where asked for."""
    caption_extension: str = FOLDER_CAPTION_EXTENSION
    options: SubsetOptions = field(default_factory=SubsetOptions)
    dataset: int = 0
    """Which [[datasets]] table it belongs to; 0 for plain folders."""
    metadata_file: Path | None = None
    """List of its pictures with their captions; then neither the folder's files nor caption files count."""

    @property
    def name(self) -> str:
        """The folder's own name, as metadata and messages show it."""
        return self.path.name

    @property
    def reading(self) -> tuple[object, ...]:
        """How captions are read: subsets of one folder that agree in it have the same."""
        listed = self.metadata_file and (self.metadata_file, self.options.caption_separator)
        return self.path, self.caption_extension, self.options.enable_wildcard, listed


@dataclass(frozen=True, kw_only=True)
class BucketSettings:
    """Which sizes pictures are trained at: `resolution_wh` fixes the area, buckets share it."""

    resolution_wh: tuple[int, int] = (512, 512)
    enabled: bool = True
    """Off: every picture is cropped to resolution_wh."""
    min_bucket_px: int = 256
    max_bucket_px: int = 1024
    step_px: int = 64
    no_upscale: bool = False
    """Never enlarge: a picture's own size, cut to steps, is its bucket; min and max do not apply."""


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """One [[datasets]] table, or all plain folders. None leaves the value to the caller's settings."""

    resolution_wh: tuple[int, int] | None = None
    batch_size: int | None = None
    enable_bucket: bool | None = None
    min_bucket_px: int | None = None
    max_bucket_px: int | None = None
    step_px: int | None = None
    no_upscale: bool | None = None
    validation_split: float | None = None
    """Share of each folder's pictures that is held out of training to measure with."""


@dataclass(frozen=True)
class IdleKey:
    """A key of a dataset TOML that does nothing."""

    name: str
    table: str
    """As it is written: `[general]`, `[[datasets]] 1`."""
    why: str


@dataclass(frozen=True)
class TwoPlaces:
    """A relative image_dir that names a folder of the working folder and another one beside the dataset TOML."""

    given: str
    taken: Path
    other: Path


@dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """Where every picture is to be found, before any file is opened."""

    datasets: tuple[DatasetSource, ...] = ()
    subsets: tuple[SubsetSource, ...] = ()
    problems: tuple[Problem, ...] = ()
    """What keeps it from being understood: what is said of its pictures then does not count."""
    idle_keys: tuple[IdleKey, ...] = ()
    two_places: tuple[TwoPlaces, ...] = ()


def bucket_settings(
    resolution_wh: tuple[int, int],
    *,
    source: DatasetSource | None = None,
    enabled: bool = True,
    min_bucket_px: int | None = None,
    max_bucket_px: int | None = None,
    step_px: int = 64,
    no_upscale: bool = False,
    grid_px: int = 8,
) -> tuple[BucketSettings, tuple[Message, ...]]:
    """Return complete bucket settings, the values of `source` (a [[datasets]] table) before the caller's.

    Defaults: shortest side 256 or half the resolution if smaller, longest 1024 or twice the resolution if
    larger. As in sd-scripts a shortest side is rounded down to steps and a longest side up, each said in a
    message. `grid_px` is what the model needs sides to be a multiple of. Raises ConfigError with every
    problem.
    """
    source = source or DatasetSource()
    step_px = _given(source.step_px, step_px)
    resolution_wh = source.resolution_wh or resolution_wh
    shortest, longest = source.min_bucket_px or min_bucket_px, source.max_bucket_px or max_bucket_px
    settings = BucketSettings(
        resolution_wh=resolution_wh,
        enabled=_given(source.enable_bucket, enabled),
        min_bucket_px=shortest or min(256, max(step_px, min(resolution_wh) // 2)),
        max_bucket_px=longest or max(1024, 2 * max(resolution_wh)),
        step_px=step_px,
        no_upscale=_given(source.no_upscale, no_upscale),
    )
    problems = _bucket_problems(settings, grid_px)
    if problems:
        raise ConfigError(problems)
    return _rounded_to_steps(settings, bounds_given=bool(shortest or longest))


def _given(*values: T | None) -> T:
    return next(value for value in values if value is not None)


def _bucket_problems(settings: BucketSettings, grid_px: int) -> list[Problem]:
    """Return what makes the settings impossible, each with its way out."""
    width, height = settings.resolution_wh
    size = f"resolution {width}x{height}"
    problems = []
    if not settings.enabled:
        if width % grid_px or height % grid_px:
            nearby = ",".join(str(max(grid_px, round(side / grid_px) * grid_px)) for side in (width, height))
            problems.append(
                Problem(
                    size,
                    "used without buckets",
                    f"sides that are multiples of {grid_px}",
                    f"Use {nearby}, or turn buckets on.",
                )
            )
        return problems
    if settings.step_px < 1 or settings.step_px % grid_px:
        problems.append(
            Problem(
                f"bucket step {settings.step_px}",
                "not usable by this model",
                f"a multiple of {grid_px}",
                "Use 64.",
            )
        )
    if settings.no_upscale:
        return problems
    if min(width, height) < settings.min_bucket_px:
        problems.append(
            Problem(
                f"shortest bucket side {settings.min_bucket_px}",
                f"longer than {size}",
                f"at most {min(width, height)}",
                "Make it smaller or raise the resolution.",
            )
        )
    if max(width, height) > settings.max_bucket_px:
        problems.append(
            Problem(
                f"longest bucket side {settings.max_bucket_px}",
                f"shorter than {size}",
                f"at least {max(width, height)}",
                "Make it larger or lower the resolution.",
            )
        )
    if not problems and settings.min_bucket_px < settings.step_px:
        problems.append(
            Problem(
                f"shortest bucket side {settings.min_bucket_px}",
                f"shorter than one bucket step of {settings.step_px}",
                f"at least {settings.step_px}",
                "Raise it, or make the bucket step smaller.",
            )
        )
    return problems


def _rounded_to_steps(
    settings: BucketSettings, bounds_given: bool
) -> tuple[BucketSettings, tuple[Message, ...]]:
    if not settings.enabled or settings.no_upscale:
        off = "buckets are off" if not settings.enabled else "bucket_no_upscale takes each picture's own size"
        said = f"The shortest and longest bucket side have no effect, since {off}."
        return settings, (Message(said, "warning"),) if bounds_given else ()
    step = settings.step_px
    shortest = settings.min_bucket_px // step * step
    longest = -(-settings.max_bucket_px // step) * step
    pairs = [("shortest", settings.min_bucket_px, shortest), ("longest", settings.max_bucket_px, longest)]
    messages = tuple(
        Message(
            f"The {which} bucket side {given} became {used}, a multiple of the bucket step {step}.", "warning"
        )
        for which, given, used in pairs
        if given != used and bounds_given
    )
    return replace(settings, min_bucket_px=shortest, max_bucket_px=longest), messages
