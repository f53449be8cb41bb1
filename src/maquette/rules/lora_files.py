"""Rules over LoRA files: can it be read, where does it fit, does it say what it is. What it holds: rules_weights."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.lora.facts import LoraFacts, ModuleFact
from maquette.lora.kinds.foreign import titles_of
from maquette.lora.names import BUNDLED
from maquette.rules import lora_weights as rules_weights
from maquette.rules.lora_weights import modules, some

__all__ = ["rules_weights"]

MAX_HEADER_BYTES = 1 << 20
"""ComfyUI answers 404 to questions for the metadata of a longer header."""
LISTED_ENDINGS = (".safetensors", ".sft")
BROKEN_IN_PROMPTS = ":<>,"
SMALL_SHARE = 0.02


def quoted(path: Path) -> str:
    """Return a path as it is typed after a command."""
    return shlex.quote(str(path))


def _title(family: str | None) -> str:
    from maquette.families import FAMILIES

    return FAMILIES[family].spec.title if family else "no known family"


@rule("LOR001", "lora-unreadable", "error", since="0.2")
def lora_unreadable(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The file cannot be read as safetensors: cut off, damaged, or another format.

    Why: drawing programs stop with an error at a truncated file. Files named .pt, .ckpt or .bin are Python pickles: they can
    run any program when opened, so Maquette never opens them.
    Found by: the header's length, its JSON, and each tensor's place against the file's size; the first bytes of other formats.
    Do: download or copy it again and compare sizes; ask for, or convert to, .safetensors.
    Fault: `fox.safetensors`, cut off while copying
    Instead: the file copied again
    Source: ComfyUI 0.3.64, measured (truncated file: execution_error); the safetensors format.
    """
    if lora.problem is not None:
        yield report(lora.path, "", f"The file is unusable: {lora.problem.given}.", lora.problem.remedy)


