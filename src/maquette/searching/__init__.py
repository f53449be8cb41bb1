"""Many settings tried over one base: the space, what is refused of it, the study, its trials and its answer.

records        the study as it is written down
space          what is searched, what a proposal means; space_file reads it, default_space writes the usual one
names          by which names spaces and conditions speak of settings
expressions    conditions as a line of TOML
constraints    what is never trained, and why
basis          what all trials share: the project as trials have it, its base, its pictures
sampling       who proposes
halving        who goes on at a rung
storage        where the database lies
study          proposals, and what became of them
director       what the pack is told to train
verdict        whether the best beats the baseline by more than seed noise
"""
