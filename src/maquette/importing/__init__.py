"""Runs of other trainers as records: what their folders, logs and LoRA files say, and what nobody says."""