@rule("LOR002", "no-lora-in-file", "error", since="0.2")
def no_lora_in_file(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The file is sound but holds no LoRA.

    Why: a base model, an embedding or a VAE in the LoRA folder is listed like a LoRA and does nothing, or fails, when chosen.
    Found by: not one tensor's name ends like a LoRA's or another adapter's (lora_down, lora_A, hada_w1_a, …).
    Do: move it to the folder of its kind, or choose the right file.
    Fault: `fox.safetensors` that holds a VAE
    Instead: the LoRA, or the file moved to models/vae
    Source: names written by sd-scripts 48d368fa, diffusers, PEFT and LyCORIS.
    """
    if lora.problem is None and not lora.is_lora:
        first = f" (the first: {lora.loose[0]})" if lora.loose else ""
        count = f"{len(lora.loose)} tensors" if lora.loose else "no tensors at all"
        yield report(
            lora.path,
            "",
            f"It holds {count}, none of them part of a LoRA{first}.",
            "Choose the LoRA's own file; base models, VAEs and embeddings belong in their own folders.",
        )


@rule("LOR003", "keys-of-no-family", "error", since="0.2")
def keys_of_no_family(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Modules are named as no layer of the file's model family is.

    Why: drawing programs skip what they do not know: ComfyUI only logs “lora key not loaded”, answers success, and draws
    with the rest, or with nothing.
    Found by: every module's name against all names of the known families, in kohya's, diffusers' and PEFT's spelling. An error
    when none fits or more than 2 % do not, else a warning; a hint where the names are those of a model that is known by its name
    alone (FLUX, SD 3, Wan, …). Files whose sizes show another model (LOR006) are left out.
    Do: export again with the trainer's kohya or ComfyUI layout; over a base of a family that Maquette does not know, no finding
    of this kind can be trusted.
    Fault: `unet_down_blocks_0_attn…`
    Instead: `lora_unet_down_blocks_0_attentions_0_…`
    Source: ComfyUI 0.3.64, measured; OneTrainer#885, ai-toolkit#67; names of sd-scripts 48d368fa (golden numbers lora_keys.json).
    """
    strangers = lora.strangers
    if lora.architecture is not None:
        count = len(lora.modules)
        yield report(
            lora.path,
            "",
            f"It is a LoRA for {lora.architecture} ({count} modules), which Maquette does not know: only its form was judged.",
            f"Draw with it over {lora.architecture}.",
            severity="hint",
        )
        return
    if not strangers or lora.is_for_another_model or len(lora.only_in) > 1:
        return
    names = [module.name for module in strangers]
    hints = [f"“{name}” is near “{lora.near[name]}”" for name in names[:3] if name in lora.near]
    near = f" {'; '.join(hints)}." if hints else ""
    if lora.family is None:
        message = f"None of its {len(names)} modules is known ({some(names)}): it is for no family that Maquette knows.{near}"
    else:
        message = f"{modules(lora, len(names), 'is', 'are')} in no {_title(lora.family)} model: {some(names)}.{near}"
    few = lora.family is not None and len(names) <= SMALL_SHARE * len(lora.modules)
    yield report(
        lora.path,
        names[0],
        message,
        "Load it over the base that it was made for, or export it again in kohya's layout.",
        severity="warning" if few else None,
    )


@rule("LOR004", "families-mixed", "error", since="0.2")
def families_mixed(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The file holds modules of two model families.

    Why: over either base a part of it finds no place and is skipped silently. It comes from merging LoRAs of different families.
    Found by: modules that only one family has, for more than one family.
    Do: merge only LoRAs of one family; use the files that it was made of.
    Fault: a merge of an SD 1.5 and an SDXL LoRA
    Instead: LoRAs of one family merged
    Source: ComfyUI 0.3.64, measured (unknown keys are skipped).
    """
    if len(lora.only_in) < 2 or lora.is_for_another_model:
        return
    parts = [f"{len(names)} of {_title(family)} ({names[0]})" for family, names in lora.only_in.items()]
    yield report(
        lora.path,
        next(iter(lora.only_in.values()))[0],
        f"It mixes modules of different families: {' and '.join(parts)}.",
        "Use the LoRAs that it was made of, each over its own base; merge only files of one family.",
    )


@rule("LOR005", "named-as-another-family", "error", since="0.2")
def named_as_another_family(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The file's name or metadata name another family than its tensors do.

    Why: people and programs choose by name and metadata. An SDXL LoRA loaded over SD 1.5 “succeeds” in ComfyUI and draws the
    base model's pictures; A1111 hides it, or shows it, in the wrong list.
    Found by: the family of the modules against ss_base_model_version and modelspec.architecture (error), and against words
    in the file's name such as sd15, v1-5, XL, SDXL, Pony, Illustrious (warning).
    Do: trust the tensors. Rename the file, or write its metadata anew.
    Fault: `fox_sd15.safetensors` whose tensors are SDXL's
    Instead: `fox_sdxl.safetensors`
    Source: ComfyUI 0.3.64, measured; field notes of a character LoRA (an “XL” base that is SD 1.5).
    """
    from maquette.families.lora_names import family_of_name

    if lora.family is None or lora.is_for_another_model or len(lora.only_in) > 1:
        return
    if lora.named_family not in (None, lora.family):
        said = lora.metadata.get("ss_base_model_version") or lora.metadata.get("modelspec.architecture")
        yield report(
            lora.path,
            "metadata",
            f"Its metadata say “{said}” ({_title(lora.named_family)}), but its modules are those of {_title(lora.family)}.",
            f"Use it over {_title(lora.family)}; save it again with right metadata.",
        )
    elif family_of_name(lora.path.stem) not in (None, lora.family):
        yield report(
            lora.path,
            "file name",
            f"Its name speaks of another family, but its modules are those of {_title(lora.family)}.",
            f"Use it over {_title(lora.family)}, and rename it.",
            severity="warning",
        )


@rule("LOR006", "sizes-of-another-model", "warning", since="0.2")
def sizes_of_another_model(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Modules are named like a known family's but have other sizes.

    Why: where a size does not fit, ComfyUI logs “ERROR lora” and leaves the module out. SD 2.x uses SD 1.x's names with a text
    width of 1,024 in place of 768. A toy or pruned model has other widths throughout: then it fits only that model.
    Found by: input and output size of each module against the family's published model. A hint when more than half differ
    (made for a model of its own), else a warning.
    Do: load it over the very base that it was trained on.
    Fault: SD 1.5 names with the text width 1024 of SD 2
    Instead: the base that it was trained on
    Source: ComfyUI 0.3.64, measured (“ERROR lora”); published sizes of SD 1.x, SD 2.x, SDXL.
    """
    misfits = lora.misfits
    if not misfits or (len(lora.only_in) > 1 and not lora.is_for_another_model):
        return
    first = misfits[0]
    assert first.known is not None
    sizes = first.told_sizes
    wanted = f"{first.known.inputs} → {first.known.outputs}"
    other = _family_that_fits(lora.family, misfits)
    second = f" These are the sizes of {_title(other)}." if other else ""
    if lora.is_for_another_model:
        second = " It was made for a model of its own sizes."
    yield report(
        lora.path,
        first.name,
        f"{modules(lora, len(misfits), 'has', 'have')} other sizes than {_title(lora.family)} has "
        f"({first.name}: {sizes} in place of {wanted}).{second}",
        "Load it over the model that it was trained on; over another, these modules are left out.",
        severity="hint" if lora.is_for_another_model else None,
    )


def _family_that_fits(family: str | None, misfits: Sequence[ModuleFact]) -> str | None:
    """Return another family whose published model has these very layers in these sizes."""
    from maquette.families.lora_names import known_families, lora_modules

    keys = [(module, module.known.key) for module in misfits if module.known is not None]
    for other in known_families():
        layers = lora_modules(other)
        if other != family and all(key in layers and module.stands_on(layers[key]) for module, key in keys):
            return other
    return None


@rule("LOR007", "another-kind-of-adapter", "hint", since="0.2")
def another_kind(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The file is not plain LoRA: DoRA, LoHa, LoKr, OFT, (IA)³, GLoRA.

    Why: DoRA scales the changed weight to trained lengths. Where they go by outputs (dora_scale [out, 1]), ComfyUI divides by the
    norm of the base's weight alone, where training divided by that of the changed weight, so it draws differently there than in
    training (a warning); PEFT's one-dimensional magnitudes fail, or are silently wrong on square layers. By inputs (dora_scale
    [1, in], what Maquette trains) and as LoHa, LoKr or OFT they are drawn as trained in ComfyUI, and not in every other program:
    diffusers drops the lengths of a DoRA with a warning and draws the rest as plain LoRA, and cannot load the others.
    Found by: tensors named dora_scale or lora_magnitude_vector; hada_w…, lokr_w…, oft_…, lora_mid, diff, on_input, a1 and b1.
    Do: compare a picture of the trainer with one of the drawing program before you publish it; train plain LoRA if in doubt.
    Fault: `….dora_scale` [320, 1]
    Instead: plain LoRA, dora_scale [1, 320], or a picture of each program compared
    Source: ComfyUI 0.3.64, read and measured; diffusers 0.42, read.
    """
    differs = [module for module in lora.modules if module.differs]
    count = sum(bool(module.others) for module in lora.modules)
    if differs:
        yield report(
            lora.path,
            differs[0].name,
            f"{modules(lora, len(differs), 'is', 'are')} DoRA by outputs: ComfyUI draws it differently from training.",
            "Compare pictures of trainer and drawing program before relying on it, or train plain LoRA.",
            severity="warning",
        )
    elif lora.is_lora and not lora.adapters and not lora.is_plain:
        yield report(
            lora.path,
            lora.titles,
            f"It is {lora.titles}: ComfyUI draws it as it was trained; diffusers does not, and others may not.",
            "Make sure that the programs of those who get it can draw with it.",
        )
    elif lora.adapters:
        yield report(
            lora.path,
            lora.adapters[0],
            f"{modules(lora, count, 'is', 'are')} {titles_of(lora.adapters)} ({some(lora.adapters)}), not plain LoRA.",
            "Make sure that the programs of those who get it can draw with it.",
        )


@rule("LOR008", "half-a-pair", "error", since="0.2")
def half_a_pair(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """A module lacks one half of its pair, or the halves do not fit each other.

    Why: a LoRA module is up · down. With one missing ComfyUI stops with an execution error at the first picture.
    Found by: a module with lora_up but no lora_down or the reverse, whose ranks differ between the two, or of rank 0.
    Do: export it again; the file is damaged or was cut by hand.
    Fault: `….lora_up.weight` without `….lora_down.weight`
    Instead: the file exported again
    Source: ComfyUI 0.3.64, measured (missing lora_down: execution_error).
    """
    broken = [module for module in lora.modules if not module.others and (module.missing or module.misfit)]
    if not broken:
        return
    first = broken[0]
    if first.rank == 0:
        why = "its rank is 0: it holds no weights"
    elif first.misfit:
        why = f"the halves are {first.misfit}"
    else:
        why = f"{' and '.join(name.removesuffix('.weight') for name in first.missing)} is missing"
    names = [module.name for module in broken]
    yield report(
        lora.path,
        first.name,
        f"{modules(lora, len(broken), 'is', 'are')} incomplete: {some(names)} ({why} in the first).",
        "Export or download it again.",
    )


@rule("LOR021", "names-comfyui-skips", "warning", since="0.2")
def names_skipped(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Modules have names under which ComfyUI does not look, though the model has them.

    Why: ComfyUI skips them with a line in its log and draws with the rest, or with nothing: of a full SDXL file in diffusers' or
    PEFT's names it matches none of 1,120 tensors. Other programs read kohya's names alone.
    Found by: each known module's spelling against those that ComfyUI looks for. An error when it finds none.
    Do: maquette lora convert FILE writes the same weights under kohya's names, which every program reads.
    Fault: `unet.…attn1.to_q.lora_A.weight`
    Instead: `lora_unet_…attn1_to_q.lora_down.weight`
    Source: ComfyUI 0.3.64, measured and read (comfy/lora.py).
    """
    unfound = [module.name for module in lora.unfound]
    if not unfound or lora.problem is not None:
        return
    none_left = len(unfound) == len(lora.modules)
    yield report(
        lora.path,
        unfound[0],
        f"{modules(lora, len(unfound), 'has', 'have')} a name that ComfyUI skips ({some(unfound, 2)}): it draws with "
        f"{'none of it' if none_left else 'the rest alone'}.",
        f"Write it under names that every program reads: maquette lora convert {quoted(lora.path)}",
        severity="error" if none_left else None,
    )


@rule("LOR022", "embedding-bundled", "warning", since="0.2")
def embedding_bundled(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """An embedding is bundled with the LoRA, which ComfyUI does not read.

    Why: OneTrainer can put a trained embedding, often the trigger word itself, into the LoRA's file. A1111 reads it there.
    ComfyUI skips it: the trigger then means nothing, and the LoRA seems weak.
    Found by: tensors named bundle_emb.NAME.…
    Do: maquette lora convert FILE writes the embedding as a file of its own beside the LoRA; put that into the program's
    embeddings folder and write embedding:NAME in the prompt.
    Fault: `bundle_emb.zkw.clip_l`
    Instead: the embedding as a file of its own
    Source: ComfyUI, read (no key of that name); A1111's networks.py, read.
    """
    if lora.embeddings:
        names = list(lora.embeddings)
        words = "An embedding is" if len(names) == 1 else f"{len(names)} embeddings are"
        yield report(
            lora.path,
            f"{BUNDLED}.{names[0]}",
            f"{words} bundled with it ({some(names)}): ComfyUI does not read that there, and what it means is lost.",
            f"Write it as a file of its own: maquette lora convert {quoted(lora.path)}",
        )


@rule("LOR023", "stray-tensors", "hint", since="0.2")
def stray_tensors(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Tensors lie in the file that are part of no adapter.

    Why: drawing programs skip them with a line in their log each. They take room, and show that the file was merged, cut or
    saved by a program that means something by them.
    Found by: names that end like no adapter's tensor, beside modules that do; alphas of modules that are not there are left out.
    Do: nothing, if it draws what you expect; maquette lora convert FILE leaves them out.
    Fault: `emb_params` beside the LoRA
    Instead: the adapter's tensors alone
    Source: ComfyUI 0.3.64, measured (“lora key not loaded”).
    """
    stray = [name for name in lora.stray if not name.endswith(".alpha")]
    verb = "is" if len(stray) == 1 else "are"
    if stray and lora.is_lora:
        yield report(
            lora.path,
            stray[0],
            f"{len(stray)} of its tensors {verb} part of no adapter ({some(stray)}): programs skip them.",
            f"Leave them out: maquette lora convert {quoted(lora.path)}",
        )


@rule("LOR012", "metadata-missing", "hint", since="0.2")
def metadata_missing(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The file does not say what it is: no base model version, no rank, no ModelSpec.

    Why: programs sort and warn by metadata. Without ss_base_model_version A1111 guesses the family; managers show an unknown
    base; a user left a trainer over it. The trigger word is lost with it too.
    Found by: neither ss_base_model_version nor modelspec.architecture, or no ss_network_dim in kohya's layout.
    Do: train with metadata on (no --no_metadata); Maquette writes all of them.
    Fault: a file saved with `--no_metadata`
    Instead: the same without that option
    Source: OneTrainer#177; ComfyUI's frontend and A1111, read.
    """
    if not lora.is_lora or lora.problem is not None:
        return
    base = ("ss_base_model_version", "modelspec.architecture")
    missing = (
        []
        if any(key in lora.metadata for key in base)
        else ["ss_base_model_version", "modelspec.architecture"]
    )
    if lora.layout == "kohya" and "ss_network_dim" not in lora.metadata:
        missing.append("ss_network_dim")
    if missing:
        yield report(
            lora.path,
            "metadata",
            f"Its metadata lack {', '.join(missing)}: programs cannot tell its base or rank from it.",
            "Save it with metadata (without --no_metadata), so that programs can list it rightly.",
        )


@rule("LOR013", "metadata-too-long", "warning", since="0.2")
def metadata_too_long(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The header is longer than 1 MiB, so ComfyUI does not show the metadata.

    Why: ComfyUI's /view_metadata answers 404 for such a file: no base, no trigger words, no preview in its managers. Tag
    frequencies of thousands of captions, or a thumbnail, fill a header.
    Found by: the length that the file's first eight bytes state, above 1,048,576.
    Do: save it with fewer tags: Maquette keeps the most frequent ones that fit.
    Fault: 1.4 MiB of `ss_tag_frequency`
    Instead: the most frequent tags alone
    Source: ComfyUI 0.3.64, measured.
    """
    if lora.header_bytes > MAX_HEADER_BYTES + 8:
        largest = max(lora.metadata, key=lambda key: len(lora.metadata[key]), default="")
        yield report(
            lora.path,
            largest,
            f"Its header is {lora.header_bytes / 2**20:.1f} MiB long; ComfyUI shows metadata of headers up to 1 MiB."
            + (f" Most of it is {largest}." if largest else ""),
            "Save it again with fewer tags or without a thumbnail in the metadata.",
        )


@rule("LOR018", "no-text-encoder", "hint", since="0.2")
def no_text_encoder(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The file adapts the U-Net alone.

    Why: that is a choice and often a good one (SDXL is mostly trained so; it forgets less). But an invented trigger word then
    means nothing to the text encoder, so a character needs more steps, and the word alone draws less of it.
    Found by: no module of a text encoder in the file, for a family with one text encoder (with two it is usual).
    Do: nothing, if it draws what you want from the bare trigger word. Else train the text encoder too, at half the rate.
    Fault: `lora_unet_…` alone in an SD 1.5 LoRA
    Instead: `--text_encoder_lr=5e-5` beside `--unet_lr=1e-4`
    Source: field notes (text encoder 5e-5 beside U-Net 1e-4); sd-scripts' --network_train_unet_only, read.
    """
    from maquette.families.lora_names import lora_modules

    if not lora.is_lora or lora.family is None or any(module.is_text for module in lora.modules):
        return
    prefixes = {module.diffusers_key.partition(".")[0] for module in lora_modules(lora.family).values()}
    if len(prefixes) == 2:
        yield report(
            lora.path,
            "text encoder",
            "It holds no module of the text encoder: the trigger word keeps whatever meaning the base gives it.",
            "If the bare trigger word draws a stranger, train the text encoder too (half the U-Net's rate).",
        )


@rule("LOR019", "name-not-usable", "warning", since="0.2")
def name_not_usable(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Drawing programs cannot list the file, or cannot be told its name.

    Why: ComfyUI and A1111 list files by their ending, so NAME.safetensors.part or “NAME.safetensors (1)” never appears, nor
    does a hidden file. A1111's prompt syntax <lora:NAME:0.8> breaks at a colon, a comma or angle brackets in the name.
    Found by: the ending is not .safetensors, the name begins with a dot or is empty, or it holds one of : < > ,
    Do: rename it to letters, digits, - and _, with the ending .safetensors. Give a new release a new name: programs keep the
    old weights of an equal name in memory.
    Fault: `fox:v1.ckpt`
    Instead: `fox_v1.safetensors`
    Source: ComfyUI 0.3.64, measured (listing, cached weights); A1111's extra-network syntax, read.
    """
    name = lora.path.name
    if lora.problem is not None:
        return
    if not name.lower().endswith(LISTED_ENDINGS) or name.startswith("."):
        yield report(
            lora.path, name, f"Programs do not list a file named “{name}”.", "Rename it to NAME.safetensors."
        )
    elif any(sign in name for sign in BROKEN_IN_PROMPTS):
        signs = " ".join(sign for sign in BROKEN_IN_PROMPTS if sign in name)
        yield report(
            lora.path,
            name,
            f"Its name holds {signs}, which breaks the prompt syntax <lora:NAME:0.8>.",
            "Rename it to letters, digits, - and _.",
        )
