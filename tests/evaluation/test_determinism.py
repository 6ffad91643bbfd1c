"""The same choices give the same bits, in whatever folder, by whatever number of threads and of images at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from folders import machine_of, options_of, write_project

from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.prepared import threads_of
from art_denoise.evaluation.run import run
from art_denoise.evaluation.store import read_artefact


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_same_bits(tmp_path):
    project = write_project(tmp_path / "own")
    options = options_of(project, tune_images=0, noise_images=0, attacks=("deepfool-uap", "pgd:max_iter=2"))

    def arrays(name: str, **machine: object) -> dict[str, np.ndarray]:
        folder = tmp_path / name / "run"
        results = run(folder, options, machine_of(project, **machine))
        assert not results.failures
        found = {cell.text: labels for cell, labels in results.labels.items()}
        for i, made in enumerate(results.made):
            file = folder / "perturbations" / f"{made.key}.safetensors"
            found[f"{made.what} {i}"] = read_artefact(file).arrays["perturbation"]
        return found

    once = arrays("one", threads=1)
    again = arrays("two", threads=2, batch_size=5, decoded_dir=tmp_path / "elsewhere")
    assert len(once) > 5
    assert list(again) == list(once)
    for name, array in once.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_machines_with_other_numbers_of_cores_agree_on_the_photographs():
    assert threads_of(Options(), Machine(), "cpu") == 1
    assert threads_of(Options(), Machine(threads=3), "cpu") == 3
    assert threads_of(Options(), Machine(), "gpu") is None
    assert threads_of(Options(data="images"), Machine(), "cpu") is None
