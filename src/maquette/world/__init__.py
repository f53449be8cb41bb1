"""The small world: its drawings, its tiny base model, its judge. `pack` holds what ships, `recipe` how it was made."""
