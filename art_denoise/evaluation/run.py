"""Run an experiment: find what is asked for, check it, do what has to be done, and return the results.

The order in which an image is treated: v0 → + δ, clip → + v_def → denoise, clip → standardise → classify. All after the
attack is done by the ART classifier itself, through its `preprocessing_defences`, as a user would do it.
"""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from art.estimators.classification import PyTorchClassifier

import art_denoise
from art_denoise._files import write_text
from art_denoise.choices import DeviceType
from art_denoise.data.sets import ImageSet
from art_denoise.data.splits import fingerprint
from art_denoise.evaluation.assembly import Assembly
from art_denoise.evaluation.building import build_chain, has_gradient
from art_denoise.evaluation.components import check_components, parse_attack, parse_defence, write_attack
from art_denoise.evaluation.engines import local
from art_denoise.evaluation.experiment import (
    Defence,
    Experiment,
    Knowledge,
    Threat,
    params,
)
from art_denoise.evaluation.graph import Task
from art_denoise.evaluation.images import Images
from art_denoise.evaluation.notation import read_component
from art_denoise.evaluation.options import Fitting, Machine, Options
from art_denoise.evaluation.preflight import IMAGES, IMAGES_OF_SOURCES
from art_denoise.evaluation.results import Examples, Results
from art_denoise.evaluation.results import Images as TestImages
from art_denoise.evaluation.setting import Setting, choose_device, find_setting
from art_denoise.evaluation.store import Lock
from art_denoise.evaluation.studies import lee2018
from art_denoise.evaluation.tasks.check import CheckNetwork
from art_denoise.evaluation.tasks.network import Environment, Network, Train
from art_denoise.evaluation.workplace import Stores, Workplace

#: What a run folder must not hold otherwise: figures depend on it. Versions are told of, and never a reason to refuse.
_CHOICES = ("options", "data", "models")

#: Makes an experiment for a setting.
Study = Callable[[Options, Setting], Experiment]


def table1(options: Options, setting: Setting) -> Experiment:
    """Return Table 1 of Lee, Park & Lee (2018) with these choices."""
    counts = setting.source.counts
    defences = chosen_defences(options)
    return lee2018.table1(
        setting.networks[0],
        [column.source for column in setting.columns],
        setting.networks,
        attacks=chosen_attacks(options),
        defences=defences,
        knows=[knowledge_of(defence, setting.target.input_size) for defence in defences],
        noise=counts.get("tune", 0) > 0 and counts.get("noise-fit", 0) > 0,
        knowing=bool(options.noise_knowing),
        paper_only=options.rows == "paper",
        sweep=options.sweep,
        seeds=range(options.seed, options.seed + options.seeds),
    )


def chosen_attacks(options: Options) -> list[Threat]:
    """Return the attacks: those that are asked for, or the two universal ones, with their parameters."""
    if options.attacks is not None:
        threats = []
        for text in options.attacks:
            threat = parse_attack(text)
            # Those that do not say how large they are, are as large as all.
            if "eps" not in read_component(text)[1]:
                threat = replace(threat, eps=options.eps)
            threats.append(_with_parameters(threat, options))
        return threats
    return [_with_parameters(replace(t, eps=options.eps), options) for t in (lee2018.DEEPFOOL, lee2018.SGD)]


def _with_parameters(threat: Threat, options: Options) -> Threat:
    """Return a universal attack with the parameters that the options have for it, where it has none of its own."""
    attack = threat.attack
    if attack.name == "deepfool-uap":
        ours = params(
            max_iter=options.craft_passes,
            batch_size=options.craft_batch_size,
            delta=1 - options.craft_until,
            attacker_params={"max_iter": options.craft_steps, "epsilon": options.craft_overshoot},
        )
    elif attack.name == "sgd-uap":
        ours = params(max_iter=options.sgd_passes, batch_size=options.sgd_batch_size)
    else:
        return threat
    return replace(threat, attack=replace(attack, params=params({**dict(ours), **dict(attack.params)})))


def chosen_defences(options: Options) -> list[Defence]:
    """Return the defences: those that are asked for, or the paper's two with their strengths."""
    if options.defences is not None:
        return [parse_defence(text) for text in options.defences]
    strengths = (("weight", options.rof_weight, lee2018.ROF), ("h", options.nlm_h, lee2018.NLM))
    return [
        Defence((defence.preprocessors[0].with_params(**{name: strength}),)) for name, strength, defence in strengths
    ]


