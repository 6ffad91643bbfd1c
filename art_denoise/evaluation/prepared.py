"""A run of which everything is found and nothing is computed: what a run and a plan begin with."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import platformdirs
import torch
from art.estimators.classification import PyTorchClassifier

import art_denoise
from art_denoise.choices import DeviceType
from art_denoise.data.sets import ImageSet
from art_denoise.data.splits import fingerprint
from art_denoise.evaluation.assembly import Assembly
from art_denoise.evaluation.components import check_components
from art_denoise.evaluation.engines import local
from art_denoise.evaluation.experiment import Experiment, Preprocessor
from art_denoise.evaluation.from_options import (
    Study,
    check_gradients,
    chosen_attacks,
    chosen_defences,
    drawing_in,
    table1,
)
from art_denoise.evaluation.graph import Network
from art_denoise.evaluation.images import Images
from art_denoise.evaluation.options import Fitting, Machine, Options, placed
from art_denoise.evaluation.preflight import IMAGES, IMAGES_OF_SOURCES
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.run_folder import read_choices
from art_denoise.evaluation.setting import Setting, choose_device, find_setting
from art_denoise.evaluation.tasks.check import CheckNetwork
from art_denoise.evaluation.tasks.network import Train, environment_here
from art_denoise.evaluation.workplace import Stores, Workplace

#: What a run folder must not hold otherwise: figures depend on it. Versions are told of, and never a reason to refuse.
_CHOICES = ("study", "options", "data", "models")


@dataclass(frozen=True)
class Prepared:
    """A run of which everything is found and nothing is computed.

    :param folder: The run folder.
    :param options: The choices, filled.
    :param machine: Where it is computed.
    :param study: Makes the experiment.
    :param device_type: "gpu" or "cpu".
    :param setting: Images, networks and columns.
    :param experiment: The experiment.
    """

    folder: Path
    options: Options
    machine: Machine
    study: Study
    device_type: DeviceType
    setting: Setting
    experiment: Experiment

    @classmethod
    def of(
        cls,
        folder: str | os.PathLike[str],
        options: Options,
        machine: Machine | None = None,
        study: Study = table1,
        *,
        download: bool = True,
        check: bool = True,
    ) -> Prepared:
        """Find what is asked for, and check that it fits, before anything takes long.

        :param download: Let torchvision download Imagenette if it is not there.
        :param check: Try defences and attacks; not where that has been done, as in the processes of a run.
        :raises ValueError: If something is not there, or does not fit.
        """
        options, machine = options.filled(), machine or Machine()
        device_type = choose_device(machine.device)
        threads = threads_of(options, machine, device_type)
        if threads is not None:
            torch.set_num_threads(threads)
        attacks, defences = chosen_attacks(options), chosen_defences(options)
        if check:
            check_components(defences, attacks)
        setting = find_setting(options, machine, attacks[0].attack, download=download)
        experiment = study(options, setting)
        if check:
            check_gradients(experiment, setting.target.input_size)
        return cls(Path(folder), options, machine, study, device_type, setting, experiment)

    @cached_property
    def jobs(self) -> int:
        """Number of processes."""
        if self.machine.jobs is not None:
            return self.machine.jobs
        small = self.options.on_photographs and self.device_type == "cpu"
        return (os.cpu_count() or 1) if small else 1

    @cached_property
    def drawing(self) -> dict[Preprocessor, Literal["seeded", "own"]]:
        """Which preprocessors draw at random, and how."""
        there = (p for row in self.experiment.conditions for p in row.defence.preprocessors)
        return drawing_in(there, self.setting.target.input_size)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every choice, version and fingerprint, JSON-like."""
        options = asdict(self.options)
        config: dict[str, Any] = {
            "study": self.study.__qualname__,
            "options": json.loads(json.dumps(options)),
            "data": self.setting.source.record(),
            "models": {
                name: model.weights_file.name if model.weights_file is not None else model.digest()
                for name, model in self.setting.models.items()
                if name not in self.setting.trained
            },
            "versions": versions(self.device_type),
        }
        if self.machine.mixed_precision:
            config["mixed_precision"] = True
        return config

    @property
    def stores(self) -> Stores:
        """Where artefacts are kept."""
        return Stores(self.folder, Path(platformdirs.user_cache_path("art_denoise")))

    def load(self, progress: bool) -> ImageSet:
        """Return the images; decode those that are not decoded yet."""
        return self.setting.source.load(
            self.setting.decoded_dir,
            skip_broken=self.options.skip_broken,
            workers=self.machine.workers,
            progress=progress,
        )

    def workplace(self, images: ImageSet, stores: Stores | None = None) -> Workplace:
        """Return where tasks are done in this process.

        :param stores: Where artefacts are kept, if not in the run folder.
        """
        return Workplace(
            images,
            self.setting.models,
            self.setting.given,
            self.setting.target.name,
            stores or self.stores,
            device_type=self.device_type,
            batch_size=self.machine.batch_size,
        )

    def images(self, loaded: ImageSet) -> dict[str, Images]:
        """Return the images by purpose as tasks know them."""
        return {
            purpose: Images(purpose, split.fingerprint, len(split), tuple(split.images.shape[1:]))
            for purpose, split in loaded.splits.items()
        }

    def networks(self, images: dict[str, Images]) -> dict[str, Network]:
        """Return the networks by name as tasks know them."""
        environment = environment_here(self.device_type)
        networks = {}
        for name, model in self.setting.models.items():
            weights, code = None, "art_denoise.models.find"
            if name in self.setting.trained:
                code, schedules = "art_denoise.models.photographs", self.options.schedules or {}
                weights = Train(name, images["train"], schedules[name], self.options.seed, environment, model.text)
            # By name, too: two functions of one file may have the same weights, and random weights the same seed.
            networks[name] = Network(name, f"{name} {model.digest()}", code, environment, weights)
        return networks

    def assembly(self, loaded: ImageSet) -> Assembly:
        """Return what makes the tasks of the experiment."""
        images = self.images(loaded)
        return Assembly(
            self.experiment,
            self.networks(images),
            images,
            {key: fingerprint(given.array) for key, given in self.setting.given.items()},
            Fitting.of(self.options),
            self.machine.mixed_precision,
            crafted_on(self.options),
            dict.fromkeys(self.drawing, self.options.draws),
            self.options.costs,
            self.options.quick,
        )

    def classifier(self, name: str) -> PyTorchClassifier:
        """Return one of the networks, trained now if it is to be and is not yet.

        :param name: Its name.
        """
        progress = self.machine.progress
        images = self.load(progress)
        network, workplace = self.networks(self.images(images))[name], self.workplace(images)
        outcome = local.run(network.inputs, self.stores, lambda: workplace, progress=progress)
        for failure in outcome.failures.values():
            raise RuntimeError(f"{failure.task.title}: {failure.error}")
        return workplace.classifier(network)

    def checks(self, assembly: Assembly) -> dict[str, CheckNetwork]:
        """Return the pre-flight checks by title of the network; networks trained on the images need none."""
        checks, titles = {}, {network.key: network.title for network in self.setting.networks}
        for name, model in self.setting.models.items() if self.options.preflight else ():
            if name in self.setting.trained:
                continue
            # Nothing is chosen by the check, so that any images will do; with few of them little can be told.
            images = assembly.images.get("tune", assembly.images["test"])
            if images.count < IMAGES_OF_SOURCES:
                images = max((i for p, i in assembly.images.items() if p != "train"), key=lambda i: i.count)
            # What is published is of ImageNet's own validation set.
            published = model.published if self.options.data == "imagenet" else None
            few = IMAGES if model is self.setting.target else IMAGES_OF_SOURCES
            checks[titles[name]] = CheckNetwork(
                assembly.networks[name], images, few, published, model.recipe is None, titles[name]
            )
        return checks


