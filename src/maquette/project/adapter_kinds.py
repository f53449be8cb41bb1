"""The kinds of adapters that `[lora] adapter` names, in words; `lora/kinds/` says what each consists of."""

from __future__ import annotations

from collections.abc import Mapping

ADAPTER_KINDS: Mapping[str, str] = {
    "lora": "plain LoRA",
    "dora": "DoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "oft": "OFT",
}
DEFAULT_ADAPTER_KIND = next(iter(ADAPTER_KINDS))
