"""The root command: names and summaries only, so that `maquette --help` answers at once."""

from __future__ import annotations

import importlib
import keyword
import time

import click

from maquette import __version__

# When the process began to run our code: `start_to_first_step_s` counts from here.
STARTED = time.perf_counter()

COMMANDS = {
    "demo": "Run the whole way on the small world and end with a report.",
    "init": "Make a project folder from pictures and a base model.",
    "curate": "Sort pictures into kept, rejected and to review; nothing is deleted.",
    "caption": "Write captions under a strategy, from a model, a server, a tagger or templates.",
    "masks": "Make masks, so that training learns the subject and leaves the room alone.",
    "regularize": "Draw regularization pictures of the class from the base model.",
    "check": "Find the known mistakes before they cost GPU time.",
    "undo": "Take back the last change of captions, masks, repairs, decisions or copies.",
    "plan": "Say what a run will take: steps, checkpoints, memory, time, disk.",
    "train": "Train a LoRA from a project or from flags alone; resume; --smoke proves the device.",
    "search": "Try many settings at once over one base; say which are best and how sure that is.",
    "evaluate": "Draw with every checkpoint of a run and write its report.",
    "select": "Choose the best checkpoint and strength of a run, say why and how sure that is.",
    "compare": "Put evaluated runs side by side, with what was changed between them.",
    "vote": "Judge pairs of pictures blindly, and let the votes count.",
    "validate": "Measure the loss of held-out pictures under checkpoints or any LoRA files.",
    "deploy": "Install a run's LoRA into ComfyUI with a workflow and a prompt template.",
    "runs": "List runs: base, trigger, steps, losses, what was decided.",
    "import": "Read the runs of another trainer, so that they can be compared and judged.",
    "note": "Write down what was decided about a run, and why.",
    "diff": "Say exactly what changed between two runs: settings, captions, pictures, environment.",
    "reproduce": "Train a run again from its record and compare the weights bit for bit.",
    "studio": "Open the page in your browser: pictures by keyboard, decisions, undo.",
    "auto": "Go the whole way of a project; what is fresh is skipped.",
    "queue": "Show and change the queue of jobs, which outlive window and terminal.",
    "watch": "Watch a job or a run live, also one that was started elsewhere.",
    "logs": "Show what a job printed, or what a run said.",
    "status": "Say how things stand: runner, jobs, memory, disk; for other programs too.",
    "models": "Look at base models.",
    "lora": "Look at LoRA files; convert, merge, resize, extract, compare, strip, prune them.",
}


class LazyGroup(click.Group):
    """A group that imports `maquette.cli.<name>` when its command is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = f"{name}_" if keyword.iskeyword(name) else name
        command: click.Command = importlib.import_module(f"maquette.cli.{module}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown command with the nearest known one."""
        from maquette.errors import did_you_mean

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            context.fail(f"No command '{args[0]}'. {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(context, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="maquette")
def maquette() -> None:
    """Turn a folder of pictures into a proven LoRA.

    Start with `maquette demo`, or with your own pictures:

    \b
      maquette init my-project --images pictures/ --base model.safetensors --trigger myword
      maquette train my-project
    """
