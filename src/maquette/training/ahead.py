"""Work for coming steps, done on other threads while a step computes: reading and decoding give the processor free."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
THREADS = 2
MOST_AHEAD = 16
"""Pieces of work that are begun before they are asked for: of decoded pictures as many megabytes each as megapixels × 3."""


class Ahead(Generic[T]):
    """Pieces of work by name. What a piece returns or raises is the same as if it were done when it is asked for."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[Hashable, Future[T]] = {}

    @property
    def has_room(self) -> bool:
        """Whether more may be begun."""
        return len(self._begun) < MOST_AHEAD

    def begin(self, name: Hashable, work: Callable[[], T]) -> None:
        """Begin `work` unless it was begun before."""
        if name not in self._begun:
            self._pool = self._pool or ThreadPoolExecutor(THREADS, thread_name_prefix="ahead")
            self._begun[name] = self._pool.submit(work)

    def take(self, name: Hashable, work: Callable[[], T]) -> T:
        """Return what `work` returns: from the other thread where it was begun, else done now."""
        begun = self._begun.pop(name, None)
        return work() if begun is None else begun.result()

    def close(self) -> None:
        """Give up what was begun and nobody asked for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._begun.clear()
