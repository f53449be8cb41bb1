"""Files of other programs: told by their content, read into the same record as our own where that pays."""