def threads_of(options: Options, machine: Machine, device_type: DeviceType) -> int | None:
    """Return with how many threads PyTorch computes; None: as many as it chooses itself.

    On the photographs without a GPU it is one, as processes share the work there: machines with other numbers of cores
    train the same networks, and print the same table.
    """
    if machine.threads is None and options.on_photographs and device_type == "cpu":
        return 1
    return machine.threads


def crafted_on(options: Options) -> dict[str, int]:
    """Return by name of a universal attack how many of the images for crafting it is crafted on, if not all."""
    return {} if options.deepfool_images is None else {"deepfool-uap": options.deepfool_images}


def holds_results(folder: Path) -> bool:
    return any(any(folder.glob(f"{part}/*.safetensors")) for part in ("labels", "perturbations", "images"))


def changes(folder: Path, config: dict[str, Any]) -> list[str]:
    """List where the choices of a run folder differ from others, as `name: value there, value now`.

    If its file of choices is damaged, those that stand with the results count; if there are none, nothing is known to
    differ, and what does not hold any more is computed anew, as its key is another.
    """
    try:
        found = read_choices(folder)
    except FileNotFoundError:
        return []
    except ValueError:
        found = Results.config_in(folder) or {}
    there = {name: found[name] for name in _CHOICES if name in found}
    if not there:
        return []
    here = json.loads(json.dumps({name: config[name] for name in _CHOICES}))
    if isinstance(there.get("options"), dict):
        old, new = placed(there["options"]), placed(here["options"])
        # The same place is no difference; of others it is told how they were written.
        there["options"] |= {name: here["options"][name] for name in old.keys() & new.keys() if old[name] == new[name]}
    return _differences(there, here)


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name}: {old} there, {new} now")
    return found


def versions(device_type: DeviceType) -> dict[str, Any]:
    """Return the versions of everything that a figure may depend on, and what of the machine does."""
    names = ("adversarial-robustness-toolbox", "torch", "torchvision", "numpy", "scikit-image", "pillow")
    return {
        "art_denoise": art_denoise.__version__,
        "python": platform.python_version(),
        **asdict(environment_here(device_type)),
        **{name: version(name) for name in names},
    }
