"""The whole table with a stranger's model on a stranger's folder: every label as it comes out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from art.defences.preprocessor import JpegCompression
from folders import COLOURS, machine_of, options_of, write_colours, write_project

from art_denoise import DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise.attacks.universal_noise import random_signs
from art_denoise.data.decoding import Framing, decode_image
from art_denoise.evaluation.experiment import Cell, Condition, Defence
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.prepared import Prepared
from art_denoise.evaluation.results import Made, Results
from art_denoise.evaluation.run import run
from art_denoise.evaluation.store import read_artefact
from art_denoise.evaluation.tasks.check import CheckHalf
from art_denoise.models.find import find_model

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return write_project(tmp_path_factory.mktemp("own"), 30)


def options(project: Path, **changes: object) -> Options:
    return options_of(
        project, model=f"{project / 'mine.py'}:rough", sweep=True, noise_knowing=True, test_images=60, **changes
    )


@pytest.fixture(scope="module")
def table(project) -> tuple[Path, Results]:
    return project / "run", run(project / "run", options(project), machine_of(project))


def pictures(results: Results, project: Path) -> np.ndarray:
    """Return the test images, float32 in [0, 1], from their files: 16/224 · 256 is the shorter side."""
    files = [project / "images" / name for name in results.images.names]
    return np.stack([decode_image(file, Framing(18, 16, margin="down")) for file in files]) / np.float32(255)


def array_of(folder: Path, made: Made) -> np.ndarray:
    return read_artefact(folder / "perturbations" / f"{made.key}.safetensors", made.key).arrays["perturbation"]


def test_the_table(table):
    _, results = table
    images = results.images
    assert (images.title, images.noun, len(images)) == ("images of images, 4 classes", "image", 60)
    assert images.classes[1] == "green things"
    assert images.facts["classes"] == "by the model's names of its classes"
    assert [sorted(COLOURS)[label] for label in images.labels] == [name.split("/")[0] for name in images.names]
    assert images.counts == {"craft": 8, "tune": 8, "noise-fit": 16, "test": 60}
    # Nobody has published anything of this network.
    assert not any(results.experiment.published_for(cell) for cell in results.labels)


def test_every_label_is_as_by_hand(table, project):
    """Perturbations and v_def as they are kept; everything else with the classes that a user has."""
    folder, results = table
    x = pictures(results, project)
    network = find_model(f"{project / 'mine.py'}:rough", input_size=16).classifier("cpu")
    perturbations = {(m.threat, m.defence): array_of(folder, m) for m in results.made if m.what == "perturbation"}
    noises = {m.defence: array_of(folder, m) for m in results.made if m.what == "noise"}
    signs = random_signs((3, 16, 16), 40 / 255, 0).array
    build = {
        "rof": lambda weight: ROFDefence(weight, device_type="cpu"),
        "nlm": lambda h: NLMeansDefence(h, device_type="cpu"),
    }
    directions = {}
    checked = 0
    for cell, labels in results.labels.items():
        threat, defence = cell.condition.threat, cell.condition.defence
        images = x
        if threat is not None and threat.attack.kind == "per-image":
            # Those are gone through with the tasks.
            continue
        if threat is not None:
            through = defence if threat.knowledge.knows_defence else Defence()
            added = perturbations[threat, through] if threat.crafted else signs
            images = np.clip(images + added, 0, 1)
        if defence.noise is not None:
            if defence.noise.kind == "random":
                fitted = noises[Defence(defence.preprocessors).with_noise("fitted")]
                rng = np.random.default_rng([0, 1])
                draws = [rng.standard_normal(fitted.shape) for _ in range(2)]
                draw = draws[directions.setdefault(defence, len(directions))]
                noise = (draw * np.sqrt(np.square(fitted).mean() / np.square(draw).mean())).astype(np.float32)
            else:
                noise = noises[defence]
            images = DefensiveNoiseDefence(noise, device_type="cpu")(images)[0]
        for preprocessor in defence.preprocessors:
            images = build[preprocessor.name](**dict(preprocessor.params))(images)[0]
        assert labels.tolist() == network.predict(images).argmax(axis=1).tolist(), cell
        checked += 1
    # 20 rows, 2 of who knows the attack, and 6 more strengths of two denoisers on three sorts of images.
    assert checked == 20 + 2 + 2 * 6 * 3
    assert len({tuple(labels.tolist()) for labels in results.labels.values()}) > 30


def test_no_image_is_in_two_splits(table, project):
    _, results = table
    splits = Prepared.of(project / "run", options(project), machine_of(project)).load(False).splits
    digests = [digest for split in splits.values() for digest in split.digests]
    assert len(digests) == len(set(digests)) == 92
    names = [name for split in splits.values() for name in split.names]
    assert len(set(names)) == 92
    assert splits["test"].names == results.images.names


def test_perturbations_keep_to_their_bound(table):
    folder, results = table
    for made in results.made:
        array = array_of(folder, made)
        if made.what == "perturbation":
            assert 0 < np.abs(array).max() <= 40 / 255 + 1e-6
            assert made.source == "mine-rough"
            assert made.record["linf"] == pytest.approx(np.abs(array).max())
        else:
            assert np.sqrt(np.square(array).mean()) == pytest.approx(2 / 255, rel=1e-3)


def test_the_sweep_has_the_tables_own_strengths(table):
    _, results = table
    cells = {
        (sweep.title, strength, threat): Cell(Condition(threat, defence), "mine-rough", source_of(threat))
        for sweep in results.experiment.sweeps
        for strength, defence in sweep.points
        for threat in sweep.threats
    }
    assert set(cells.values()) <= set(results.labels)
    own = {("D_ROF", 10), ("D_nlm", 0.05)}
    rows = set(results.experiment.conditions)
    for (title, strength, _), cell in cells.items():
        assert (cell.condition in rows) == ((title, strength) in own or strength == 0)


def source_of(threat) -> str | None:
    return "mine-rough" if threat is not None and threat.crafted else None


# Other defences.

THEIRS = """
import numpy as np
from art.defences.preprocessor import Preprocessor

