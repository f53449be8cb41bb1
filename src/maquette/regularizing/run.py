"""Regularization pictures: what the base model draws for the class, without the subject. They keep the class as it is.

    OUT/1_class_word/class_word_0001.png (.txt)   the kohya folder form: every trainer takes OUT as it is
    OUT/regularization.json                       which prompt, seed, base and settings made each picture
    OUT-sheet.png                                 all of them at a glance

A picture that lies there with its entry is not drawn again, so an interrupted run goes on, and asking for more adds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.errors import ConfigError, DatasetError, ModelError, OutputError, Problem
from maquette.events import Artifact, Finished, Message, Progress, Stage, Started, as_part
from maquette.files import replacing, require_writable_folder, sha256_file, write_atomic, write_json
from maquette.project.fields import flag_of
from maquette.project.profile import Profile
from maquette.project.reading import FileKind, read_table
from maquette.project.validation import checked
from maquette.regularizing.options import DrawingOptions, RegularizeOptions
from maquette.regularizing.prompts import TEMPLATES, prompts_for

if TYPE_CHECKING:
    from PIL import Image

    from maquette.families.protocol import FamilySpec

MANIFEST_NAME = "regularization.json"
MANIFEST_VERSION = 1
FILE = FileKind(
    f"a list of version {MANIFEST_VERSION}",
    "Choose another --out.",
    OutputError,
    damaged="Choose another --out.",
)
DEFAULT_COUNT = 100


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How every picture is drawn. Two sets that differ in one of these do not share a folder."""

    size_px: int
    steps: int
    guidance: float
    sampler: str
    negative: str
    clip_skip: int | None


@dataclass(frozen=True, kw_only=True)
class Regularized:
    """A folder of regularization pictures."""

    folder: Path
    """What a trainer is given: --reg_data_dir, or `regularization` in maquette.toml."""
    pictures_folder: Path
    class_word: str
    pictures: int
    drawn: int
    """Of them, how many this call made or copied."""
    manifest: Path
    sheet: Path
    seconds: float
    needed: int | None = None
    """Training items (pictures × repeats) that they balance, where a dataset was named."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Pictures of a given folder that were not taken, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        paths = ("folder", "pictures_folder", "manifest", "sheet")
        return {**asdict(self), **{name: str(getattr(self, name)) for name in paths}}


def regularize_events(base: str | Path | None, options: RegularizeOptions) -> Stage[Regularized]:
    """Make a folder of class pictures: drawn with `base`, or copied from the folder that the options name.

    Raises MaquetteError before anything is drawn: an unusable base, a trigger among the prompts, a folder that holds
    another set.
    """
    if options.source is not None:
        _refuse_idle(options)
        return (yield from _copied(options.source, options))
    if base is None:
        remedy = "Name the model that you train on, or a folder with --from DIR."
        raise ConfigError(Problem("BASE", "not given", "a base model", remedy))
    return (yield from _drawn(base, options))


def _refuse_idle(options: RegularizeOptions) -> None:
    """Refuse options that pictures of a folder do not heed."""
    idle = [name for name in options.given() if name in DrawingOptions.model_fields]
    if idle:
        raise ConfigError(
            Problem(
                flag_of(name, DrawingOptions.model_fields[name]),
                "given together with --from",
                "pictures that are drawn",
                "Leave it out.",
            )
            for name in idle
        )


def _subject(options: RegularizeOptions) -> tuple[Profile | None, str, int | None]:
    """Return the profile, the class word, and how many training items the pictures balance where a dataset is named."""
    from maquette.project.profile_file import read_profile

    profile = read_profile(options.profile) if options.profile is not None else None
    word = _class_word(options.class_word, profile)
    return profile, word, train_items(options.dataset) if options.dataset is not None else None


def _drawn(base: str | Path, options: RegularizeOptions) -> Stage[Regularized]:
    from maquette import families

    began = time.perf_counter()
    profile, word, needed = _subject(options)
    wanted = options.count or needed or DEFAULT_COUNT
    info = families.inspect(base)
    sampling = _sampling(options, info.resolution, families.FAMILIES[info.family].spec)
    templates = options.prompts or TEMPLATES[profile.kind if profile else "character"]
    texts = prompts_for(templates, word, wanted, options.seed)
    _refuse_triggers(texts, word, profile)
    store = _Store(options.out, word)
    store.claim({"base": _base_of(info.path), "sampling": asdict(sampling), "class_word": word})
    plan = [(store.name(index), text, options.seed + index - 1) for index, text in enumerate(texts, start=1)]
    missing = [entry for entry in plan if not store.holds(*entry)]
    yield Message(_told(wanted, needed, len(plan) - len(missing), texts))
    if missing:
        yield from _draw(base, sampling, missing, store, options)
    sheet = write_sheet([store.pictures / name for name, _, _ in plan], store.sheet)
    yield Artifact("contact sheet", sheet)
    return store.result(wanted, len(missing), time.perf_counter() - began, needed)


def _sampling(options: RegularizeOptions, native_px: int, spec: FamilySpec) -> Sampling:
    """Return how every picture is drawn; what was not said is the family's."""
    return Sampling(
        size_px=options.size_px or native_px,
        steps=options.steps,
        guidance=spec.default_guidance if options.guidance is None else options.guidance,
        sampler=options.sampler or spec.default_sampler,
        negative=options.negative,
        clip_skip=options.clip_skip or spec.default("clip_skip"),
    )


