"""Many settings tried over one base: the space, what is refused of it, the study, its trials and its answer."""
