"""Runs on disk: the folder of a run, its record, and records of older releases lifted to today's form."""