def train_items(dataset: Path) -> int:
    """Return how many training items an epoch of `dataset` has: pictures × repeats. Opens no picture.

    `dataset` is a project, a kohya folder, a flat folder or a kohya dataset TOML. Raises MaquetteError.
    """
    from maquette.dataset.config import SubsetOptions
    from maquette.dataset.facts import DatasetInput
    from maquette.dataset.reading import read_dataset
    from maquette.project.config_file import CONFIG_NAME, load_settings

    dataset = Path(dataset)
    options = SubsetOptions()
    if (dataset / CONFIG_NAME).is_file() or dataset.name == CONFIG_NAME:
        wanted = load_settings(dataset).dataset
        dataset, options = wanted.images, SubsetOptions(num_repeats=wanted.repeats)
    facts = read_dataset(DatasetInput(images=dataset, options=options), "listing", captions=False)
    if facts.problems:
        raise DatasetError(facts.problems)
    own = [folder for folder in facts.used_folders if folder.subset and not folder.is_regularization]
    counted = {f.path: f.num_pictures * f.subset.num_repeats for f in reversed(own) if f.subset}
    if not counted:
        raise ConfigError(
            Problem(
                str(dataset),
                "holds no training pictures",
                "pictures, or folders N_name",
                "Name the dataset itself.",
            )
        )
    return sum(counted.values())


def _class_word(given: str, profile: Profile | None) -> str:
    word = given.strip() or (profile.class_word.strip() if profile else "")
    if not word:
        raise ConfigError(
            Problem(
                "class word",
                "none given",
                "the ordinary word for the subject",
                "Give --class-word 'anime character', or class_word in the profile.",
            )
        )
    return word


def _refuse_triggers(texts: Sequence[str], word: str, profile: Profile | None) -> None:
    """A trigger among the prompts would teach it to mean the class: the opposite of what these pictures are for."""
    for trigger in profile.triggers if profile else ():
        if trigger and any(trigger.lower() in text.lower() for text in (word, *texts)):
            raise ConfigError(
                Problem(
                    "prompts",
                    f"they hold the trigger '{trigger}'",
                    "the class alone",
                    "Leave the trigger out: these pictures are of everyone else.",
                )
            )


def _base_of(path: str) -> dict[str, str]:
    file = Path(path)
    return {"path": path, "sha256": sha256_file(file) if file.is_file() else ""}


def _told(wanted: int, needed: int | None, kept: int, texts: Sequence[str]) -> str:
    parts = [
        f"{wanted} pictures of the class; {kept} are there already"
        if kept
        else f"{wanted} pictures of the class"
    ]
    if needed is not None:
        shown = "each is shown once an epoch" if wanted == needed else f"of which an epoch shows {needed}"
        if wanted < needed:
            shown = f"each is shown {needed / wanted:.1f} times an epoch"
        parts.append(f"{needed} training items, so {shown}, and an epoch has {2 * needed}")
    return f"{'; '.join(parts)}. The first prompt: {texts[0]}"


# --- drawing ---------------------------------------------------------------------------------------------


def _draw(
    base: str | Path,
    sampling: Sampling,
    missing: Sequence[tuple[str, str, int]],
    store: _Store,
    options: DrawingOptions,
) -> Stage[None]:
    """Draw what is missing, a batch at a time; each batch is on disk before the next begins."""
    from maquette import families
    from maquette.devices import chosen
    from maquette.drawing.draw import DrawRequest, drawing
    from maquette.drawing.packing import batch_for

    place = chosen(options.device, options.precision)
    yield Started("load")
    model = families.load(base, dtype=place.weight_dtype, device=str(place.device))
    yield Finished("load")
    size = options.batch or batch_for(sampling.size_px, sampling.size_px)
    yield Started("draw", len(missing), "picture")
    for start in range(0, len(missing), size):
        part = missing[start : start + size]
        requests = [
            DrawRequest(
                prompt=text,
                negative=sampling.negative,
                seed=seed,
                width_px=sampling.size_px,
                height_px=sampling.size_px,
                steps=sampling.steps,
                guidance=sampling.guidance,
                sampler=sampling.sampler,
            )
            for _, text, seed in part
        ]
        drawn = drawing(model, requests, options={"clip_skip": sampling.clip_skip}, batch=size)
        store.save(part, (yield from as_part(drawn, "draw", start, len(missing))))
    yield Finished("draw")


