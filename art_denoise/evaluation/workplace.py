"""Where tasks are done: the images, the networks, and the stores, in one process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from safetensors import SafetensorError, safe_open

from art_denoise._files import set_aside
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.data.sets import ImageSet, Split
from art_denoise.evaluation.added import perturbation_of
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.batching import best_batch_size
from art_denoise.evaluation.graph import Task
from art_denoise.evaluation.half_precision import in_half_precision
from art_denoise.evaluation.images import Images
from art_denoise.evaluation.store import Store, read_artefact, write_artefact
from art_denoise.models import Model

if TYPE_CHECKING:
    from art_denoise.choices import DeviceType
    from art_denoise.evaluation.graph import Network


class Stores:
    """Where artefacts are kept: those of the run in its folder, those for all runs in the user's cache.

    :param run: The run folder.
    :param cache: The user's cache folder of this package.
    """

    def __init__(self, run: Path, cache: Path) -> None:
        self.run, self.cache = Store(run), Store(cache)

    def of(self, task: Task) -> Store:
        """Return the store that a task's artefact is kept in."""
        return self.run if task.of_run else self.cache

    def __contains__(self, task: Task) -> bool:
        return task in self.of(task)


class Workplace:
    """Where tasks are done.

    :param images: The images.
    :param models: The networks by name.
    :param given: Perturbations from files, by name of their column.
    :param target: Name of the network whose accuracy is reported: it is kept when others are let go of.
    :param stores: Where artefacts are kept.
    :param device_type: "gpu" (falls back to the CPU) or "cpu".
    :param batch_size: Images that are scored at once; None: see :func:`best_batch_size`.
    """

    def __init__(
        self,
        images: ImageSet,
        models: Mapping[str, Model],
        given: Mapping[str, Perturbation],
        target: str,
        stores: Stores,
        *,
        device_type: DeviceType,
        batch_size: int | None = None,
    ) -> None:
        self._images, self._models, self._given, self._target = images, models, given, target
        self.stores, self.device_type, self._batch_size = stores, device_type, batch_size
        self._built: dict[tuple[str, bool], PyTorchClassifier] = {}
        self._sizes: dict[str, int] = {}
        #: Is told how many steps of a task are done since it was told last, and first of how many.
        self.told: Callable[[int], object] = lambda count: None
        self.expects: Callable[[int], object] = lambda count: None

    def model(self, network: Network) -> Model:
        """Return a network that is not built."""
        return self._models[network.name]

    def classifier(self, network: Network, *, half: bool = False) -> PyTorchClassifier:
        """Return a network, built.

        The target is kept, and of others the last one: VGG networks are half a gigabyte each.
        """
        wanted = network.name, half
        if wanted not in self._built:
            for other in [key for key in self._built if key[0] not in (self._target, network.name)]:
                del self._built[other]
                gc.collect()  # an ART classifier refers to itself
            if half:
                self._built[wanted] = in_half_precision(self.model(network), self.classifier(network))
            else:
                self._built[wanted] = self._build(network)
        return self._built[wanted]

    def _build(self, network: Network) -> PyTorchClassifier:
        model = self.model(network)
        if network.weights is None:
            return model.classifier(self.device_type)
        trained = model.sketch()
        state = self.artefact(network.weights).arrays
        trained.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
        return model.classifier(self.device_type, network=trained.eval())

    def split(self, images: Images) -> Split:
        """Return images.

        :raises ValueError: If they are not those that are asked for.
        """
        split = self._images.splits[images.purpose]
        if split.fingerprint != images.fingerprint:
            raise ValueError(f"the images for {images.purpose} have changed while the run was going on: start it again")
        return split

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of an image, (3, H, W)."""
        channels, height, width = self._images.test.images.shape[1:]
        return channels, height, width

    def given(self, source: str) -> Perturbation:
        """Return the perturbation from a file, by name of its column."""
        return self._given[source]

    def artefact(self, task: Task) -> Artefact:
        """Return what a task made.

        :raises LookupError: If it is not there any more: damaged while the run was going on.
        """
        found = self.stores.of(task).read(task)
        if found is None:
            raise LookupError(f"the result of “{task.title}” is gone: start the run again, which computes it anew")
        return found

    def perturbation(self, task: Task) -> Perturbation:
        """Return the perturbation that a task made."""
        return perturbation_of(self.artefact(task))

    def batch_size(self, network: Network) -> int:
        """Return how many images are scored at once."""
        if self._batch_size is not None:
            return self._batch_size
        if network.name not in self._sizes:
            self._sizes[network.name] = best_batch_size(self.classifier(network), self._images.test)
        return self._sizes[network.name]

    def checkpoint(self, task: Task) -> Path:
        """Return the file in which a task may keep how far it has come.

        :warns RuntimeWarning: If one was there that cannot be read: it has been set aside, and the task begins anew.
        """
        store = self.stores.of(task)
        file = store.checkpoint(task)
        if file.is_file():
            try:
                with safe_open(file, framework="np"):
                    pass
            except (SafetensorError, OSError) as error:
                set_aside(file, f"it cannot be read: {' '.join(str(error).split())[:120]}")
        return file

    def begin_anew(self, task: Task) -> None:
        """Forget how far a task has come, as that is damaged or of something else.

        :warns RuntimeWarning: That it is, and where it is now.
        """
        for file in self.stores.of(task).checkpoints(task):
            set_aside(file, "it is not what was written, or of something else")

    def so_far(self, task: Task) -> Artefact | None:
        """Return how far a task had come when it was interrupted, or None.

        :warns RuntimeWarning: As :meth:`checkpoint`.
        """
        file = self.checkpoint(task)
        try:
            return read_artefact(file, task.key)
        except FileNotFoundError:
            return None
        except ValueError as error:
            set_aside(file, str(error))
            return None

    def keep_so_far(self, task: Task, artefact: Artefact) -> None:
        """Keep how far a task has come."""
        write_artefact(self.checkpoint(task), task.key, artefact)
