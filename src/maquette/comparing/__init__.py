"""Runs beside one another: what differs between two, which there are, whether one can be made again."""
