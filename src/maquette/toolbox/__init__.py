"""Tools for LoRA files: look at them, convert, merge, resize, extract, compare, strip, prune."""
