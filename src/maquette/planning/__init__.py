"""What a run will take before it runs: steps, checkpoints, memory, time, disk; presets and migration."""
