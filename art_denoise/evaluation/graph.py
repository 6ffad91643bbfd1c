"""Work as a graph of tasks, each known by what it is made of: keys exist before any result does."""

from __future__ import annotations

import abc
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from art_denoise.evaluation.experiment import Component, Preprocessor
from art_denoise.evaluation.origins import code_of, modules_of
from art_denoise.evaluation.source import code_digest

if TYPE_CHECKING:
    from pathlib import Path

    from art.estimators.classification import PyTorchClassifier

    from art_denoise.attacks.perturbation import Perturbation
    from art_denoise.choices import DeviceType
    from art_denoise.data.sets import Split
    from art_denoise.evaluation.artefact import Artefact
    from art_denoise.evaluation.images import Images
    from art_denoise.models.find import Model

#: This module says what tasks are, not what they do: see :mod:`art_denoise.evaluation.source`.
PART_OF_NO_RESULT = True


@dataclass(frozen=True)
class Environment:
    """What of the machine can change a result.

    :param device: Kind of device: name of the GPU, or "cpu" with what instructions it has.
    :param torch: Version of PyTorch.
    :param threads: Threads on a CPU, which decide in what order sums are taken; 0 on a GPU.
    """

    device: str
    torch: str
    threads: int


@dataclass(frozen=True)
class Work:
    """What a task takes, for a plan and for the order in which tasks are done.

    :param stage: What kind of work it is, as a plan names it.
    :param network: Name of the network that images go through; None for none.
    :param forward: Images that are classified.
    :param backward: Images that a gradient is taken for, each with a forward pass of its own.
    :param through: Preprocessors that all of them go through.
    """

    stage: str
    network: str | None = None
    forward: float = 0.0
    backward: float = 0.0
    through: tuple[Preprocessor, ...] = ()


@dataclass(frozen=True)
class Task(abc.ABC):
    """A piece of work as a value: a frozen dataclass whose fields are its parameters and the tasks that it needs.

    The key is a digest of the code that `run` depends on, of the parameters and of the keys of what is needed. It moves
    if, and only if, something does that can change the result. A field that cannot is declared with `compare=False`.
    """

    #: Folder of the store that its artefact is kept in.
    folder: ClassVar[str]

    #: Whether its artefact is kept with the run; else in the user's cache, for all runs.
    of_run: ClassVar[bool] = True

    #: Whether it can do without what is absent among its inputs.
    tolerates_absent: ClassVar[bool] = False

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return key_of(self)

    @property
    def inputs(self) -> tuple[Task, ...]:
        """The tasks that this one needs, wherever they are among its fields."""
        return tuple(_tasks_in(getattr(self, f.name) for f in fields(self)))

    def modules(self) -> tuple[str, ...]:
        """Return the names of the modules whose code, and whose imports' code, `run` depends on."""
        return (type(self).__module__,)

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What it does, for messages: "Craft δ on VGG16"."""

    @property
    @abc.abstractmethod
    def work(self) -> Work:
        """What it takes."""

    @abc.abstractmethod
    def run(self, on: Place) -> Artefact:
        """Do the work.

        :param on: Where it is done: images, networks, and the artefacts of the tasks that this one needs.
        """


@dataclass(frozen=True)
class Resource(Task):
    """Something that tasks need and that is not kept, as a network that is built: it is what its inputs make it."""

    folder: ClassVar[str] = ""

    @property
    def work(self) -> Work:
        return Work("")

    def run(self, on: Place) -> Artefact:
        raise TypeError(f"{type(self).__name__} is built where it is needed, not run")


@dataclass(frozen=True)
class Network(Resource):
    """A network as results depend on it.

    :param name: Its name among the networks of a run.
    :param identity: Digits that change with its weights, if it is not trained here.
    :param code: Name of the module that builds it.
    :param weights: How it is trained, if it is.
    :param environment: The machine.
    """

    name: str = field(compare=False)
    identity: str
    code: str
    environment: Environment
    weights: Task | None = None

    def modules(self) -> tuple[str, ...]:
        return (self.code,)

    @property
    def title(self) -> str:
        return self.name


class Place(Protocol):
    """Where a task is done: what it may ask for."""

    @property
    def device_type(self) -> DeviceType:
        """Whether a GPU is used if there is one."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of an image, (3, H, W)."""

    @property
    def told(self) -> Callable[[int], object]:
        """Is told how many steps of the task are done since it was told last."""

    @property
    def expects(self) -> Callable[[int], object]:
        """Is told of how many steps, before the first."""

    def split(self, images: Images) -> Split:
        """Return images."""

    def model(self, network: Network) -> Model:
        """Return a network that is not built."""

    def classifier(self, network: Network, *, half: bool = False) -> PyTorchClassifier:
        """Return a network, built; in half precision, if asked for."""

    def batch_size(self, network: Network) -> int:
        """Return how many images are scored at once."""

    def given(self, source: str) -> Perturbation:
        """Return the perturbation from a file, by name of its column."""

    def artefact(self, task: Task) -> Artefact:
        """Return what a task made that this one needs."""

    def perturbation(self, task: Task) -> Perturbation:
        """Return the perturbation that a task made."""

    def checkpoint(self, task: Task) -> Path:
        """Return the file in which a task may keep how far it has come."""

    def begin_anew(self, task: Task) -> None:
        """Forget how far a task has come."""

    def so_far(self, task: Task) -> Artefact | None:
        """Return how far a task had come when it was interrupted, or None."""

    def keep_so_far(self, task: Task, artefact: Artefact) -> None:
        """Keep how far a task has come."""


def key_of(value: Task) -> str:
    """Return the key of a task: 16 hexadecimal digits."""
    made_of = [type(value).__name__, code_digest(value.modules()), _fields(value)]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: tasks by their keys, components with the code that is not this package's."""
    if isinstance(value, Task):
        return value.key
    if isinstance(value, Component):
        return [type(value).__name__, *_fields(value), code_of(value), code_digest(modules_of(value))]
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return [type(value).__name__, *_fields(value)]
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    return value


def _fields(value: Any) -> list[Any]:
    return [[f.name, _plain(getattr(value, f.name))] for f in fields(value) if f.compare]


def _tasks_in(values: Iterable[Any]) -> Iterator[Task]:
    for value in values:
        if isinstance(value, Task):
            yield value
        elif isinstance(value, tuple):
            yield from _tasks_in(value)
        elif is_dataclass(value):
            yield from _tasks_in(getattr(value, f.name) for f in fields(value))


def closure(wanted: Iterable[Task]) -> dict[str, Task]:
    """Return what is wanted and all that it needs, by key, each after what it needs itself."""
    return _collected(wanted, lambda task: False)


def to_do(wanted: Iterable[Task], is_there: Callable[[Task], bool]) -> dict[str, Task]:
    """Return the tasks that have to be done for what is wanted, by key, each after those that it needs.

    :param wanted: Tasks whose artefacts are wanted.
    :param is_there: Says of a task whether its artefact is there: what only that would need has not to be done.
    """
    found = _collected(wanted, lambda task: not isinstance(task, Resource) and is_there(task))
    return {key: task for key, task in found.items() if not isinstance(task, Resource)}


def _collected(wanted: Iterable[Task], left_out: Callable[[Task], bool]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    seen: set[str] = set()

    def visit(task: Task) -> None:
        if task.key not in seen:
            seen.add(task.key)
            if not left_out(task):
                for other in task.inputs:
                    visit(other)
                found[task.key] = task

    for task in wanted:
        visit(task)
    return found
