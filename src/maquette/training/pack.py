"""A pack: many independent trials over one frozen base in one process, each as if it were trained alone.

Each trial is a lane of its own: its settings, order of pictures, batches, captions, length and seed are what its own training
would see, from its own first step. Who trains what, and for how long, is a director's: it is asked for trials whenever places
are free, told every measurement, and may end a trial there.
"""

from __future__ import annotations

import traceback
from contextlib import closing
from typing import TYPE_CHECKING

from maquette.errors import MaquetteError
from maquette.project.settings import Settings
from maquette.stopping import Stop, Stopped, stoppable
from maquette.training.directing import Director, PackResult, PackTrial

if TYPE_CHECKING:
    from maquette.events import Stage
    from maquette.training.outputs import SampleDrawer
    from maquette.training.prepare import Judge

__all__ = ["Director", "PackResult", "PackTrial", "run_pack"]


def run_pack(
    shared: Settings,
    director: Director,
    *,
    places: int,
    judge: Judge,
    draw: SampleDrawer | None = None,
    stop: Stop | None = None,
) -> Stage[PackResult]:
    """Train what `director` hands out, at most `places` trials at once, until it hands out no more and all are through.

    `shared` says the base, the device and the precision, in which all trials agree. Raises Stopped where `stop` was asked;
    however it ends, every trial's state is saved. Killed and started again, each trial goes on from its newest state: to the
    same bits where trials meet in the same passes as before, else up to rounding.
    """
    from maquette.training.kernels import kernels_of
    from maquette.training.pack_loop import PackLoop

    pack = PackLoop(shared, director, places=places, judge=judge, draw=draw)
    with closing(pack), kernels_of(shared.training):
        try:
            return (yield from stoppable(pack.events(), stop))
        except Stopped:
            raise pack.end("stopped", stop.reason if stop else "") from None
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(str(pack.end("interrupted")))
            raise
        except GeneratorExit:
            pack.end("interrupted", "nobody listened any more")
            raise
        except BaseException as error:
            pack.write_log(traceback.format_exc())
            told = str(error) if isinstance(error, MaquetteError) else f"{type(error).__name__}: {error}"
            pack.end("failed", told)
            raise