class Darker(Preprocessor):
    def __init__(self, by):
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
        self.by = by

    def __call__(self, x, y=None):
        return np.clip(x - self.by, 0, 1).astype(np.float32), y

def darker(by=0.1):
    return Darker(by)
"""


def test_chains_of_arts_and_of_a_users_preprocessors(project, tmp_path):
    (tmp_path / "theirs.py").write_text(THEIRS)
    chain = f"art:JpegCompression:quality=30+{tmp_path / 'theirs.py'}:darker:by=0.2+rof"
    asked = options_of(project, defences=(chain,), noise_images=0, attacks=("sgd-uap",))
    results = run(tmp_path / "run", asked, machine_of(project))
    network = find_model(f"{project / 'mine.py'}:net", input_size=16).classifier("cpu")
    x = pictures(results, project)
    x, _ = JpegCompression((0, 1), quality=30, channels_first=True)(x)
    x = np.clip(x - 0.2, 0, 1).astype(np.float32)
    x, _ = ROFDefence(device_type="cpu")(x)
    row = "D_ROF(D_darker(D_JpegCompression(v0)))"
    labels = next(labels for cell, labels in results.labels.items() if cell.condition.text == row)
    assert labels.tolist() == network.predict(x).argmax(axis=1).tolist()
    # Parts of it have no gradient of their own: who knows it, takes the identity for these.
    known = {cell.knowledge.value for cell in results.labels if "knowing" in cell.condition.text}
    assert known == {"partly-exact"}
    assert not results.failures


def test_a_users_file_is_known_by_its_content(project, tmp_path, monkeypatch):
    """The same name and parameters, and as it is written the same path."""
    keys = []
    for number, text in enumerate((THEIRS, THEIRS, THEIRS.replace("x - self.by", "x + self.by"))):
        # A process reads a file once.
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        Path("theirs.py").write_text(text)
        asked = options_of(project, defences=("theirs.py:darker",), noise_images=0)
        prepared = Prepared.of(tmp_path / "run", asked, machine_of(project))
        scores = prepared.assembly(prepared.load(False)).scores()
        keys.append({score.key: "D_darker" in cell.text for cell, score in scores.items()})
    assert keys[0] == keys[1]
    # Only the rows of it are others.
    assert {own for key, own in keys[0].items() if key not in keys[2]} == {True}
    assert {own for key, own in keys[0].items() if key in keys[2]} == {False}


def test_defences_that_draw_at_random_give_the_same_again(project, tmp_path):
    noisy = "art:GaussianAugmentation:sigma=0.3,augmentation=false"
    asked = options_of(project, defences=(noisy,), noise_images=0, attacks=("deepfool-uap",))
    first, again = (run(tmp_path / name, asked, machine_of(project, batch_size=5)) for name in ("first", "again"))
    for cell, labels in first.labels.items():
        assert again.labels[cell].tolist() == labels.tolist()
    drawn = [labels for cell, labels in first.labels.items() if "GaussianAugmentation" in cell.text]
    assert len({tuple(labels.tolist()) for labels in drawn}) > 1


# Images that are not as they should be.


def test_broken_images(project, tmp_path):
    images = write_colours(tmp_path / "images", 12)
    for name in ("red_things/3.png", "blue_things/5.png", "blue_things/7.png", "grey_things/2.png"):
        (images / name).write_bytes(b"no picture" if "red" in name else b"")
    asked = options_of(project, data=str(images), tune_images=0, noise_images=0, rows="paper", test_images=None)
    machine = machine_of(project, decoded_dir=tmp_path / "decoded")
    # All of them, whichever split they are in; nothing was computed, so that the next start need not allow a change.
    message = r"4 of 48 images cannot be read \(.*\.png: is no image.*; 1 more in .*`skip_broken`"
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", asked, machine)
    asked = Options(**{**vars(asked), "skip_broken": True})
    results = run(tmp_path / "run", asked, machine)
    assert sum(results.images.counts.values()) == 44
    remarks = " ".join(results.images.facts["remarks"])
    assert "could not be read" in remarks
    assert any(name in remarks for name in ("red_things/3.png", "blue_things/5.png"))
    assert all(len(labels) == len(results.images) for labels in results.labels.values())


def test_the_same_picture_in_two_splits_is_told(project, tmp_path):
    images = write_colours(tmp_path / "images", 6)
    for i in range(6):
        (images / "red_things" / f"{i}.png").write_bytes((images / "blue_things" / "0.png").read_bytes())
    asked = options_of(project, data=str(images), tune_images=0, noise_images=0, rows="paper", test_images=None)
    results = run(tmp_path / "run", asked, machine_of(project, decoded_dir=tmp_path / "decoded"))
    assert any("pixel for pixel, among those for craft" in remark for remark in results.images.facts["remarks"])


# Half precision.


def test_half_precision_is_used_only_where_labels_stay(project, tmp_path):
    """A network whose classes are far apart: the labels are the same, and the check is kept."""
    asked = options_of(project, rows="paper", noise_images=0)
    machine = machine_of(project, mixed_precision=True)
    half = run(tmp_path / "half", asked, machine)
    whole = run(tmp_path / "whole", asked, machine_of(project))
    prepared = Prepared.of(tmp_path / "half", asked, machine)
    assembly = prepared.assembly(prepared.load(False))
    check = CheckHalf(assembly.networks["mine-net"], assembly.images["test"], 256)
    differing = prepared.stores.run.read(check).record["differing"]
    assert half.config["mixed_precision"]
    assert "mixed_precision" not in whole.config
    same = [half.labels[cell].tolist() == labels.tolist() for cell, labels in whole.labels.items()]
    assert all(same) or differing == 0
    assert not half.failures