def knowledge_of(defence: Defence, input_size: int) -> Knowledge:
    """Return what an attacker who knows a defence can differentiate: it exactly, or, if it has no gradient, by BPDA.

    :param defence: The defence. It is built, and tried if any of it is somebody else's.
    :param input_size: Height and width of the images.
    :raises ValueError: If it cannot be built, or fails for such images.
    """
    shape = (3, input_size, input_size)
    chain = build_chain(defence.preprocessors, device_type="cpu", input_shape=shape)
    return Knowledge.EXACT if has_gradient(chain, shape) else Knowledge.BPDA


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
    ) -> Prepared:
        """Find what is asked for, and check that it fits, before anything takes long.

        :param download: Let torchvision download Imagenette if it is not there.
        :raises ValueError: If something is not there, or does not fit.
        """
        options, machine = options.filled(), machine or Machine()
        device_type = choose_device(machine.device)
        if machine.threads is not None:
            torch.set_num_threads(machine.threads)
        attacks, defences = chosen_attacks(options), chosen_defences(options)
        check_components(defences, attacks)
        setting = find_setting(options, machine, attacks[0].attack, download=download)
        experiment = study(options, setting)
        _check_gradients(experiment, setting.target.input_size)
        return cls(Path(folder), options, machine, study, device_type, setting, experiment)

    @cached_property
    def jobs(self) -> int:
        """Number of processes."""
        if self.machine.jobs is not None:
            return self.machine.jobs
        small = self.options.on_photographs and self.device_type == "cpu"
        return (os.cpu_count() or 1) if small else 1

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every choice, version and fingerprint, JSON-like."""
        options = asdict(self.options)
        config: dict[str, Any] = {
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

    def workplace(self, images: ImageSet) -> Workplace:
        """Return where tasks are done in this process."""
        return Workplace(
            images,
            self.setting.models,
            self.setting.given,
            self.setting.target.name,
            self.stores,
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
        environment = Environment.here(self.device_type)
        networks = {}
        for name, model in self.setting.models.items():
            weights, code = None, "art_denoise.models.find"
            if name in self.setting.trained:
                code, schedules = "art_denoise.models.photographs", self.options.schedules or {}
                weights = Train(name, images["train"], schedules[name], self.options.seed, environment, model.text)
            networks[name] = Network(name, model.digest(), code, environment, weights)
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
        checks = {}
        for name, model in self.setting.models.items() if self.options.preflight else ():
            if name in self.setting.trained:
                continue
            # Nothing is chosen by the check, so that any images will do; with few of them little can be told.
            images = assembly.images.get("tune", assembly.images["test"])
            if images.count < IMAGES_OF_SOURCES:
                images = max((i for p, i in assembly.images.items() if p != "train"), key=lambda i: i.count)
            # What is published is of ImageNet's own validation set.
            published = model.published if self.options.data == "imagenet" else None
            few = images.first(IMAGES if model is self.setting.target else IMAGES_OF_SOURCES)
            checks[model.title] = CheckNetwork(
                assembly.networks[name], few, published, model.recipe is None, model.title
            )
        return checks


def _check_gradients(experiment: Experiment, input_size: int) -> None:
    """Raise if an attacker would need a gradient that a defence does not have."""
    for row in experiment.conditions:
        exact = row.threat is not None and row.threat.knowledge is Knowledge.EXACT
        if exact and row.defence.preprocessors and knowledge_of(row.defence, input_size) is not Knowledge.EXACT:
            raise ValueError(
                f"`knowledge` of {_written(row.threat)} is exact, and {row.defence.text} has no gradient of its own: "
                "use bpda, which takes the identity for it, or an attack that only asks, which is black-box"
            )


def _written(threat: Threat | None) -> str:
    return "no attack" if threat is None else write_attack(threat)


def run(
    folder: str | os.PathLike[str],
    options: Options,
    machine: Machine | None = None,
    study: Study = table1,
    *,
    change: bool = False,
) -> Results:
    """Run an experiment, using again what the folder and the cache already hold.

    :param folder: Run folder; made if there is none.
    :param options: Every choice that figures depend on.
    :param machine: Where and with what it is computed.
    :param study: Makes the experiment: Table 1 by default. With several processes, a function that can be imported.
    :param change: Whether a folder that holds a run with other choices goes on with these. What does not depend on the
        change is used again, and what was there stays.
    :return: The results; what failed on the way is in `missing` and `failures`, everything else is there.
    :raises ValueError: If the folder holds a run with other choices and `change` is False, another process is at work
        in it, a pre-flight check fails, or something asked for is not there or does not fit.
    :raises OSError: If something cannot be read, downloaded or written.
    """
    prepared = Prepared.of(folder, options, machine, study)
    with ExitStack() as stack:
        _open(prepared, change, stack)
        progress = prepared.machine.progress
        prepared.setting.fetch(progress)
        images = prepared.load(progress)
        assembly = prepared.assembly(images)
        checks = prepared.checks(assembly)
        scores, examples = assembly.scores(), assembly.examples()
        do = partial(
            local.run,
            stores=prepared.stores,
            make_workplace=partial(_workplace, prepared.folder, prepared.options, prepared.machine, study),
            jobs=prepared.jobs,
            threads=torch.get_num_threads(),
            progress=progress,
        )
        # In this process: what a network does not do right is told before others are started.
        failed = do(list(checks.values()), jobs=1).failures
        if failed:
            raise ValueError(next(iter(failed.values())).error)
        wanted: list[Task] = [*scores.values(), *([examples] if examples is not None else [])]
        outcome = do(wanted)
        return _collected(prepared, assembly, images, outcome, checks)


def _workplace(folder: Path, options: Options, machine: Machine, study: Study) -> Workplace:
    """Return a workplace in a process of its own, which finds everything for itself."""
    prepared = Prepared.of(folder, options, replace(machine, threads=None, progress=False), study)
    return prepared.workplace(prepared.load(False))


def _open(prepared: Prepared, change: bool, stack: ExitStack) -> None:
    """Take the run folder for this process and say in it what it is of."""
    folder, file = prepared.folder, prepared.folder / "config.json"
    differences = changes(folder, prepared.config)
    if differences and not change and _holds_results(folder):
        raise ValueError(
            f"{folder} holds a run with other choices ({'; '.join(differences)}): choose another folder, or allow the "
            "`change`, which computes anew what depends on it"
        )
    try:
        stack.enter_context(Lock(folder))
    except OSError as error:
        # A finished run in an archive can be shown; what has to be written there says itself that it cannot.
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM) or not _holds_results(folder):
            raise
        return
    prepared.stores.run.clean()
    _write_if_other(file, json.dumps(prepared.config, indent=2) + "\n")
    listing = prepared.setting.source.listing()
    if listing:
        _write_if_other(folder / "splits.json", json.dumps(listing))


def _write_if_other(file: Path, text: str) -> None:
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        write_text(file, text)


def _holds_results(folder: Path) -> bool:
    return any(any(folder.glob(f"{part}/*.safetensors")) for part in ("labels", "perturbations", "images"))


def changes(folder: Path, config: dict[str, Any]) -> list[str]:
    """List where the choices of a run folder differ from others, as `name: value there, value now`.

    :raises ValueError: If the folder's file of choices is damaged.
    """
    file = folder / "config.json"
    if not file.is_file():
        return []
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
        there = {name: there[name] for name in _CHOICES if name in there}
    except (ValueError, TypeError, AttributeError) as error:
        if not _holds_results(folder):
            return []
        raise ValueError(f"{file} is damaged: choose another folder, or delete this file to go on here") from error
    here = json.loads(json.dumps({name: config[name] for name in _CHOICES}))
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


def _collected(
    prepared: Prepared, assembly: Assembly, images: ImageSet, outcome: local.Outcome, checks: dict[str, CheckNetwork]
) -> Results:
    """Return what a run has found, and write it down."""
    stores, scores = prepared.stores, assembly.scores()
    labels, missing, keys, absent = {}, {}, {}, set()
    for cell, score in scores.items():
        artefact = stores.of(score).read(score)
        if artefact is None:
            missing[cell] = outcome.why(score) or "it was not computed"
        elif artefact.why_absent is not None:
            missing[cell] = artefact.why_absent
            absent.add(cell)
        else:
            labels[cell], keys[cell] = artefact.arrays["labels"], score.key
    made = []
    for value, task in assembly.made():
        artefact = stores.of(task).read(task)
        if artefact is None:
            continue
        record = dict(artefact.record)
        if artefact.why_absent is None:
            array = artefact.arrays["perturbation"]
            record["linf"] = float(np.abs(array).max())
        made.append(replace(value, record=record))
    # Rows that cannot be, as no draw made a noise, are no rows of the table.
    gone = [
        row
        for row in prepared.experiment.conditions
        if all(cell in absent for cell in prepared.experiment.cells_of(row))
    ]
    examples_task = assembly.examples()
    shown = None if examples_task is None else stores.run.read(examples_task)
    there = shown is not None and shown.why_absent is None
    results = Results(
        experiment=prepared.experiment.without(gone),
        images=_test_images(prepared, images),
        labels=labels,
        missing={cell: why for cell, why in missing.items() if cell not in absent},
        made=tuple(made),
        checks={title: artefact.record for title, task in checks.items() if (artefact := stores.run.read(task))},
        config=prepared.config,
        examples=Examples.of(shown) if shown is not None and there else None,
        failures=tuple(f"{failure.task.title}: {failure.error}" for failure in outcome.failures.values()),
    )
    results.save(prepared.folder, keys, examples_task.key if examples_task is not None and there else None)
    return results


def _test_images(prepared: Prepared, images: ImageSet) -> TestImages:
    record = prepared.setting.source.record()
    facts = {name: value for name, value in record.items() if name != "fingerprints"}
    return TestImages(
        images.title,
        images.noun,
        images.test.names or tuple(map(str, range(len(images.test)))),
        images.test.labels,
        images.names,
        {purpose: len(split) for purpose, split in images.splits.items()},
        {**facts, "remarks": list(images.remarks)},
    )


def versions(device_type: DeviceType) -> dict[str, Any]:
    """Return the versions of everything that a figure may depend on, and what of the machine does."""
    names = ("adversarial-robustness-toolbox", "torch", "torchvision", "numpy", "scikit-image", "pillow")
    return {
        "art_denoise": art_denoise.__version__,
        "python": platform.python_version(),
        **asdict(Environment.here(device_type)),
        **{name: version(name) for name in names},
    }
