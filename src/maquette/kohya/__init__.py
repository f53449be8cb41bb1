"""sd-scripts, read from outside: its options and defaults, commands, shells."""
