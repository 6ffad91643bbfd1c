"""Perturbations from network to network as a study of its own: its tables, and its figures as they come out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from folders import machine_of, options_of, write_project

from art_denoise.attacks import load_perturbation
from art_denoise.cli.choosing import WITHOUT
from art_denoise.cli.chosen import as_file, choose
from art_denoise.data.decoding import Framing, decode_image
from art_denoise.evaluation.components import parse_attack
from art_denoise.evaluation.experiment import Network, Source
from art_denoise.evaluation.fooling import fooling
from art_denoise.evaluation.from_options import transfer as study
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.report import brief, write_report
from art_denoise.evaluation.report.transfer import transfers
from art_denoise.evaluation.run import run
from art_denoise.evaluation.studies.lee2018 import DEEPFOOL, SGD
from art_denoise.evaluation.studies.transfer import transfer
from art_denoise.models import find_model

TARGETS = [Network("a", "A"), Network("b", "B")]
CRAFTED, FILE = Source("c", "C"), Source("uap", "uap", DEEPFOOL.attack)


def test_each_source_meets_each_target_and_nothing_else_is_scored():
    experiment = transfer(TARGETS, [CRAFTED, FILE], attacks=[DEEPFOOL, SGD])
    assert (experiment.target, experiment.conditions) == (TARGETS[0], ())
    found = {
        (cell.condition.threat and cell.condition.threat.attack.name, cell.target, cell.source)
        for cell in experiment.cells()
    }
    assert found == {
        *((None, target, None) for target in "ab"),
        *(("random-signs", target, None) for target in "ab"),
        *(("deepfool-uap", target, source) for target in "ab" for source in ("c", "uap")),
        *(("sgd-uap", target, "c") for target in "ab"),
    }


def test_of_files_alone_there_is_one_table():
    experiment = transfer(TARGETS, [FILE], attacks=[DEEPFOOL, SGD])
    assert [t.threat for t in experiment.transfers] == [DEEPFOOL]


@pytest.mark.parametrize("text", ["pgd:knowledge=exact", "sgd-uap:knowledge=transfer", "random-signs", "square"])
def test_who_knows_a_defence_or_is_noise_has_no_part_in_it(text):
    name = text.partition(":")[0]
    with pytest.raises(ValueError, match=f"`attacks` has {name} with knowledge=.*leave knowledge= out"):
        transfer(TARGETS, [CRAFTED], attacks=[parse_attack(text)])


def test_models_are_named_once():
    for targets in ((), ("vgg16", "vgg16")):
        with pytest.raises(ValueError, match="`targets` must hold at least one model, and each once"):
            Options(targets=targets)


def test_its_file_of_options_chooses_the_same(tmp_path):
    from art_denoise.cli.choosing import chosen_transfer

    choice, folder = chosen_transfer({"targets": ["vgg19", "vgg16"], "sources": ["vgg16"], "attacks": ["sgd-uap"]})
    assert (choice.options.model, choice.options.targets, folder) == (
        "vgg19",
        ("vgg19", "vgg16"),
        Path("runs/transfer"),
    )
    (tmp_path / "run.toml").write_text(as_file(choice, "transfer", folder, folder, WITHOUT["transfer"]))
    assert 'model = ["vgg19", "vgg16"]' in (tmp_path / "run.toml").read_text()
    again, _ = chosen_transfer({"config": str(tmp_path / "run.toml")})
    assert again.options.filled() == choice.options.filled()
    # Of other commands it is one model.
    assert choose({"model": "vgg16"}, "table1", WITHOUT["table1"]).options.targets is None
    assert chosen_transfer({})[0].options.sources == ("inception_v1", "vgg16", "vgg19")


@pytest.mark.long
def test_rates_are_those_of_the_perturbations_and_told_as_they_come(tmp_path, capsys):
    project = write_project(tmp_path)
    mine, uap = project / "mine.py", project / "uap.npy"
    np.save(uap, np.random.default_rng(0).uniform(-0.12, 0.12, (3, 16, 16)).astype(np.float32))
    specs = [f"{mine}:rough", f"{mine}:net"]
    options = options_of(
        project,
        model=specs[0],
        targets=tuple(specs),
        sources=(f"{uap}:order=rgb,layout=CHW,units=1", f"{mine}:other"),
        defences=(),
        tune_images=0,
        noise_images=0,
    )
    folder, machine = project / "run", machine_of(project, progress=True)
    results = run(folder, options, machine, study)
    said = capsys.readouterr().err
    assert "\r" not in said
    told = re.findall(r"; ([^;]+): ([\d.]+) % of 24 images right\n", said)
    right = {cell: 100 * np.mean(labels == results.images.labels) for cell, labels in results.labels.items()}
    assert sorted(float(share) for _, share in told) == sorted(round(share, 1) for share in right.values())
    clean = {name: float(share) for name, share in told if name.startswith("v0") and "+" not in name}
    names = {cell.target: cell for cell in right if cell.condition.threat is None}
    assert clean == {
        "v0": round(right[names["mine-rough"]], 1),
        "v0 on mine-net": round(right[names["mine-net"]], 1),
    }
    # Crafted on neither.
    assert {"v0 + δ, mine (transfer)", "v0 + δ, mine (transfer) on mine-net"} <= {name for name, _ in told}
    assert not results.failures
    tables = transfers(results)
    assert [[row.name.text for row in table.rows] for table in tables] == [
        ["uap", "mine", "random signs"],
        ["mine", "random signs"],
    ]
    x = np.stack(
        [decode_image(project / "images" / name, Framing(18, 16, margin="down")) for name in results.images.names]
    )
    for column, spec in enumerate(specs):
        classifier = find_model(spec, input_size=16).classifier("cpu")
        given = load_perturbation(uap, order="rgb", layout="CHW", units=1)
        assert tables[0].rows[0].values[column].share == fooling(classifier, given, x)
        for table, name in zip(tables, ("deepfool-uap", "sgd-uap"), strict=True):
            (key,) = (m.key for m in results.made if m.source == "mine-other" and m.threat.attack.name == name)
            kept = load_perturbation(folder / "perturbations" / f"{key}.safetensors")
            assert table.rows[-2].values[column].share == fooling(classifier, kept, x)
    assert len({row.values[0].share.count for table in tables for row in table.rows}) > 1
    write_report(results, folder)
    assert (folder / "report" / "figures" / "transfer-sgd-uap.png").is_file()
    assert "Fooling rates of δ_SGD from network to network" in brief(results)
    # Started again, nothing is computed.
    assert run(folder, options, machine, study).labels.keys() == results.labels.keys()