@dataclass(frozen=True)
class _Made:
    """What the manifest says of a picture: drawn from a prompt and a seed, or taken from a source."""

    sha256: str
    prompt: str = ""
    seed: int | None = None
    source: str = ""


@dataclass(frozen=True)
class _Pictures:
    pictures: Mapping[str, _Made]


class _Store:
    """The folder of one set and its manifest."""

    def __init__(self, folder: Path, class_word: str) -> None:
        self.folder = folder
        self.class_word = class_word
        self.slug = re.sub(r"\W+", "_", class_word.lower()).strip("_") or "class"
        self.pictures = folder / f"1_{self.slug}"
        self.manifest = folder / MANIFEST_NAME
        self.sheet = folder.with_name(f"{folder.name}-sheet.png")
        self.table: dict[str, Any] = {"pictures": {}}

    def name(self, index: int) -> str:
        """Return the file name of the picture at `index`, from 1."""
        return f"{self.slug}_{index:04d}.png"

    def claim(self, made_by: Mapping[str, Any]) -> None:
        """Take the folder for a set made in this way; OutputError when it holds another set or foreign files."""
        require_writable_folder(self.pictures)
        if self.manifest.is_file():
            self.table = self._read()
            differing = [name for name, value in made_by.items() if self.table.get(name) != value]
            if differing:
                raise OutputError(
                    Problem(
                        str(self.folder),
                        f"holds pictures made with another {' and '.join(differing)}",
                        "one base and one way of drawing in a folder",
                        "Choose another --out, or give the settings of that set.",
                    )
                )
        self.table = {
            "version": MANIFEST_VERSION,
            "maquette": _version(),
            **made_by,
            "pictures": self.table["pictures"],
        }
        ours = self.pictures.glob(f"{self.slug}_????.*")
        foreign = [path.name for path in ours if path.suffix != ".txt" and path.name not in self._known]
        if foreign:
            raise OutputError(
                Problem(
                    str(self.pictures),
                    f"holds {foreign[0]} and {len(foreign) - 1} more that are not in {MANIFEST_NAME}",
                    "a new folder, or one that this command made",
                    "Choose another --out; nothing is overwritten.",
                )
            )

    @property
    def _known(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.table["pictures"]
        return found

    def _read(self) -> dict[str, Any]:
        table = read_table(self.manifest, FILE)
        if table.get("version") != MANIFEST_VERSION:
            given = f"version {table.get('version')!r}"
            raise OutputError(Problem(str(self.manifest), given, FILE.required, FILE.remedy))
        checked(_Pictures, {"pictures": table.get("pictures")}, str(self.manifest), FILE)
        return table

    def holds(self, name: str, prompt: str, seed: int) -> bool:
        """Tell whether the picture was drawn already, from this very prompt and seed, and lies there unchanged."""
        entry = self._known.get(name)
        path = self.pictures / name
        if entry is None or (entry.get("prompt"), entry.get("seed")) != (prompt, seed):
            return False
        return (
            path.is_file() and path.with_suffix(".txt").is_file() and sha256_file(path) == entry.get("sha256")
        )

    def save(self, part: Sequence[tuple[str, str, int]], drawn: Sequence[Image.Image]) -> None:
        """Write pictures with their captions, then the manifest. ModelError when they are of one colour."""
        if all(low == high for picture in drawn for low, high in picture.getextrema()):  # type: ignore[misc]
            raise ModelError(
                Problem(
                    "base model",
                    "draws pictures of a single colour",
                    "pictures",
                    "Its VAE overflows in half precision: draw with --precision no.",
                )
            )
        for (name, prompt, seed), picture in zip(part, drawn, strict=True):
            path = self.pictures / name
            with replacing(path) as temporary:
                picture.save(temporary, format="PNG")
            write_atomic(path.with_suffix(".txt"), prompt + "\n")
            self._known[name] = {"prompt": prompt, "seed": seed, "sha256": sha256_file(path)}
        self.write()

    def write(self) -> None:
        """Write the manifest."""
        write_json(self.manifest, self.table)

    def result(
        self,
        pictures: int,
        drawn: int,
        seconds: float,
        needed: int | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> Regularized:
        """Return the record of this set."""
        return Regularized(
            folder=self.folder,
            pictures_folder=self.pictures,
            class_word=self.class_word,
            pictures=pictures,
            drawn=drawn,
            manifest=self.manifest,
            sheet=self.sheet,
            seconds=seconds,
            needed=needed,
            left_out=left_out or {},
        )


def _version() -> str:
    from maquette import __version__

    return __version__


# --- a folder that is there already ----------------------------------------------------------------------


def _copied(source: Path, options: RegularizeOptions) -> Stage[Regularized]:
    """Copy a folder of class pictures into the form that trainers take.

    Pictures that cannot be read, or whose shorter side is below `size_px`, are left out and listed. Captions are copied
    where they lie beside the pictures, else the class word is written. Nothing in `source` changes.
    """
    began = time.perf_counter()
    _, word, needed = _subject(options)
    found = _pictures_in(source, options.out)
    store = _Store(options.out, word)
    store.claim({"source": str(source.absolute()), "class_word": word})
    wanted = options.count or needed or len(found)
    yield Started("copy", min(wanted, len(found)), "picture")
    left_out: dict[str, str] = {}
    taken: list[Path] = []
    copied = 0
    for path in found:
        if len(taken) == wanted:
            break
        reason = _unfit(path, options.size_px)
        if reason:
            left_out[str(path)] = reason
            continue
        copied += _copy(path, store, len(taken) + 1, word)
        taken.append(path)
        yield Progress("copy", len(taken), min(wanted, len(found)), "picture")
    store.write()
    yield Finished("copy")
    if left_out:
        first = next(iter(left_out.items()))
        yield Message(
            f"{len(left_out)} pictures were left out (the first: {first[0]}: {first[1]}).", "warning"
        )
    if len(taken) < wanted:
        yield Message(f"{source} gave {len(taken)} pictures, {wanted} were wanted.", "warning")
    if not taken:
        raise ConfigError(
            Problem(str(source), "none of its pictures can be used", "sound pictures", "See above.")
        )
    yield Artifact("contact sheet", write_sheet(_stored(store, len(taken)), store.sheet))
    return store.result(len(taken), copied, time.perf_counter() - began, needed, left_out)


def _pictures_in(source: Path, out: Path) -> list[Path]:
    """Return the pictures below `source`, those of `out` left out. Raises ConfigError when there are none."""
    from maquette.dataset.config import PICTURE_EXTENSIONS

    own = out.absolute()
    found = sorted(
        path
        for path in source.absolute().rglob("*")
        if path.suffix.lower() in PICTURE_EXTENSIONS and path.is_file() and not path.is_relative_to(own)
    )
    if not found:
        raise ConfigError(
            Problem(str(source), "holds no pictures", "a folder of class pictures", "Check the path.")
        )
    return found


def _unfit(path: Path, size_px: int | None) -> str:
    """Return why a picture cannot be used, or nothing."""
    from maquette.dataset.pictures import check_picture

    look = check_picture(path)
    if isinstance(look, Problem):
        return look.given
    size = look.size_wh
    if size_px is not None and min(size) < size_px:
        return f"{size[0]}×{size[1]}, below {size_px} px"
    return ""


def _copy(source: Path, store: _Store, index: int, word: str) -> bool:
    """Copy one picture and its caption; tell whether it was not there yet."""
    name = f"{store.slug}_{index:04d}{source.suffix.lower()}"
    target, digest = store.pictures / name, sha256_file(source)
    caption = source.with_suffix(".txt")
    text = caption.read_text(encoding="utf-8", errors="replace").strip() if caption.is_file() else ""
    entry = {"source": str(source), "sha256": digest}
    if store.table["pictures"].get(name) == entry and target.is_file():
        return False
    write_atomic(target, source.read_bytes())
    write_atomic(target.with_suffix(".txt"), f"{text or word}\n")
    store.table["pictures"][name] = entry
    return True


def _stored(store: _Store, count: int) -> list[Path]:
    names = sorted(store.table["pictures"])[:count]
    return [store.pictures / name for name in names]


# --- the contact sheet -----------------------------------------------------------------------------------

SHEET_CELL_PX, SHEET_COLUMNS, SHEET_MOST, SHEET_GAP_PX = 128, 12, 240, 6


def write_sheet(pictures: Sequence[Path], path: Path) -> Path:
    """Write the pictures (at most 240, spread over all) as one PNG and return `path`."""
    from PIL import Image

    from maquette.dataset.opening import picture_rgb
    from maquette.drawing import paper

    step = max(1, -(-len(pictures) // SHEET_MOST))
    shown = list(pictures)[::step]
    columns = min(SHEET_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    pitch = SHEET_CELL_PX + SHEET_GAP_PX
    sheet = Image.new("RGB", (columns * pitch + SHEET_GAP_PX, rows * pitch + SHEET_GAP_PX), paper.PAPER)
    for index, file in enumerate(shown):
        cell = picture_rgb(file)
        cell = paper.in_cell(cell, paper.cell_size(cell.size, SHEET_CELL_PX // 2 + 1, SHEET_CELL_PX))
        row, column = divmod(index, columns)
        sheet.paste(cell, (SHEET_GAP_PX + column * pitch, SHEET_GAP_PX + row * pitch))
    return paper.save_sheet(sheet, path)
