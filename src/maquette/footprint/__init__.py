"""What a run takes: memory, time and disk, from the layout of the model and the size of the work."""
