"""Captions under the subject's strategy, from taggers, vision-language models, servers, templates and palettes."""
