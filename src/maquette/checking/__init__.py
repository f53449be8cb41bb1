"""Rules over anything: a project, a kohya folder or TOML, a command line, a log, a LoRA file."""
