"""Rules about folders: pictures that are taken twice, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maquette.dataset.below import advice, places
from maquette.dataset.facts import DatasetFacts, FolderFact
from maquette.dataset.folders import is_set_aside, meant_prefix, names_of
from maquette.dataset.repeats import MAX_ITEMS
from maquette.dataset.targets import step_target
from maquette.dataset.unread import Unread, unread_in
from maquette.findings.records import Finding, Fix, SetAside, Severity
from maquette.findings.registry import Report, rule
from maquette.project.profile import Profile
from maquette.rules.picture_repairs import SavedAgain, as_it_is, as_png
from maquette.spoken import counted

FEWEST_COPIES = 3
SURPRISING_REPEATS = 500


@rule("STP005", "pictures-in-two-folders", "error", since="0.2")
def pictures_in_two_folders(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Two folders of the dataset hold the same pictures, so that they are trained twice.

    Why: Every N_name folder beside the right one is trained as well. A renamed copy (10_bespoke_punk and
    10_bespoke_baby) made 406 pictures of 203: twice the steps, every picture learned twice, and with two names in the
    captions a subject with two triggers. Training pictures in the regularization folder teach that the subject is an
    ordinary member of its class, and undo what is learned.
    Found by: Files with the same SHA-256 in two folders in use: at least 3, and at least half of the smaller folder.
    Do: Move one of the folders out of the dataset.
    Fault: `10_fox/` and `10_fox_copy/` with the same files
    Instead: `10_fox/` alone
    Source: field notes of a pixel-art style LoRA (406 latents instead of 203).
    """
    for one, other, count in copied_folders(facts):
        if other.is_regularization and not one.is_regularization:
            message = (
                f"{count} pictures of the regularization folder {other.path.name} are training pictures as well (in "
                f"{one.path.name}): the subject is trained as its own class."
            )
            yield report(
                other.path, "", message, "Take the subject's pictures out of the regularization folder."
            )
            continue
        total = len(facts.files)
        message = (
            f"{count} of its {other.num_pictures} pictures lie in {one.path.name} too, byte for byte: {total} pictures are "
            f"trained instead of {total - count}, and every epoch is longer by "
            f"{count * (other.subset.num_repeats if other.subset else 1):,} items."
        )
        yield report(
            other.path, "", message, f"Move {other.path.name} out of the dataset, or {one.path.name}."
        )


@rule("STP006", "no-data-found", "error", since="0.2")
def no_data_found(facts: DatasetFacts, report: Report, profile: Profile | None = None) -> Iterator[Finding]:
    """The folder given to sd-scripts holds no folder named like 10_name, so that it finds no pictures.

    Why: --train_data_dir must be the parent of the folders with pictures, and each of those must be named
    REPEATS_NAME. Pictures directly in it, or in folders with plain names, are not seen: the trainer logs "No data found"
    and ends, after minutes of loading on a rented machine.
    Found by: No child folder with a number, an underscore and at least one repeat, for runs of sd-scripts and folders
    checked with --trainer sd-scripts. Maquette itself takes a flat folder, and one that is itself named 10_name.
    Do: Move the pictures with their captions into a folder 10_name inside, or give the parent of the one you have.
    Fault: `--train_data_dir=train/10_fox`
    Instead: `--train_data_dir=train`
    Source: field notes of a pixel-art style LoRA ("No data found"); kohya_ss#3372; sd-scripts 48d368fa.
    """
    if facts.trainer != "sd-scripts" or facts.is_toml or not facts.root.is_dir():
        return
    if any(folder.subset is not None and not folder.is_regularization for folder in facts.folders):
        return
    if any(folder.num_pictures and meant_prefix(folder.path.name) for folder in facts.folders):
        return  # repeats-without-underscore says it
    unseen = [folder for folder in facts.folders if folder.num_pictures and not folder.is_regularization]
    count = sum(folder.num_pictures for folder in unseen)
    if not unseen:
        message = "sd-scripts finds no pictures here: no folder inside is named like 10_name, and there are "
        message += f"none but in {places(facts.below)}." if facts.below else "none at all."
        remedy = (
            advice(facts.below) if facts.below else "Add pictures in a folder 10_name, or correct the path."
        )
        yield report(facts.root, "", message, remedy)
        return
    first = unseen[0]
    place = "directly in it" if first.path == facts.root else f"in {first.path.name}"
    message = (
        f"sd-scripts takes pictures only from folders named like 10_name inside the one it is given, and there is none: "
        f'its {count} {_plural(count, "picture")} ({place}) are not seen, and it ends with "No data found".'
    )
    yield report(facts.root, "", message, _where_to(first, facts.root, count, profile))


