"""Measure: what drawn pictures are worth, in numbers that say how sure they are.

looks        the record of what was drawn: columns (a checkpoint at a strength), prompts with their roles, pictures
protocol     what a measure is, and what a measurer does
measure      a look's pictures scored by measurers
headlines    the numbers of a scorecard: a measure over the prompts of some roles
scorecards   one card a column: every headline with its interval, between the base's floor and the references' ceiling
statistics   means with 95 % intervals over prompts and seeds
"""
