"""The LoRA toolbox."""
