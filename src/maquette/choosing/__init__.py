"""Choose: which checkpoint of a run, at which strength, on what evidence, and when nobody can tell.

decide          the best column of an evaluation, its runner-up, and whether the difference is more than noise
pictures_needed how many more pictures would settle it
rivals          what the last checkpoint and the lowest losses would have chosen
suspicions      over-training, nothing learned, a trigger without its subject, a leak
probing         the captions' words drawn one by one, where the trigger alone does not draw the subject
reasons         the decision in words
race            few pictures of every checkpoint, more of those that are still in it
select          all of it, for a run or for the folder of an evaluation
bradley_terry   a person's pairs as strengths with intervals
vote            the page of pairs, and the votes that come back from it
compare         several runs side by side, with what was changed between them
"""
