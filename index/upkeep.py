"""Work that nobody waits for: one piece at a time, in a thread beside whoever asked for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from rag.errors import CollectionError

__all__ = ["Upkeep"]

_LOG = logging.getLogger(__name__)


class Upkeep:
    """Runs a piece of work in a thread when asked; once more where it is asked again meanwhile.

    The thread holds the program open until it is done: who ends with a program that was about to train an index would
    find it untrained at the next start, and at every start after. What fails is logged, and due again the next time.
    """

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        self._work = work
        self._name = name
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_asked = False

    def ask(self) -> None:
        """Have the work done; returns at once."""
        with self._guard:
            self._is_asked = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name)
                self._thread.start()

    def wait(self) -> None:
        """Return when nothing is left to do. A thread of the work itself does not wait for itself."""
        while (thread := self._thread) is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._is_asked:
                    self._thread = None
                    return
                self._is_asked = False
            try:
                self._work()
            except (CollectionError, OSError) as error:  # a full disk, a collection that was deleted meanwhile
                _LOG.warning("%s: %s", self._name, error)
            except BaseException:
                with self._guard:
                    self._thread = None
                raise
