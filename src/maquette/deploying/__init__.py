"""Deploy: a proven LoRA goes where its user draws with it.

release      naming, copying and sidecars: a new name per release, never a file overwritten in place
comfyui      install into a ComfyUI folder, with a workflow and a prompt template
webui        install into an AUTOMATIC1111 / Forge folder
workflow     the drawing workflow in ComfyUI's API format
nodes        the nodes that the workflow uses, and the check of any workflow against a node table
server       the same check against a running ComfyUI
"""
