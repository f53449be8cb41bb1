"""The tour: the whole way from pictures to an installed LoRA and a report, on the small world.

tour     the stages one after the other, each by the code of a real run
project  the project folder that the tour trains: pictures, captions, maquette.toml
judging  what the small world's judge measures in a first look
"""

from maquette.demo.tour import DemoResult, run_demo

__all__ = ["DemoResult", "run_demo"]
