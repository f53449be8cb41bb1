"""The tour: the whole way from pictures to an installed LoRA and a report, on the small world.

tour     the stages one after the other, each by the code of a real run
project  the project folder that the tour trains: pictures, captions, maquette.toml
options  what the tour is asked for
judging  what the small world's judge measures in a first look
"""
