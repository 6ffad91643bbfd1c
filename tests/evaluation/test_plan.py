"""A plan says what a run will do, and does none of it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from folders import machine_of, options_of, times, write_project

from art_denoise import Perturbation
from art_denoise.evaluation import timing
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.plan import _bytes, _duration, plan
from art_denoise.evaluation.run import run

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return write_project(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def done(project) -> Path:
    """The folder of a run."""
    run(project / "run", options_of(project), machine_of(project))
    return project / "run"


@pytest.fixture
def folder(done, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(done, tmp_path / "run", ignore=shutil.ignore_patterns(".lock"))
    return tmp_path / "run"


def steps(text: str) -> dict[str, tuple[int, int]]:
    """Return by stage how many results are stored and how many are to be made."""
    found = re.findall(r"^(\S.*?) {2,}(?:(\d+) stored, )?(\d+) to do", text, flags=re.MULTILINE)
    return {stage: (int(stored or 0), int(to_do)) for stage, stored, to_do in found}


TABLE = {
    "Look at gradients": 3,
    "Try attacks": 2,
    "Craft, deepfool-uap": 1,
    "Craft, sgd-uap": 3,
    "Draw controls": 3,
    "Fit v_def": 2,
    "Choose v_def": 2,
    "Attack images, best-pgd": 5,
    "Score": 25,
    # Examples, and several strengths against the attack from the only column.
    "Make pictures": 2,
}


def test_a_plan_does_nothing(project, tmp_path):
    before, cache = times(project), Path(platformdirs.user_cache_path("art_denoise"))
    cached = times(cache)
    machine = machine_of(project, decoded_dir=tmp_path / "decoded")
    text = plan(tmp_path / "run", options_of(project), machine)
    assert text.startswith(f"Plan of {tmp_path / 'run'}; nothing has been computed or written.")
    assert list(tmp_path.iterdir()) == []
    assert times(project) == before
    assert times(cache) == cached
    assert steps(text) == {stage: (0, count) for stage, count in TABLE.items()}
    assert "Target: mine." in text
    assert "Column mine: white-box." in text
    assert re.search(r"^Images for test: 24 of 56 in .*, not decoded yet\.$", text, flags=re.MULTILINE)
    assert re.search(r"^Decode images +4 splits to do +56 ", text, flags=re.MULTILINE)
    assert re.search(r"^Altogether +\d+ (s|min)$", text, flags=re.MULTILINE)
    assert re.search(r"^Disk: \d+ \w?B of decoded images in", text, flags=re.MULTILINE)
    assert re.search(r"^Memory: about [\d.]+ (MB|GB), ", text, flags=re.MULTILINE)


def test_the_run_does_what_the_plan_says(project, tmp_path):
    options = options_of(project, noise_knowing=True, sweep=True)
    planned = steps(plan(tmp_path / "run", options, machine_of(project)))
    run(tmp_path / "run", options, machine_of(project))
    made = list((tmp_path / "run").glob("*/*.safetensors"))
    assert sum(to_do for _, to_do in planned.values()) == len(made)
    assert planned["Score"][1] == len([file for file in made if file.parent.name == "labels"])
    after = steps(plan(tmp_path / "run", options, machine_of(project)))
    assert after == {stage: (to_do, 0) for stage, (_, to_do) in planned.items()}


def test_a_plan_knows_what_is_there(done, project):
    before = times(done)
    text = plan(done, options_of(project), machine_of(project))
    assert "decoded yet" not in text
    assert "Decode images" not in text
    assert steps(text) == {stage: (count, 0) for stage, count in TABLE.items()}
    assert re.search(r"^Altogether +0 s$", text, flags=re.MULTILINE)
    assert times(done) == before


def test_a_plan_of_a_change(done, project):
    before = times(done)
    text = plan(done, options_of(project, sgd_passes=3), machine_of(project))
    assert "holds a run with other choices (options.sgd_passes: 1 there, 3 now): it needs `change`." in text
    found = steps(text)
    assert found["Craft, deepfool-uap"] == (1, 0)
    assert found["Craft, sgd-uap"] == (0, 3)
    # Cells of δ_SGD have to be scored again, whatever it will be.
    assert found["Score"] == (18, 7)
    assert found["Fit v_def"] == (2, 0)
    assert times(done) == before


def test_a_plan_after_an_interruption(folder, project):
    for file in sorted((folder / "labels").iterdir())[:6]:
        file.unlink()
    found = steps(plan(folder, options_of(project), machine_of(project)))
    assert found["Score"] == (19, 6)
    # What they need is there.
    assert all(to_do == 0 for stage, (_, to_do) in found.items() if stage != "Score")


def test_images_one_by_one(project, tmp_path):
    options = options_of(project, attacks=("pgd:max_iter=3",), defences=("rof",), noise_images=0)
    text = plan(tmp_path / "run", options, machine_of(project))
    found = steps(text)
    # Without the defence, and knowing it: 24 images with a gradient three times each.
    assert found["Attack images, pgd"] == (0, 2)
    assert re.search(r"^Attack images, pgd +2 to do +192 ", text, flags=re.MULTILINE)
    kilobytes = int(re.search(r"^Disk: (\d+) kB in", text, flags=re.MULTILINE)[1])
    assert kilobytes * 1000 > 2 * 24 * 3 * 16 * 16 * 4


def test_times_are_of_what_is_asked_for(project, tmp_path, monkeypatch):
    """Twice the images take twice the time, if nothing else is to be done."""
    monkeypatch.setattr(timing, "seconds_of", lambda classifier, few, size, repeats: 1.0 * size)
    Perturbation(np.full((3, 16, 16), 0.05, dtype=np.float32)).save(tmp_path / "theirs.safetensors")
    found = []
    for count in (10, 20):
        options = options_of(
            project, sources=(str(tmp_path / "theirs.safetensors"),), test_images=count, craft_images=0, tune_images=0,
            noise_images=0,
        )  # fmt: skip
        text = plan(tmp_path / "run", options, machine_of(project))
        found.append(re.search(r"^Score +9 to do +(\d+) +(\d+) min", text, flags=re.MULTILINE).groups())
        assert "Column theirs: from a file." in text
    assert [int(images) for images, _ in found] == [90, 180]
    # 1 s an image, and a little for the denoisers: a minute and a half, and three minutes.
    assert [int(minutes) for _, minutes in found] == [2, 3]


def test_the_photographs(tmp_path):
    """Networks that are not trained are timed with random weights."""
    cache = Path(platformdirs.user_cache_path("art_denoise"))
    before = times(cache)
    options = Options(quick=True, seed=77, attacks=("deepfool-uap",), defences=("rof",))
    text = plan(tmp_path / "run", options, Machine(device="cpu", jobs=3))
    assert list(tmp_path.iterdir()) == []
    assert times(cache) == before
    counts = "38 for train, 6 of them for craft, 19 for tune, 38 for noise-fit, 38 for test"
    assert f"Images: crops of 19 photographs: {counts}." in text
    found = steps(text)
    assert found["Train the networks"] == (0, 3)
    # On each network, and knowing the denoiser.
    assert found["Craft, deepfool-uap"] == (0, 6)
    assert "Target: Inception V1." in text
    assert "Column VGG16: transfer." in text
    assert "The work is shared by 3 processes; the times are those of one." in text


def test_what_is_wrong_is_told_of_as_a_run_would(project, tmp_path):
    with pytest.raises(ValueError, match="images are too few"):
        plan(tmp_path / "run", options_of(project, test_images=500), machine_of(project))
    with pytest.raises(ValueError, match="there is no attack 'pdg'"):
        plan(tmp_path / "run", options_of(project, attacks=("pdg",)), machine_of(project))
    with pytest.raises(ValueError, match=r"there is no file .*missing\.py"):
        plan(tmp_path / "run", replace(options_of(project), model="missing.py:net"), machine_of(project))


def test_sizes_and_times_as_they_are_read():
    assert [_bytes(n) for n in (999, 1000, 2_500_000, 3_200_000_000)] == ["999 B", "1 kB", "2 MB", "3.2 GB"]
    assert [_duration(s) for s in (59, 60, 3599, 3600, 48 * 3600)] == ["59 s", "1 min", "60 min", "1.0 h", "2.0 days"]
