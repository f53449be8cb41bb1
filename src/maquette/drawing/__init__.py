"""Pictures from a base model and its adapters: one batch for many checkpoints, the samples of a run."""
