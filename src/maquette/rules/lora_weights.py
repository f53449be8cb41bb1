"""Rules over what a LoRA file holds: alphas, ranks, values, precision."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.lora.facts import LoraFacts, ModuleFact
from maquette.spoken import disk_size


def modules(lora: LoraFacts, count: int, one: str, many: str) -> str:
    """Return how many of the file's modules, with the verb that fits: `All 264 modules have`."""
    total = len(lora.modules)
    if count == total > 1:
        return f"All {total} modules {many}"
    return f"{count} of its {total} modules {one if count == 1 else many}"


def some(names: Sequence[str], shown: int = 3) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


@rule("LOR009", "alpha-missing", "hint", since="0.2")
def alpha_missing(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Modules carry no alpha, so drawing programs use a scale of one.

    Why: the change is up · down · alpha / rank. Without `.alpha` ComfyUI takes the scale as 1. That is right where training
    used alpha = rank, and too strong where it used less: alpha 16 at rank 32 draws at twice the strength. diffusers and PEFT keep
    alpha beside the tensors, where ComfyUI does not look (a warning when that says another scale than one).
    Found by: LoRA pairs without an `.alpha` tensor; alpha in metadata (lora_adapter_metadata, ss_network_alpha) against the rank.
    Do: export in kohya's layout, which writes alpha; or draw at strength × alpha / rank.
    Fault: lora_down and lora_up without `.alpha`
    Instead: `….alpha` with the value it was trained with
    Source: ComfyUI 0.3.64, read; sd-scripts 48d368fa.
    """
    without = [
        module for module in lora.modules if module.is_whole and module.alpha is None and not module.others
    ]
    if not without:
        return
    if lora.beside_problem is not None:
        told = (
            f"{modules(lora, len(without), 'has', 'have')} no alpha tensor, and {lora.beside_problem.given}."
        )
        yield report(lora.path, without[0].name, told, lora.beside_problem.remedy, severity="warning")
        return
    scales = sorted({_told_scale(lora, module) for module in without} - {None, 1.0}, key=lambda s: s or 0)
    if scales:
        yield report(
            lora.path,
            without[0].name,
            f"{modules(lora, len(without), 'has', 'have')} no alpha tensor, but its metadata tell a scale of "
            f"{scales[0]:g}: ComfyUI draws it at 1, {1 / scales[0] if scales[0] else math.inf:.3g} times as strong.",
            f"Export it in kohya's layout, or draw at strength {scales[0]:g}.",
            severity="warning",
        )
    else:
        yield report(
            lora.path,
            without[0].name,
            f"{modules(lora, len(without), 'has', 'have')} no alpha: drawing programs use a scale of one.",
            "If it was trained with alpha below its rank, draw at strength alpha / rank, or export it with alphas.",
        )


def _told_scale(lora: LoraFacts, module: ModuleFact) -> float | None:
    """Return the scale that metadata tell for a module without alpha."""
    alpha = lora.alphas_beside.get(module.name)
    if alpha is None and not module.is_conv3x3:
        alpha = lora.number("ss_network_alpha")
    return round(alpha / module.rank, 6) if alpha is not None and module.rank else None


@rule("LOR010", "alpha-odd", "warning", since="0.2")
def alpha_odd(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """An alpha is zero, no number, negative, or above the rank.

    Why: alpha / rank scales the LoRA. Zero switches the module off; above the rank it strengthens every step, as a higher
    learning rate would, and training is seldom stable there. Usual are alpha = rank / 2 or alpha = rank.
    Found by: each module's alpha; an error when it is zero, negative or no number, a warning when it exceeds the rank.
    Do: export again, or train with alpha of half the rank. A merged or resized file may carry such alphas rightly: look at
    what it draws.
    Fault: alpha 0
    Instead: alpha 16 at rank 32
    Source: sd-scripts 48d368fa (scale = alpha / rank); field notes (16 at rank 32; 32 at rank 64).
    """
    told = [
        (module, module.alpha) for module in lora.modules if module.alpha is not None and module.has_strength
    ]
    bad = [(module, alpha) for module, alpha in told if not (math.isfinite(alpha) and alpha > 0)]
    high = [
        (module, alpha)
        for module, alpha in told
        if module.rank and math.isfinite(alpha) and alpha > module.rank
    ]
    for found, words, severity in (
        (bad, "an alpha that is zero or no positive number", "error"),
        (high, "an alpha above the rank", "warning"),
    ):
        if found:
            module, alpha = found[0]
            yield report(
                lora.path,
                f"{module.name}.alpha",
                f"{modules(lora, len(found), 'has', 'have')} {words} (the first: alpha {alpha:g}, rank {module.rank}).",
                "Export it again from the trainer, or train with alpha = rank / 2.",
                severity="error" if severity == "error" else "warning",
            )


@rule("LOR011", "ranks-mixed", "hint", since="0.2")
def ranks_mixed(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Modules have different ranks.

    Why: nothing is wrong with it (dynamic resizing, block-wise dims), but metadata and tools tell one rank, and continuing its
    training with --network_dim of one number fails.
    Found by: more than one rank among the linear and 1×1 modules; 3×3 convolutions may have their own (conv_dim).
    Do: continue its training with --dim_from_weights; merge by a tool that reads each module's rank.
    Fault: rank 2 in the text encoder, 4 in the U-Net
    Instead: `--dim_from_weights` when training goes on
    Source: sd-scripts 48d368fa, read (dim_from_weights, resize_lora.py).
    """
    ranks = Counter(
        module.rank
        for module in lora.modules
        if module.rank and module.has_strength and not module.is_conv3x3 and not module.others
    )
    if len(ranks) > 1:
        shown = ", ".join(f"{rank} ({count})" for rank, count in sorted(ranks.items())[:6])
        yield report(
            lora.path,
            "ranks",
            f"Its modules have {len(ranks)} different ranks: {shown}.",
            "Nothing to do for drawing; use --dim_from_weights to train it further.",
        )


@rule("LOR014", "weights-not-finite", "error", since="0.2")
def weights_not_finite(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Weights are NaN or infinite: every picture drawn with the file is black or noise.

    Why: one NaN spreads over the whole picture. It comes from a loss that became NaN, or from weights too large for fp16
    (above 65,504 they become infinite).
    Found by: every value of lora_down and lora_up.
    Do: use a checkpoint from before the loss became NaN; train again with a lower learning rate or in bf16; save as fp32 if
    only the saved precision is too small.
    Fault: NaN in `lora_up`
    Instead: the checkpoint before the loss became NaN
    Source: field notes of a character LoRA (NaN loss: it learns nothing); diffusers#7563.
    """
    bad = [module for module in lora.modules if module.broken]
    if bad:
        yield report(
            lora.path,
            bad[0].name,
            f"{modules(lora, len(bad), 'holds', 'hold')} NaN or infinity: {some([module.name for module in bad])}.",
            "Use an earlier checkpoint; train again with a lower learning rate, bf16 or float32.",
        )


@rule("LOR015", "learned-nothing", "error", since="0.2")
def learned_nothing(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Modules are still at their start: up is all zero, so they change nothing.

    Why: training begins with up = 0. If it is still zero, no gradient reached the module: a learning rate of zero, a frozen
    part, a run that ended at once, or values too small for fp16. With clip skip 2 the text encoder's last layer gets no
    gradient: its six modules are zero in every sound file, and so are those of SDXL's first encoder.
    Found by: lora_up without a single value other than zero, where the text layers that clip skip leaves out do not count. An
    error when all modules are so, else a warning.
    Do: see that the learning rates of both parts are above zero and that the file is not the one saved at step 0.
    Fault: every `lora_up` zero
    Instead: a file saved after learning began, at rates above 0
    Source: sd-scripts 48d368fa, measured (clip skip 2: six modules saved with up = 0).
    """
    zero = [module for module in lora.modules if module.idle]
    if zero and len(zero) == len(lora.modules):
        yield report(
            lora.path,
            zero[0].name,
            f"All {len(zero)} modules are zero: the file changes nothing.",
            "See that the learning rate is above zero and training ran; then train again.",
        )
        return
    idle = [module for module in zero if not _left_out_by_clip_skip(lora, module)]
    if idle:
        text = sum(module.is_text for module in idle)
        part = (
            "all in the text encoder"
            if text == len(idle)
            else "all in the U-Net"
            if not text
            else "in both parts"
        )
        yield report(
            lora.path,
            idle[0].name,
            f"{modules(lora, len(idle), 'is', 'are')} zero and change nothing, {part}: "
            f"{some([module.name for module in idle])}.",
            "If they were meant to be trained, see that their learning rate is above zero.",
            severity="warning",
        )


def _left_out_by_clip_skip(lora: LoraFacts, module: ModuleFact) -> bool:
    """Tell whether a text module lies in a layer that clip skip 2 (or what the metadata say) leaves without gradient."""
    if module.text_layer is None:
        return False
    prefix = re.split(r"layers[._]\d+", module.name)[0]
    layers = [other.text_layer or 0 for other in lora.modules if other.name.startswith(prefix)]
    skip = lora.number("ss_clip_skip")
    left_out = max(int(skip) - 1, 1) if skip is not None and skip >= 2 else 1
    return module.text_layer > max(layers) - left_out


@rule("LOR016", "double-size", "hint", since="0.2")
def double_size(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """The weights are stored in float32: twice the size for no visible gain.

    Why: drawing programs compute in half precision anyway. A rank-32 LoRA of SD 1.5 takes 72 MB in float32 and 36 MB in fp16.
    Found by: more than half of the bytes are F32 or F64.
    Do: save with --save_precision=fp16 (or bf16); keep float32 only to train it further.
    Fault: `--save_precision=float`
    Instead: `--save_precision=fp16`
    Source: field notes of a character LoRA (72 MB a checkpoint with --save_precision=float).
    """
    total = sum(lora.dtypes.values())
    wide = lora.dtypes.get("F32", 0) + lora.dtypes.get("F64", 0)
    if lora.is_lora and wide > total / 2 and total >= 1 << 20:
        yield report(
            lora.path,
            "precision",
            f"Its weights are float32 ({disk_size(lora.num_bytes)}); in fp16 they take about half of that.",
            "Save it as fp16 or bf16 for drawing; keep float32 only if you train it further.",
        )


@rule("LOR017", "weights-exploded", "warning", since="0.2")
def weights_exploded(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """A module changes its layer by more than the layer's own weights: it replaces rather than adapts.

    Why: a LoRA is meant to be a small change. Where ‖up · down · alpha / rank‖ exceeds the norm of a freshly initialised
    layer of that shape, √(outputs / 3), pictures burn: harsh contrast, noise, and only low strengths are usable. It comes
    from a learning rate too high for its optimizer, or from training far too long.
    Found by: the Frobenius norm of each module's change against √(outputs / 3), which is 10 for 320 and 21 for 1,280 outputs
    (weights uniform within ±1/√fan-in).
    Do: use an earlier checkpoint, or draw at a lower strength; train again at a lower rate, or with --scale_weight_norms=1.
    Fault: one module that changes its layer by 200 times its weights
    Instead: an earlier checkpoint, or a lower rate
    Source: norm of PyTorch's default initialisation; sd-scripts' scale_weight_norms, read.
    """
    large = [
        (module, module.norm / module.fresh_norm)
        for module in lora.modules
        if module.norm is not None and module.fresh_norm and module.norm > module.fresh_norm
    ]
    if large:
        worst, ratio = max(large, key=lambda found: found[1])
        yield report(
            lora.path,
            worst.name,
            f"{modules(lora, len(large), 'changes', 'change')} their layers by more than a layer's own weights; the "
            f"strongest by {ratio:.1f} times ({worst.name}, norm {worst.norm:.3g}).",
            "Use an earlier checkpoint or a lower strength; train again with a lower learning rate.",
        )


@rule("LOR020", "metadata-contradict-tensors", "warning", since="0.2")
def metadata_contradict(lora: LoraFacts, report: Report) -> Iterator[Finding]:
    """Rank or alpha in the metadata are not those of the tensors.

    Why: trainers that continue it, and tools that merge or list it, believe the metadata. It happens when a file was resized
    or merged and kept its old metadata.
    Found by: ss_network_dim against the most frequent rank of linear modules, ss_network_alpha against their alpha. Files with
    several ranks are not compared, nor are alphas that a merge folded into the weights (alpha = rank).
    Do: trust the tensors; write the metadata anew when you save it.
    Fault: `ss_network_dim` 32 for tensors of rank 4
    Instead: `ss_network_dim` 4
    Source: sd-scripts 48d368fa, read (ss_network_dim, resize_lora.py).
    """
    plain = [
        module
        for module in lora.modules
        if module.rank and module.has_strength and not module.is_conv3x3 and not module.others
    ]
    ranks = {module.rank for module in plain}
    dim, told_alpha = lora.number("ss_network_dim"), lora.number("ss_network_alpha")
    if len(ranks) != 1:
        return
    rank = next(iter(ranks))
    if dim is not None and dim != rank:
        yield report(
            lora.path,
            "ss_network_dim",
            f"Its metadata say rank {dim:g}, its tensors have rank {rank}.",
            "Trust the tensors; save it with its own metadata.",
        )
    alphas = {
        round(module.alpha, 4) for module in plain if module.alpha is not None and math.isfinite(module.alpha)
    }
    if (
        told_alpha is not None
        and len(alphas) == 1
        and alphas != {round(told_alpha, 4)}
        and alphas != {float(rank or 0)}
    ):
        yield report(
            lora.path,
            "ss_network_alpha",
            f"Its metadata say alpha {told_alpha:g}, its tensors have {next(iter(alphas)):g}.",
            "Trust the tensors; save it with its own metadata.",
        )
