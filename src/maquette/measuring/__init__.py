"""Measure: what drawn pictures are worth, in numbers that say how sure they are.

looks        the record of what was drawn: columns (a checkpoint at a strength), prompts with their roles, pictures
protocol     what a measure is, and what a measurer does
references   which pictures say who the subject is
embedder     pictures as an encoder's rows; world, identity, variety, drift, copying, technical: the measurers
memorization gains on training pictures beside gains on held-out ones
measure      a look's pictures scored by measurers
headlines    the numbers of a scorecard: a measure over the prompts of some roles
scorecards   one card a column: every headline with its interval, between the base's floor and the references' ceiling
tables       scores as arrays, and how sure any number made of them is
statistics   means with 95 % intervals over prompts and seeds
"""