@rule("CHK003", "repeats-without-underscore", "warning", since="0.2")
def repeats_without_underscore(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A folder's name begins with a number and no underscore follows, so that it asks for no repeats.

    Why: `10_fox` means ten showings an epoch. `10 fox` is a name like any other: sd-scripts leaves the folder out without a
    word, and Maquette shows each picture once.
    Found by: Folders with pictures whose name is a number of up to three digits, a space, dot or hyphen, and a word; not in a
    dataset TOML, which says repeats itself. An error where the trainer finds nothing else.
    Do: Rename the folder.
    Fault: a folder `10 fox`
    Instead: `10_fox`
    Source: sd-scripts 48d368fa, config_util.py (the number before the first _ is num_repeats).
    """
    if facts.is_toml:
        return
    for folder in facts.folders:
        meant = meant_prefix(folder.path.name)
        if meant is None or not folder.num_pictures:
            continue
        count = counted(folder.num_pictures, "picture")
        effect = (
            f"its {count} are not used" if folder.subset is None else f"its {count} are shown once an epoch"
        )
        message = f"No underscore follows the number in its name, so it asks for no repeats: {effect}."
        severity: Severity = "error" if not facts.files else "warning"
        yield report(folder.path, "", message, f"Rename it to {meant}.", severity=severity)


@rule("STP007", "pictures-not-searched", "warning", since="0.2")
def pictures_not_searched(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Pictures lie where the trainer does not look.

    Why: Folders are not searched below, neither by sd-scripts nor by Maquette: an image_dir that is the parent of the
    pictures gives 0 pictures. Loose pictures beside folders named 10_name, and folders beside them without a number,
    are left out without a word.
    Found by: Folders with pictures below, above or beside those in use. An error where a folder in use is empty and the
    pictures lie below it; a warning else; a hint where the name says that they are set aside (rejected, backup,
    original, a leading _).
    Do: Move the pictures into a folder in use, or name their folder: another [[datasets.subsets]], or N_name.
    Fault: `image_dir = "train"` with the pictures in train/fox
    Instead: `image_dir = "train/fox"`
    Source: sd-scripts 48d368fa, measured (a parent folder as image_dir gives 0 pictures).
    """
    used = [folder for folder in facts.folders if folder.subset is not None]
    if not used:
        return
    unseen = [
        f
        for f in facts.folders
        if f.num_pictures
        and f.why_unused in ("below", "beside", "no prefix")
        and (facts.is_toml or meant_prefix(f.path.name) is None)  # repeats-without-underscore says it
    ]
    starved = {folder.path for folder in used if not folder.num_pictures}
    below_starved = [folder for folder in unseen if folder.path.parent in starved]
    if below_starved and not facts.below:  # else folder-without-pictures names what lies below
        parent = below_starved[0].path.parent
        count = sum(folder.num_pictures for folder in below_starved)
        message = (
            f"0 pictures are taken from it: its {count} {_plural(count, 'picture')} lie below, in {_names(below_starved)}, "
            "and folders are not searched."
        )
        yield report(
            parent, "", message, f"Give the folder itself: {below_starved[0].path}", severity="error"
        )
    for is_aside in (False, True):
        rest = [f for f in unseen if f not in below_starved and _is_set_aside(f, facts.root) == is_aside]
        if rest:
            count = sum(folder.num_pictures for folder in rest)
            message = (
                f"{count} {_plural(count, 'picture')} in {_names(rest)} {'is' if count == 1 else 'are'} not used: "
                f"{_why(rest[0])}."
            )
            severity: Severity = "hint" if is_aside else "warning"
            remedy = (
                "Move them into a folder in use, or out of the dataset if they are not meant to be trained."
            )
            yield report(rest[0].path, "", message, remedy, severity=severity)


@rule("STP008", "folder-listed-twice", "warning", since="0.2")
def folder_listed_twice(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A dataset TOML lists one folder twice; the second mention is dropped with all its settings.

    Why: Within one [[datasets]], the first subset of a folder wins. Its repeats count, and those of the second, its
    captions and its is_reg mean nothing. (In two [[datasets]] of different resolutions the same folder is used twice,
    as meant.)
    Found by: Two subsets of one [[datasets]] whose image_dir is the same folder, links followed; the training folder given
    for regularization as well.
    Do: Remove one of them, or add up num_repeats in the first.
    Fault: two subsets with `image_dir = "fox"`
    Instead: one of them, with the repeats of both
    Source: sd-scripts 48d368fa, measured (the first wins).
    """
    for folder in facts.folders:
        if folder.why_unused != "listed twice":
            continue
        first = next((f for f in facts.used_folders if f.path.resolve() == folder.path.resolve()), None)
        kept = first.subset.num_repeats if first is not None and first.subset is not None else 1
        message = (
            f"{folder.path} is listed twice: the first counts, with {kept} repeats; the second, with "
            f"{folder.asked_repeats}, is dropped."
        )
        if facts.is_toml:
            remedy = "Remove one of the two, and set num_repeats in the other."
            yield report(facts.root, "image_dir", message, remedy)
        else:
            remedy = "Give another folder for regularization, or none."
            yield report(
                folder.path, "", f"{message} It is given for training and for regularization.", remedy
            )


@rule("STP009", "no-repeats", "warning", since="0.2")
def no_repeats(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A folder asks for 0 repeats, so that none of its pictures is trained.

    Why: A subset with num_repeats below 1, and a folder named 0_name, are dropped with one line in the log. Some write 0
    to mean "once", others to switch a folder off.
    Found by: num_repeats below 1 in a dataset TOML (a warning), or a folder name that begins with 0_ (a hint, since it
    is a known way to switch one off).
    Do: Use 1 or more, or take the folder out.
    Fault: `num_repeats = 0`
    Instead: `num_repeats = 1`, or the folder taken out
    Source: sd-scripts 48d368fa, measured.
    """
    for folder in facts.folders:
        if folder.why_unused != "no repeats":
            continue
        count = folder.num_pictures
        asks = (
            f"num_repeats = {folder.asked_repeats}"
            if facts.is_toml
            else f"the {folder.asked_repeats} in its name"
        )
        message = f"None of its {count} {_plural(count, 'picture')} is trained, because of {asks}."
        remedy = (
            "Set it to 1 or more, or remove the subset." if facts.is_toml else "Rename it to 1_name or more."
        )
        yield report(folder.path, "", message, remedy, severity="warning" if facts.is_toml else "hint")


@rule("STP014", "pictures-of-other-kinds", "warning", since="0.2", repair="decides")
def pictures_of_other_kinds(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Pictures or films of a kind that is not read lie among the pictures.

    Why: Only .png, .jpg, .jpeg, .webp and .bmp are read. A phone's .heic, a .tif from a scanner or a .gif is passed over
    without a word, and fewer pictures are trained than lie there. sd-scripts looks for .jpg and .JPG; on Linux it does not
    find .Jpg.
    Found by: Files with endings of other pictures and of films in a folder in use, named for what their bytes say. An error
    where no other picture lies there. One beside a picture of the same name is taken for converted already.
    Do: `--fix` writes a PNG beside each GIF, TIFF, AVIF and HEIC picture (HEIC: with the extra `formats`) and keeps the
    originals, and gives pictures that only lack an ending the right one. Export others as PNG; move films elsewhere.
    Fault: `IMG_0042.HEIC` in `10_zkw_fox`
    Instead: `IMG_0042.png`, converted
    Source: sd-scripts 48d368fa, train_util.py IMAGE_EXTENSIONS.
    """
    for folder in facts.folders:
        for group in unread_in(folder.path, folder.others, facts.trainer):
            severity: Severity = "warning" if folder.files else "error"
            message = f"{names_of(group.paths)} {group.what}"
            yield report(folder.path, "", message, group.remedy, severity=severity, fix=_made_readable(group))


def _made_readable(group: Unread) -> Fix | None:
    """Return the repair: a PNG beside each, or its own bytes under a name that is looked for; none where neither helps."""
    if group.can_convert:
        edits = [SavedAgain(path.with_suffix(".png"), as_png, path) for path in group.paths]
        return Fix("write a PNG beside each picture that is not read", tuple(edits))
    targets = {path: path.with_suffix(group.new_name) for path in group.paths if group.new_name}
    renamed = {path: target for path, target in targets.items() if not target.exists()}
    if not renamed:
        return None
    edits = [SavedAgain(target, as_it_is, path) for path, target in renamed.items()]
    return Fix("give pictures an ending that is looked for", (*edits, *map(SetAside, renamed)))


@rule("STP015", "folder-without-pictures", "warning", since="0.2")
def folder_without_pictures(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A folder that is to be trained on holds no pictures.

    Why: An empty folder is mostly a mistyped path, or a copy that did not run. sd-scripts drops it with one line in its
    log; the others carry the run, which is shorter than planned.
    Found by: Folders in use without a picture. An error where there is no picture of the subject at all; pictures that lie
    below are named then, as in kohya_ss' own layout (NAME/img/10_NAME). Where they lie below a folder of a dataset TOML,
    pictures-not-searched speaks; where pictures of other kinds do, pictures-of-other-kinds.
    Do: Put the pictures there, or take the folder out.
    Fault: `10_zkw_fox_new`, empty, beside `10_zkw_fox`
    Instead: the new pictures in it, or no such folder
    Source: sd-scripts 48d368fa, measured (`no images found`).
    """
    for folder in facts.folders:
        told = folder.others or (
            not facts.below
            and any(
                other.why_unused == "below" and other.path.parent == folder.path for other in facts.folders
            )
        )
        if folder.subset is not None and not folder.num_pictures and not told:
            severity: Severity = "error" if not facts.files and not folder.is_regularization else "warning"
            message = "It holds no pictures, and nothing of it is trained."
            remedy = "Put the pictures there, correct the path, or take the folder out."
            if facts.below and not folder.is_regularization:
                message = f"It holds no pictures itself: they lie in {places(facts.below)}."
                remedy = advice(facts.below)
            yield report(folder.path, "", message, remedy, severity=severity)


@rule("STP016", "repeats-like-a-year", "warning", since="0.2")
def repeats_like_a_year(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """The number at the beginning of a folder's name is taken for repeats, and is hardly meant as such.

    Why: 2023_holiday shows each of its pictures 2,023 times an epoch. Repeats are mostly 1 to 50.
    Found by: Folder names that ask for more than 500 repeats where names count: not in a dataset TOML. An error, in a TOML too,
    where an epoch would be longer than 2,000,000 pictures: it cannot be laid out, and training refuses it.
    Do: Rename the folder; put the number you want in front.
    Fault: a folder `2023_holiday`
    Instead: `1_holiday_2023`
    Source: sd-scripts 48d368fa, config_util.py (the number before the first _ is num_repeats).
    """
    for folder in facts.used_folders:
        asked = folder.subset.num_repeats if folder.subset else 0
        if asked * len(folder.files) > MAX_ITEMS and not folder.is_regularization:
            shown = f"{len(folder.files):,} pictures {asked:,} times an epoch"
            message = f"{shown} are more than {MAX_ITEMS:,}: that cannot be trained."
            remedy = f"Lower {'num_repeats' if facts.is_toml else 'the number in its name'} to what was meant, mostly 1 to 50."
            yield report(folder.path, "", message, remedy, severity="error")
            continue
        repeats = 0 if facts.is_toml else folder.prefix_repeats or 0
        if repeats > SURPRISING_REPEATS:
            message = f"The number in its name makes every epoch show each picture {repeats:,} times."
            remedy = f"Rename it, to 1_{folder.path.name} for one showing an epoch."
            yield report(folder.path, "", message, remedy)


@rule("STP017", "dataset-key-idle", "warning", since="0.2")
def dataset_key_idle(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A key of a dataset TOML does nothing with Maquette.

    Why: sd-scripts knows keys that only matter together with another one, or that only speed up its own start. Maquette
    accepts them, so that one file serves both, and says that they mean nothing.
    Found by: cache_info, token_warmup_min and validation_seed with a value that is not zero, in runs of Maquette.
    Do: Nothing has to change; take the key out if an effect was expected.
    Fault: `cache_info = true` in a TOML that Maquette trains from
    Instead: no such key
    Source: sd-scripts 48d368fa, config_util.py.
    """
    for key in facts.plan.idle_keys:
        message = f"{key.name} has no effect in {key.table}: {key.why}."
        yield report(facts.root, key.name, message, "Take it out if an effect was expected of it.")


@rule("STP018", "image-dir-in-two-places", "warning", since="0.2")
def image_dir_in_two_places(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A relative image_dir means one folder seen from the working folder and another one seen from the dataset TOML.

    Why: sd-scripts takes it from the folder in which the command is run, whatever lies beside the TOML. Run from another
    place, the same file trains other pictures.
    Found by: A relative image_dir that is a folder in both places, not the same one.
    Do: Write the whole path.
    Fault: `image_dir = "fox"`, with a folder fox here and another beside the TOML
    Instead: `image_dir = "/data/fox"`
    Source: sd-scripts 48d368fa, measured (relative to the working folder).
    """
    for place in facts.plan.two_places:
        message = (
            f"image_dir '{place.given}' is {place.taken.resolve()}, in the working folder as sd-scripts takes it, not "
            f"{place.other.resolve()} beside this file."
        )
        yield report(facts.root, "image_dir", message, "Write the whole path of the folder that is meant.")


# --- help ------------------------------------------------------------------------------------------------


def copied_folders(facts: DatasetFacts) -> Iterator[tuple[FolderFact, FolderFact, int]]:
    """Yield pairs of folders with the number of pictures that both hold, the earlier one first."""
    hashes = {path: look.sha256 for path, look in facts.decoded.items()}
    contents: dict[Path, tuple[FolderFact, set[str]]] = {}
    for folder in facts.used_folders:
        contents.setdefault(folder.path.resolve(), (folder, {hashes[p] for p in folder.files if p in hashes}))
    entries = list(contents.values())
    for index, (one, its) in enumerate(entries):
        for other, others in entries[index + 1 :]:
            shared = len(its & others)
            if shared >= FEWEST_COPIES and shared * 2 >= min(len(its), len(others)):
                yield (
                    (other, one, shared)
                    if one.is_regularization and not other.is_regularization
                    else (one, other, shared)
                )


def _where_to(folder: FolderFact, root: Path, count: int, profile: Profile | None) -> str:
    """Return where the pictures should lie, with the repeats that make five epochs of a run."""
    if folder.why_unused == "itself":
        return f"Give its parent: {root.resolve().parent}"
    repeats = max(1, round(step_target(count).best / 5 / max(1, count)))
    if folder.path == root:
        name = profile.trigger if profile is not None and profile.trigger else "NAME"
        return (
            f"Move the pictures and captions into {root / f'{repeats}_{name}'} ({repeats} repeats an epoch)."
        )
    return f"Rename {folder.path.name} to {repeats}_{folder.path.name} ({repeats} repeats an epoch)."


def _is_set_aside(folder: FolderFact, root: Path) -> bool:
    return folder.path != root and is_set_aside(folder.path)


def _why(folder: FolderFact) -> str:
    return {
        "below": "folders are not searched below",
        "beside": "beside folders named like 10_name, loose pictures do not count",
        "no prefix": "beside folders named like 10_name, others do not count",
    }.get(folder.why_unused, "nobody looks there")


def _names(folders: Sequence[FolderFact]) -> str:
    names = [folder.path.name for folder in folders[:3]]
    return ", ".join(names) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
