"""`[subject]`: who or what the LoRA learns."""

from __future__ import annotations

from pydantic import Field

from maquette.project.fields import Section


class SubjectSettings(Section):
    """`[subject]`: who or what the LoRA learns."""

    trigger: str = Field(
        "",
        description="The invented word that means the subject. Needed to name it in prompts and in the deployed workflow.",
    )
    class_word: str = Field("", description="The ordinary word for it: man, dog, anime character.")
