"""A run computes what is not there, keeps it, goes on whatever happens to it, and says what it could not do."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from folders import machine_of, options_of, run_project, times, write_project
from PIL import Image

from art_denoise import Perturbation
from art_denoise.data.decoding import Framing, decode_image
from art_denoise.evaluation.prepared import changes
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.run import run
from art_denoise.evaluation.run_folder import keep_choices, read_choices
from art_denoise.evaluation.store import BusyError, Lock, read_artefact

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return write_project(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def whole(project) -> tuple[Path, Results]:
    """A run that nothing happened to."""
    return project / "run", run(project / "run", options_of(project), machine_of(project))


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy of its folder."""
    shutil.copytree(whole[0], tmp_path / "run", ignore=shutil.ignore_patterns(".lock"))
    return tmp_path / "run"


def assert_same(found: Results, expected: Results) -> None:
    assert found.experiment == expected.experiment
    assert list(found.labels) == list(expected.labels)
    for cell, labels in expected.labels.items():
        assert found.labels[cell].tolist() == labels.tolist(), cell.text
    assert found.missing == expected.missing
    assert found.made == expected.made
    assert found.failures == expected.failures


def by_text(results: Results) -> dict[str, list[int]]:
    return {cell.text: labels.tolist() for cell, labels in results.labels.items()}


def file_of(folder: Path, results: Results, text: str) -> Path:
    """Return the file of a cell's labels."""
    entries = json.loads((folder / "results.json").read_text())["content"]["cells"]
    key = next(e["key"] for e, cell in zip(entries, results.labels, strict=True) if cell.text == text)
    return folder / "labels" / f"{key}.safetensors"


