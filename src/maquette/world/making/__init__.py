"""How the small world's pack is made: one module a stage, called in order by `maquette.world.recipe`."""
