"""LoRA: layers with a trial axis, their place in a model, their files.

`config` and `metadata` need no torch; `layer`, `adapter`, `files` and `formats` do.
"""