def test_who_waits_is_told_before_anything_takes_long(project, tmp_path):
    found = []

    def opened() -> None:
        found.append(sorted(path.name for path in (tmp_path / "run").iterdir() if path.suffix == ".json"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", options_of(project), machine_of(project), opened=opened)
    assert found == [["config.json", "splits.json"]]


def test_every_cell_has_a_label_for_every_image(whole):
    folder, results = whole
    assert set(results.labels) == set(results.experiment.cells())
    assert len(results.labels) == 25
    assert not results.missing
    assert not results.failures
    for labels in results.labels.values():
        assert (labels.shape, labels.dtype) == ((24,), np.int64)
    accuracy = {text: np.mean(np.array(labels) == results.images.labels) for text, labels in by_text(results).items()}
    assert accuracy["v0 on mine-net, seed 0"] > 0.9
    assert accuracy["v0 + δ on mine-net, crafted on mine-net, seed 0"] < 0.9
    # Nothing half done is left, and what is there is whole.
    assert not [*folder.rglob("*.part"), *folder.rglob("*.checkpoint")]
    assert len([read_artefact(file, file.stem) for file in folder.glob("labels/*")]) == 25
    assert_same(Results.load(folder), results)


def test_a_second_run_does_nothing(whole, project):
    folder, results = whole
    before = times(folder)
    assert_same(run(folder, options_of(project), machine_of(project)), results)
    assert times(folder) == before


@pytest.mark.parametrize("damage", ["gone", "flipped", "cut", "empty"])
def test_labels_that_are_damaged_are_predicted_again(folder, whole, project, damage):
    _, results = whole
    file = file_of(folder, results, "D_ROF(v0 + δ) on mine-net, crafted on mine-net, seed 0")
    before, content = times(folder), bytearray(file.read_bytes())
    labels = read_artefact(file).arrays["labels"].tolist()
    if damage == "gone":
        file.unlink()
        found = run(folder, options_of(project), machine_of(project))
    else:
        content[-1] ^= 2
        file.write_bytes({"flipped": bytes(content), "cut": content[:-9], "empty": b""}[damage])
        with pytest.warns(RuntimeWarning, match=r"is damaged .*moved to .*\.damaged and is computed anew"):
            found = run(folder, options_of(project), machine_of(project))
        file.with_name(f"{file.name}.damaged").unlink()
    assert_same(found, results)
    assert read_artefact(file).arrays["labels"].tolist() == labels
    # All else is as it was.
    after = times(folder)
    assert {name for name, at in before.items() if after[name] != at} == {f"labels/{file.name}"}


@pytest.mark.parametrize("labels", ["there", "gone"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
@pytest.mark.parametrize("what", ["perturbation", "noise", "images"])
def test_what_labels_were_predicted_with_is_made_again(folder, whole, project, what, damage, labels):
    """Also where they are there: the results tell of it, and would tell of it no longer."""
    _, results = whole
    if what == "images":
        file = sorted((folder / "images").iterdir())[0]
    else:
        made = next(m for m in results.made if m.what == what)
        file = folder / "perturbations" / f"{made.key}.safetensors"
    arrays = {name: array.tobytes() for name, array in read_artefact(file).arrays.items()}
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    if labels == "gone":
        shutil.rmtree(folder / "labels")
    told = nullcontext() if damage == "gone" else pytest.warns(RuntimeWarning, match="is damaged")
    with told:
        assert_same(run(folder, options_of(project), machine_of(project)), results)
    assert {name: array.tobytes() for name, array in read_artefact(file).arrays.items()} == arrays
    assert (folder / "results.json").read_bytes() == (whole[0] / "results.json").read_bytes()


@pytest.mark.parametrize(
    ("changed", "named", "moves"),
    [
        ({"nlm_h": 0.03}, "options.nlm_h: 0.05 there, 0.03 now", lambda text: "D_nlm" in text),
        (
            {"noise_draws": 3},
            "options.noise_draws: 2 there, 3 now",
            lambda text: "v_def" in text or "direction" in text,
        ),
        ({"sgd_passes": 2}, "options.sgd_passes: 1 there, 2 now", lambda text: "δ_SGD" in text),
        ({"rows": "paper"}, "options.rows: all there, paper now", lambda text: False),
        ({"sweep": True}, "options.sweep: False there, True now", lambda text: False),
    ],
)
def test_other_choices_are_refused_unless_they_are_a_change(folder, whole, project, changed, named, moves):
    _, results = whole
    options, before = options_of(project, **changed), times(folder)
    with pytest.raises(ValueError, match=rf"holds a run with other choices \({named}\).* allow the `change`"):
        run(folder, options, machine_of(project))
    assert times(folder) == before
    other = run(folder, options, machine_of(project), change=True)
    # What does not depend on it is not computed, and what was there stays.
    after = times(folder)
    assert {name for name, at in before.items() if after.get(name) != at} == {"config.json", "results.json"}
    new = {name for name in after.keys() - before.keys() if name.startswith("labels")}
    anew = {cell for cell in other.labels if moves(cell.text)} | other.labels.keys() - results.labels.keys()
    assert len(new) == len(anew)
    # Changed back, everything is still there.
    assert_same(run(folder, options_of(project), machine_of(project), change=True), results)
    again = times(folder)
    assert {name for name, at in after.items() if again.get(name) != at} == {"config.json", "results.json"}


def test_another_version_of_a_package_is_no_reason_to_refuse(folder, whole, project):
    config = read_choices(folder)
    assert {"torch", "numpy", "python", "art_denoise"} <= config["versions"].keys()
    config["versions"] |= {"torch": "1.0", "art_denoise": "0.0", "gone": "3"}
    keep_choices(folder, config)
    before = times(folder)
    assert_same(run(folder, options_of(project), machine_of(project)), whole[1])
    after = times(folder)
    # They are told of as they are now.
    assert {name for name, at in before.items() if after[name] != at} == {"config.json"}
    assert json.loads((folder / "config.json").read_text())["versions"]["torch"] != "1.0"


def test_files_beside_the_results_that_are_damaged(folder, whole, project):
    for name in ("splits.json", "results.json"):
        (folder / name).write_bytes(b"\xff\xfe{")
    (folder / "results.json.123.part").write_text("half of it")
    (folder / "film.part").write_text("precious")
    with pytest.warns(RuntimeWarning, match=r"\.json is damaged") as told:
        assert_same(run(folder, options_of(project), machine_of(project)), whole[1])
    assert len(told) == 2
    assert {"craft", "tune", "noise-fit", "test"} < json.loads((folder / "splits.json").read_text()).keys()
    assert not (folder / "results.json.123.part").exists()
    assert (folder / "film.part").exists()
    assert_same(Results.load(folder), whole[1])


@pytest.mark.parametrize("results_too", [False, True])
def test_choices_that_are_damaged_are_written_anew(folder, whole, project, results_too):
    """They stand with the results, too; where these are damaged as well, nothing is known to differ."""
    edited = (folder / "config.json").read_text().replace('"seed": 0', '"seed": 7')
    (folder / "config.json").write_text(edited)
    other = options_of(project, seed=1)
    if results_too:
        (folder / "results.json").write_text("[" * 100_000)
        assert changes(folder, {"study": "table1", "options": {"seed": 1}, "data": {}, "models": {}}) == []
    else:
        with pytest.raises(ValueError, match=r"holds a run with other choices .*options\.seed: 0 there, 1 now"):
            run(folder, other, machine_of(project))
    with pytest.warns(RuntimeWarning, match=r"\.json is damaged .*moved to .*\.damaged and is written anew") as told:
        assert_same(run(folder, options_of(project), machine_of(project)), whole[1])
    assert len(told) == 1 + results_too
    assert (folder / "config.json.damaged").read_text() == edited
    assert read_choices(folder)["options"]["seed"] == 0
    assert_same(Results.load(folder), whole[1])


def test_two_processes_in_one_folder(folder, project):
    with Lock(folder), pytest.raises(BusyError, match="another process is at work in"):
        run(folder, options_of(project), machine_of(project))
    run(folder, options_of(project), machine_of(project))


def test_several_processes_give_the_same_bits(whole, project, tmp_path):
    folder, results = whole
    found = run(tmp_path / "run", options_of(project), machine_of(project, jobs=2))
    assert_same(found, results)
    assert (tmp_path / "run" / "results.json").read_bytes() == (folder / "results.json").read_bytes()
    for file in (f for part in ("labels", "perturbations", "examples") for f in folder.glob(f"{part}/*")):
        arrays = [read_artefact(at / file.relative_to(folder)).arrays for at in (folder, tmp_path / "run")]
        assert arrays[0].keys() == arrays[1].keys()
        for name, array in arrays[0].items():
            assert array.tobytes() == arrays[1][name].tobytes(), (file.name, name)


@pytest.mark.skipif(os.name != "posix", reason="needs processes that begin with what is imported")
def test_killed_at_any_moment(whole, project, tmp_path):
    """Killed again and again, a run ends with the results of one that was left alone, to the byte."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["art_denoise.evaluation.run"])
    moments, folder, killed = random.Random(0), tmp_path / "run", 0
    # Files that are there when it is killed: in the beginning, while it crafts, fits and scores.
    for files in (0, 2, 5, 9, 15, 22):
        process = context.Process(target=run_project, args=(folder, options_of(project), machine_of(project)))
        process.start()
        while process.is_alive() and len(list(folder.glob("*/*.safetensors"))) <= files:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.join()
        killed += process.exitcode == -9
    assert killed >= 4
    assert not (folder / "results.json").exists()
    assert_same(run(folder, options_of(project), machine_of(project)), whole[1])
    assert (folder / "results.json").read_bytes() == (whole[0] / "results.json").read_bytes()
    assert not [*folder.rglob("*.part"), *folder.rglob("*.checkpoint")]


# What cannot be done.


def test_without_a_helpful_draw_v_def_is_left_out_and_told(project, tmp_path):
    """A draw of noise never turns this network right: the rest of the table is there, and it says why."""
    options = options_of(project, noise_accept="flip", noise_sigmas=(1e-6,), noise_knowing=True)
    results = run(tmp_path / "run", options, machine_of(project))
    rows = {row.text for row in results.experiment.conditions}
    assert not [row for row in rows if "v_def" in row or "direction" in row]
    assert {"D_ROF(v0 + δ)", "D_ROF(v0 + δ_SGD knowing D_ROF)"} <= rows
    assert not [pair for pair in results.experiment.comparisons if "v_def" in pair.text]
    why = {made.record["absent"] for made in results.made if made.what == "noise"}
    assert len(why) == 1
    assert "no defensive noise can be estimated" in why.pop()
    assert not results.failures
    assert not results.missing
    before = times(tmp_path / "run")
    assert_same(run(tmp_path / "run", options, machine_of(project)), results)
    assert times(tmp_path / "run") == before


BROKEN = """
from pathlib import Path
import numpy as np
from art.defences.preprocessor import Preprocessor

class Broken(Preprocessor):
    def __init__(self):
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)

    def __call__(self, x, y=None):
        if len(x) > 2 and Path(__file__).with_name("broken").exists():
            raise ZeroDivisionError("it is too dark")
        return np.clip(x + 0.01, 0, 1).astype(np.float32), y

def broken():
    return Broken()
"""


def test_a_defence_that_fails_takes_only_its_own_cells_with_it(project, tmp_path):
    file = tmp_path / "theirs.py"
    file.write_text(BROKEN)
    (tmp_path / "broken").touch()
    options = options_of(project, defences=("rof", f"{file}:broken"), noise_images=0)
    results = run(tmp_path / "run", options, machine_of(project))
    # Which cell, whose code, and where.
    line = next(n for n, text in enumerate(BROKEN.splitlines(), 1) if "raise ZeroDivisionError" in text)
    assert f"Score D_broken(v0) on mine-net, seed 0: ZeroDivisionError: it is too dark ({file}, line {line})" in (
        results.failures
    )
    own = {cell for cell in results.experiment.cells() if "D_broken" in cell.text}
    assert set(results.missing) == own
    assert all(f"ZeroDivisionError: it is too dark ({file}, line {line})" in why for why in results.missing.values())
    assert set(results.labels) == set(results.experiment.cells()) - own
    # Those that failed as what they need did are not failures of their own; nobody could look at gradients, or try the
    # attack where it has to succeed.
    assert len(results.failures) == len(own) + 2
    assert any(failure.startswith("Look at the gradients through D_broken: ") for failure in results.failures)
    assert any(failure.startswith("Craft δ_SGD on mine-net through D_broken: ") for failure in results.failures)
    assert_same(Results.load(tmp_path / "run"), results)

    # Mended, all others are used again.
    (tmp_path / "broken").unlink()
    before = times(tmp_path / "run")
    mended = run(tmp_path / "run", options, machine_of(project))
    after = times(tmp_path / "run")
    assert set(mended.labels) == set(results.experiment.cells())
    assert not mended.failures
    assert {name for name, at in before.items() if after[name] != at} == {"results.json"}
    assert by_text(mended).items() > by_text(results).items()


FLAT = """
from mine import Net

class Flat(Net):
    def forward(self, x):
        return super().forward(x).detach() + 0 * x.mean((1, 2, 3))[:, None]

def flat():
    return Flat(3)

class Probabilities(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)

def probabilities():
    return Probabilities(3)
"""


def test_an_attack_that_fails_is_told_with_its_reason(project, tmp_path):
    """Without a gradient nobody is fooled."""
    (project / "flat.py").write_text(FLAT)
    options = options_of(project, model=f"{project / 'flat.py'}:flat", noise_images=0)
    results = run(tmp_path / "run", options, machine_of(project))
    assert any(f.startswith("Craft δ on flat-flat: the perturbation stayed zero") for f in results.failures)
    crafted = {cell for cell in results.experiment.cells() if cell.condition.threat and cell.condition.threat.crafted}
    deepfool = {cell for cell in crafted if cell.condition.threat.attack.name == "deepfool-uap"}
    assert all("the perturbation stayed zero" in results.missing[cell] for cell in deepfool)
    assert set(results.labels) >= set(results.experiment.cells()) - crafted


# Columns, and what is added.


def pictures(results: Results, project: Path) -> np.ndarray:
    """Return the test images, float32 in [0, 1], from their files."""
    root = project / "images"
    return np.stack([decode_image(root / name, Framing(18, 16, margin="down")) for name in results.images.names]) / (
        np.float32(255)
    )


def network_of(project: Path, name: str = "net"):
    from art_denoise.models.find import find_model

    return find_model(f"{project / 'mine.py'}:{name}", input_size=16).classifier("cpu")


def test_a_file_beside_a_network(project, tmp_path):
    array = np.random.default_rng(1).choice([-0.2, 0.2], (3, 16, 16)).astype(np.float32)
    Perturbation(array).save(tmp_path / "theirs.safetensors")
    options = options_of(project, sources=(f"{project / 'mine.py'}:net", str(tmp_path / "theirs.safetensors")))
    results = run(tmp_path / "run", options, machine_of(project))
    assert set(results.labels) == set(results.experiment.cells())
    sources = {}
    for cell in results.labels:
        sources.setdefault(cell.condition.text, []).append(cell.source)
    assert sources["v0 + δ"] == sources["D_nlm(v0 + δ + v_def)"] == ["mine-net", "theirs"]
    assert sources["v0 + δ_SGD"] == sources["D_ROF(v0 + δ_SGD knowing D_ROF)"] == ["mine-net"]
    assert sources["v0"] == [None]
    expected = network_of(project).predict(np.clip(pictures(results, project) + array, 0, 1)).argmax(axis=1)
    assert by_text(results)["v0 + δ on mine-net, crafted on theirs, seed 0"] == expected.tolist()


def test_columns_of_any_names_are_not_mistaken_for_each_other(project, tmp_path):
    """Once labels were found by names that were joined: "uap-rof-x" was a row of x, and a column "rof-x"."""
    arrays, sources = {}, []
    # Towards red, green, blue and grey.
    colours = {"x": (0.3, -0.3, -0.3), "rof-x": (-0.3, 0.3, -0.3), "nlm-x": (-0.3, -0.3, 0.3), "clean": (0.01,) * 3}
    for name, colour in colours.items():
        arrays[name] = np.broadcast_to(np.array(colour, dtype=np.float32)[:, None, None], (3, 16, 16)).copy()
        Perturbation(arrays[name]).save(tmp_path / f"{name}.safetensors")
        sources.append(str(tmp_path / f"{name}.safetensors"))
    options = options_of(project, sources=tuple(sources), tune_images=0, noise_images=0, craft_images=0)
    results = run(tmp_path / "run", options, machine_of(project))
    network, x = network_of(project), pictures(results, project)
    attacked = {}
    for name, array in arrays.items():
        attacked[name] = network.predict(np.clip(x + array, 0, 1)).argmax(axis=1).tolist()
        assert by_text(results)[f"v0 + δ on mine-net, crafted on {name}, seed 0"] == attacked[name]
    assert len({tuple(labels) for labels in attacked.values()}) == 4
    assert len({cell.text for cell in results.labels}) == len(results.labels) == 3 * 4 + 6


def test_transfer_between_networks(project, tmp_path):
    sources = tuple(f"{project / 'mine.py'}:{name}" for name in ("net", "other"))
    options = options_of(project, sources=sources, noise_images=0)
    results = run(tmp_path / "run", options, machine_of(project))
    x = pictures(results, project)
    first = next(t.threat for t in results.experiment.transfers)
    for name in ("net", "other"):
        for crafted in ("mine-net", "mine-other"):
            made = next(m for m in results.made if m.threat == first and m.source == crafted and not m.defence)
            array = read_artefact(tmp_path / "run" / "perturbations" / f"{made.key}.safetensors").arrays["perturbation"]
            expected = network_of(project, name).predict(np.clip(x + array, 0, 1)).argmax(axis=1)
            text = f"v0 + δ on mine-{name}, crafted on {crafted}, seed 0"
            assert by_text(results)[text] == expected.tolist()


@pytest.mark.parametrize("knowledge", ["oblivious", "exact", "bpda"])
def test_images_one_by_one_in_parts(project, tmp_path, monkeypatch, knowledge):
    monkeypatch.setattr("art_denoise.evaluation.tasks.attack.PART", 10)
    options = options_of(
        project, attacks=(f"pgd:max_iter=3,knowledge={knowledge}",), defences=("rof",), tune_images=0, noise_images=0
    )
    results = run(tmp_path / "run", options, machine_of(project))
    files = list((tmp_path / "run" / "images").glob("*.safetensors"))
    assert len(files) % 3 == 0
    sizes = sorted(len(read_artefact(file).arrays["images"]) for file in files)
    assert sizes == sorted([10, 10, 4] * (len(files) // 3))
    accuracy = {t: np.mean(np.array(labels) == results.images.labels) for t, labels in by_text(results).items()}
    assert accuracy["v0 + δ_PGD on mine-net, crafted on mine-net, seed 0"] < accuracy["v0 on mine-net, seed 0"] - 0.3
    # Cut off in the middle of the parts, it goes on with those that are not there.
    for file in files[::2]:
        file.unlink()
    shutil.rmtree(tmp_path / "run" / "labels")
    before = times(tmp_path / "run")
    assert_same(run(tmp_path / "run", options, machine_of(project)), results)
    after = times(tmp_path / "run")
    assert all(after[f"images/{file.name}"] == before[f"images/{file.name}"] for file in files[1::2])


def test_who_only_asks(project, tmp_path):
    options = options_of(project, attacks=("square:max_iter=5",), defences=("rof",), tune_images=0, noise_images=0)
    results = run(tmp_path / "run", options, machine_of(project))
    assert "D_ROF(v0 + δ_Square querying D_ROF) on mine-net, crafted on mine-net, seed 0" in by_text(results)
    assert not results.failures


def test_two_seeds(folder, whole, project):
    _, results = whole
    before = times(folder)
    two = run(folder, options_of(project, seeds=2), machine_of(project), change=True)
    assert two.experiment.seeds == (0, 1)
    assert by_text(two).items() > by_text(results).items()
    after = times(folder)
    assert {name for name, at in before.items() if after[name] != at} == {"config.json", "results.json"}
    seeds = {cell.condition: [] for cell in two.labels}
    for cell in two.labels:
        seeds[cell.condition].append(cell.seed)
    assert all(found == ([0] if row.threat is None else [0, 1]) for row, found in seeds.items())
    perturbations = [
        Perturbation.load(folder / "perturbations" / f"{made.key}.safetensors")
        for made in two.made
        if made.what == "perturbation"
    ]
    once = sum(made.what == "perturbation" for made in results.made)
    assert len(perturbations) == 2 * once
    # Of so few images two seeds may make the same of one.
    assert len({p.array.tobytes() for p in perturbations}) > once
    assert {p.seed for p in perturbations} == {0, 1}


def test_the_same_defence_alone_is_the_same_row(project, folder, whole):
    """Fewer rows, written otherwise: nothing is computed but what was not there."""
    before = times(folder)
    options = options_of(project, defences=("rof:weight=10",), attacks=("deepfool-uap",))
    results = run(folder, options, machine_of(project), change=True)
    after = times(folder)
    new = {name for name in after.keys() - before.keys() if not name.startswith("examples")}
    # Who knows the defence is another, as there is only one attack.
    assert len([name for name in new if name.startswith("labels")]) == 1
    assert {text for text in by_text(results) if "knowing" not in text} <= by_text(whole[1]).keys()


def test_images_that_change_are_others(project, tmp_path):
    own = write_project(tmp_path / "own")
    options, machine = options_of(own, noise_images=0), machine_of(own)
    first = run(tmp_path / "run", options, machine)
    name = first.images.names[0]
    with Image.open(own / "images" / name) as picture:
        changed = Image.fromarray(255 - np.asarray(picture))
    changed.save(own / "images" / name)
    before = times(tmp_path / "run")
    second = run(tmp_path / "run", options, machine)
    after = times(tmp_path / "run")
    new = {entry for entry in after.keys() - before.keys() if entry.startswith("labels")}
    assert len(new) == len(second.labels)
    # Perturbations are of other images, and stay.
    assert not {entry for entry in after.keys() - before.keys() if entry.startswith("perturbations")}
    assert second.labels[next(iter(second.labels))][0] != first.labels[next(iter(first.labels))][0]


def test_choices_are_written_down(whole, project):
    folder, _ = whole
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["eps"] == pytest.approx(40 / 255)
    assert config["data"]["framing"] == {"resize": 18, "crop": 16, "interpolation": "bilinear", "margin": "down"}
    assert config["data"]["classes"] == "by the model's names of its classes"
    assert len(config["models"]["mine-net"]) == 16
    splits = json.loads((folder / "splits.json").read_text())
    for purpose, split in ((name, of) for name, of in splits.items() if name not in ("schema", "sha256")):
        assert split["fingerprint"] == config["data"]["fingerprints"][purpose]
        assert len(split["files"]) == len(split["labels"])
        assert all((Path(split["root"]) / name).is_file() for name in split["files"])
    # What only says where it was computed is no choice.
    assert "batch_size" not in json.dumps(config["versions"])
    assert "machine" not in config


def test_a_place_that_cannot_be_written_is_named(project, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the run folder .*file/run cannot be made"):
        run(tmp_path / "file" / "run", options_of(project), machine_of(project))


def test_networks_that_do_not_do_what_they_should_are_told_of_before_anything_else(project, tmp_path):
    other = replace(options_of(project), preflight=True, num_classes=4)
    run(tmp_path / "run", replace(other, rows="paper", noise_images=0), machine_of(project))
    found = Results.load(tmp_path / "run").checks["mine"]
    assert found["n"] == 24
    assert found["accuracy"] > 90
    (project / "flat.py").write_text(FLAT)
    wrong = replace(other, model=f"{project / 'flat.py'}:probabilities")
    with pytest.raises(ValueError, match=r"flat.py:probabilities' returns probabilities.*take the softmax off its end"):
        run(tmp_path / "wrong", wrong, machine_of(project))
    assert not list((tmp_path / "wrong").glob("perturbations/*"))
    # Mended, it is no change: nothing was computed that figures depend on.
    run(tmp_path / "wrong", replace(other, rows="paper", noise_images=0), machine_of(project))


UNGUARDED = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from folders import machine_of, options_of, run_project
project = Path({project!r})
{guard}run_project(project / "run", options_of(project, rows="paper"), machine_of(project, jobs=2))
"""


def test_a_script_without_a_guard_is_told_what_to_do(tmp_path):
    """Each process reads the script, and would start the run again, in a folder in which one is at work."""
    write_project(tmp_path)
    file, here = tmp_path / "script.py", {"tests": str(Path(__file__).parents[1]), "project": str(tmp_path)}
    file.write_text(UNGUARDED.format(guard="", **here))
    ended = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert 'put what it does below `if __name__ == "__main__":`, or give `jobs` = 1' in ended.stderr
    assert "another process" not in ended.stderr
    assert ended.stderr.count("Traceback") == 1
    file.write_text(UNGUARDED.format(guard="if __name__ == '__main__':\n    ", **here))
    ended = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
