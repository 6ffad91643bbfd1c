"""Tasks that only add, for tests of engines: in a module of their own, which other processes can import as well."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.engines import local
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.store import Store


@dataclass(frozen=True)
class Sum(Task):
    """Adds its number to the sum of what it needs."""

    folder: ClassVar[str] = "sums"
    number: int = 0
    of: tuple[Sum, ...] = ()
    what: str = field(default="", compare=False)
    tolerant: bool = False

    def modules(self):
        return ()

    @property
    def tolerates_absent(self):
        return self.tolerant

    @property
    def title(self):
        return f"add {self.number}"

    @property
    def work(self):
        return Work("Add", forward=10.0)

    def run(self, on):
        on.expects(10)
        on.told(5)
        if self.what == "raise":
            raise ZeroDivisionError("by nothing")
        if self.what == "absent":
            return Artefact.absent("there is nothing to add")
        if self.what == "die":
            os._exit(9)
        if self.what == "sleep":
            file = on.stores.of(self).file(self).with_suffix(".process")
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_suffix(".part")
            beside.write_text(str(os.getpid()))
            beside.rename(file)
            time.sleep(600)
        there = [a for a in (on.artefact(task) for task in self.of) if a.why_absent is None]
        total = self.number + sum(float(a.arrays["sum"][0]) for a in there)
        return Artefact({"process": os.getpid()}, {"sum": np.array([total])})


class Workplace:
    def __init__(self, stores):
        self.stores = stores

    def artefact(self, task):
        return self.stores.of(task).read(task)


class Stores:
    def __init__(self, folder: Path):
        self.store = Store(folder)

    def of(self, task):
        return self.store


def run(folder, wanted, *, progress=False, **kwargs):
    stores = Stores(folder)
    outcome = local.run(wanted, stores, partial(Workplace, stores), progress=progress, **kwargs)
    return outcome, stores.store


def tree() -> Sum:
    leaves = tuple(Sum(n) for n in range(1, 6))
    return Sum(100, (Sum(10, leaves[:3]), Sum(20, leaves[2:])))
