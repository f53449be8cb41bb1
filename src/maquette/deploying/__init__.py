"""Deploy: a proven LoRA goes where its user draws with it.

run          a run's checkpoint or a bare file becomes a delivery
chosen       which checkpoint of a run goes out, and why
of_run       how a run's checkpoint is drawn, as its record tells
bare         what a file without its run tells of how it is drawn
bases        which base models a program has, for a file that names none
recipe       how a LoRA is meant to be drawn
release      naming, copying: a new name per release, never a file overwritten in place
sidecars     what model browsers, model managers and drawing programs read beside it
ledger       what was written before, so that a person's changes are never overwritten
folders      where a program looks for models, shared folders included
comfyui      install into a ComfyUI folder, with a workflow and a prompt template
webui        install into an AUTOMATIC1111 / Forge folder
diffusers_folder  write a folder that diffusers loads from, and the Hub shows
card         the model card: what it is, how it was judged, its known faults
telling      what the released file says of itself
workflows    the workflows of an installation, filled and with their slots open
slots        templates: which slots there are, how they are filled
posing       a pose taken over by a ControlNet
editor       a workflow in the format of ComfyUI's editor
nodes        the nodes that workflows use, and the check of any workflow against a node table
places       where drawing programs are on this computer: used before, or found
servers      how running programs are reached
verify       what running programs say about it
serving      a running ComfyUI draws it; its picture, kept and compared
queueing     one workflow queued, followed, fetched
comparing    a program's picture beside our own, with the LoRA and without
"""
