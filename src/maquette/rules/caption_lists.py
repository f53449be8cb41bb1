"""Rules about captions that stand in one list of pictures: a metadata file of sd-scripts, or of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.dataset.facts import DatasetFacts
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.rules.caption_sets import names
from maquette.spoken import counted


@rule("CAP037", "picture-not-listed", "warning", since="0.2")
def picture_not_listed(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """Pictures lie in a folder whose list of pictures does not name them, so that they are not trained.

    Why: Where a metadata file lists pictures with their captions, it alone decides what is trained. Pictures that were added
    to the folder later are left out, and nothing says so during training.
    Found by: Pictures directly in the folder of a list (metadata.jsonl, metadata.csv, metadata_file) that no line of it names.
    Do: Add a line for each, or move the pictures away.
    Fault: `b.png` beside a metadata.jsonl that names `a.png` alone
    Instead: a second line, `{"file_name": "b.png", "text": "…"}`
    Source: sd-scripts 48d368fa, FineTuningDataset; Hugging Face's ImageFolder.
    """
    for folder in facts.used_folders:
        listed_in = folder.subset.metadata_file if folder.subset is not None else None
        if listed_in is not None and folder.unlisted:
            lie = "lies" if len(folder.unlisted) == 1 else "lie"
            message = (
                f"{counted(len(folder.unlisted), 'picture')} {lie} in {folder.path} and not in the list, so not trained: "
                f"{names(folder.unlisted)}."
            )
            yield report(listed_in, "", message, "Add a line for each, or move the pictures away.")


@rule("CAP038", "list-beside-captions", "warning", since="0.2")
def list_beside_captions(facts: DatasetFacts, report: Report) -> Iterator[Finding]:
    """A folder holds both a list of pictures with captions and caption files; the caption files count.

    Why: Two places say what a picture shows, and they drift apart. Whoever edits the list wonders why nothing changes.
    Found by: metadata.jsonl or metadata.csv in a folder with caption files of the ending that is read, in runs of Maquette.
    Do: Move away what is not meant, or name the list as metadata_file: then it counts.
    Fault: `metadata.jsonl` beside `a.png` and `a.txt`
    Instead: one of them
    Source: Hugging Face's ImageFolder (`metadata.jsonl`), beside sd-scripts' caption files.
    """
    for folder in facts.used_folders:
        if folder.idle_list is not None and folder.subset is not None:
            message = f"Captions are read from {folder.subset.caption_extension} files; {folder.idle_list.name} is not read."
            remedy = f'Move away what is not meant, or set metadata_file = "{folder.idle_list.name}" to read the list.'
            yield report(folder.idle_list, "", message, remedy)
