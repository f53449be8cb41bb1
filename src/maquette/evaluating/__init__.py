"""Evaluate: what a LoRA draws, and what that is worth.

first_look   fixed prompts and seeds without the LoRA and with every checkpoint
base         the base model of a run, as it trained with it
grid         a first look as one picture
verdict      what the numbers say: learned or not, and what speaks against it
report       everything about a run as one self-contained HTML page
             (facts, drawn_sections, comparison, run_sections, words, charts, page)
run          an evaluation: what is asked for (asked, files, suites, prompt_files), drawn, measured and reported
"""
