"""What all universal attacks do: measure, stop, keep checkpoints, go on from them to the bit, and refuse bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from conftest import tiny_classifier

from art_denoise import SGDUAP, DeepFoolUAP, ROFDefence
from art_denoise.attacks import _crafting

SHAPE = (3, 8, 8)
ATTACKS = [DeepFoolUAP, SGDUAP]


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (24, *SHAPE)).astype(np.float32)


def make(attack: type, classifier: PyTorchClassifier | None = None, **kwargs):
    arguments = {
        "delta": 0.0,
        "max_iter": 3,
        "eps": 0.08,
        "batch_size": 2,
        "seed": 1,
        "measurements": 1,
        "verbose": False,
    }
    return attack(classifier or tiny_classifier(SHAPE), **{**arguments, **kwargs})


@pytest.mark.parametrize("attack", ATTACKS)
def test_record_and_history(x, attack):
    classifier = tiny_classifier(SHAPE)
    made = make(attack, classifier)
    result = made.craft(x)
    assert result.linf <= 0.08 * (1 + 1e-6)
    assert (result.attack, result.norm, result.eps, result.seed) == (attack.__name__, "inf", pytest.approx(0.08), 1)
    assert result.value_range == (0.0, 1.0)
    assert [set(record) for record in made.history] == [{"passes", "fooling_rate", "updates", "seconds"}] * 3
    assert [record["passes"] for record in made.history] == [1, 2, 3]
    assert result.provenance["passes"] == 3
    assert result.provenance["history"] == made.history
    labels = classifier.predict(x).argmax(1)
    rate = np.mean(classifier.predict(result.add_to(x)).argmax(1) != labels)
    assert made.fooling_rate == result.fooling_rates["crafting images"] == pytest.approx(rate)
    assert made.fooling_rate == max(record["fooling_rate"] for record in made.history)
    np.testing.assert_array_equal(made.noise[0], result.array)
    assert made.converged is False


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("clip_values", [(0.0, 255.0), (-1.0, 1.0)])
def test_other_ranges_and_bytes(x, attack, clip_values):
    """The same images on another scale, or as bytes, give the same perturbation as a share of the range."""
    low, high = clip_values
    images = np.round(x * 255).astype(np.uint8)
    unit = (images / np.float32(255)).astype(np.float32)

    class Rescaled(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network((x - low) / (high - low))

    plain = tiny_classifier(SHAPE)
    scaled = PyTorchClassifier(Rescaled(plain.model), plain.loss, SHAPE, 4, clip_values=clip_values, device_type="cpu")
    expected = make(attack, plain, eps=None, max_iter=1).craft(unit)
    assert expected.eps == pytest.approx(10 / 255)
    for same in (images, unit * (high - low) + low):
        result = make(attack, scaled, eps=None, max_iter=1).craft(same)
        np.testing.assert_allclose(result.array, expected.array, atol=1e-4 * expected.eps)
        assert result.value_range == clip_values


@pytest.mark.parametrize("attack", ATTACKS)
def test_generate_adds_the_noise_in_the_classifiers_units(x, attack):
    made = make(attack)
    before = x.copy()
    adversarial = made.generate(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(adversarial, np.clip(x + made.noise, 0, 1), atol=1e-7)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_seed_decides(x, attack):
    first, same, other = (make(attack, seed=seed).craft(x).array for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("attack", ATTACKS)
def test_of_several_starts_the_one_that_fools_most_images_of_its_own(x, attack):
    classifier = tiny_classifier(SHAPE)
    made = make(attack, classifier, starts=3)
    result = made.craft(x)
    found = result.provenance["fooling_rates_of_starts"]
    assert len(found) == 3
    assert len(set(found)) > 1, "nothing to choose"
    assert result.fooling_rates["images for the choice"] == max(found)
    # One in five of 24 images is for the choice, the others are crafted from.
    crafting, choosing = made._divided(24)
    assert len(choosing) == 4
    assert sorted([*crafting, *choosing]) == list(range(24))
    seed = 1 + 1_000_003 * int(np.argmax(found))
    again = make(attack, classifier, seed=seed).craft(x[crafting])
    np.testing.assert_array_equal(result.array, again.array)
    labels = classifier.predict(x[choosing]).argmax(1)
    fooled = classifier.predict(result.add_to(x[choosing])).argmax(1) != labels
    assert float(np.mean(fooled)) == max(found)
    with pytest.raises(ValueError, match="`x` must be at least 5 images for 3 starts, got 4"):
        make(attack, classifier, starts=3).craft(x[:4])


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_start_goes_on_from_its_checkpoint(x, attack, tmp_path, monkeypatch):
    file = tmp_path / "kept"
    expected = make(attack, starts=2).craft(x)
    make(attack, starts=2, checkpoint=file).craft(x)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "kept.1"]
    monkeypatch.setattr(attack, "_update", None)  # nothing is crafted any more
    found = make(attack, starts=2, checkpoint=file).craft(x)
    np.testing.assert_array_equal(found.array, expected.array)
    monkeypatch.undo()
    # One more leaves the first two as they are.
    made = []
    update = attack._update
    monkeypatch.setattr(attack, "_update", lambda *given: made.append(1) or update(*given))
    make(attack, starts=3, checkpoint=file).craft(x)
    assert len(made) == 3 * 10  # passes over 20 images, two at a time


def test_labels_go_with_their_images(x):
    labels = np.arange(24) % 4
    made = make(SGDUAP, starts=2)
    crafting, _ = made._divided(24)
    result = made.craft(x, labels)
    seed = 1 + 1_000_003 * int(np.argmax(result.provenance["fooling_rates_of_starts"]))
    np.testing.assert_array_equal(result.array, make(SGDUAP, seed=seed).craft(x[crafting], labels[crafting]).array)


@pytest.mark.parametrize("attack", ATTACKS)
def test_numbers_of_numpy_are_taken_as_pythons(x, attack, tmp_path):
    """Options that come from an array are written into checkpoints and files after all the work."""
    own = {"step_size": np.float32(0.5)} if attack is SGDUAP else {"attacker_params": {"epsilon": np.float32(0.02)}}
    given = {
        "seed": np.arange(3)[1],
        "max_iter": np.int64(1),
        "eps": np.float32(0.0625),
        "batch_size": np.int8(2),
        **own,
    }
    made = make(attack, checkpoint=tmp_path / "kept", **given)
    result = made.craft(x)
    result.save(tmp_path / "v.safetensors")
    assert type(made.seed) is type(made.max_iter) is int
    own = {"step_size": 0.5} if attack is SGDUAP else {"attacker_params": {"epsilon": float(np.float32(0.02))}}
    expected = make(attack, seed=1, max_iter=1, eps=0.0625, batch_size=2, **own).craft(x)
    np.testing.assert_array_equal(result.array, expected.array)
    made.set_params(seed=np.int64(2))
    assert type(made.seed) is int


def test_ends_when_the_rate_is_reached(x):
    made = make(SGDUAP, delta=0.9, max_iter=10)
    made.craft(x)
    assert made.converged is True
    assert made.history[-1]["fooling_rate"] >= 0.1
    assert all(record["fooling_rate"] < 0.1 for record in made.history[:-1])


def test_ends_on_a_plateau(x):
    made = make(DeepFoolUAP, max_iter=40, patience=2, seed=3)
    made.craft(x)
    rates = [record["fooling_rate"] for record in made.history]
    assert 3 <= len(rates) < 40
    assert max(rates[-2:]) <= max(rates[:-2])
    for end in range(3, len(rates)):
        assert max(rates[end - 2 : end]) > max(rates[: end - 2])


@pytest.mark.parametrize("attack", ATTACKS)
def test_measured_several_times_in_a_pass(x, attack):
    """The same way through the images, seen more often; the best of more is no worse."""
    once = make(attack)
    once.craft(x)
    often = make(attack, measurements=5)
    result = often.craft(x)
    assert [record["passes"] for record in often.history] == pytest.approx(
        [p + batches / 12 for p in range(3) for batches in (2, 4, 7, 9, 12)]
    )
    assert [r["fooling_rate"] for r in often.history][4::5] == [r["fooling_rate"] for r in once.history]
    assert [sum(r["updates"] for r in often.history[k : k + 5]) for k in (0, 5, 10)] == [
        record["updates"] for record in once.history
    ]
    assert often.fooling_rate == max(r["fooling_rate"] for r in often.history) >= once.fooling_rate
    assert result.provenance["passes"] == 3
    # As many as there are batches, at most.
    more = make(attack, measurements=100, max_iter=1)
    more.craft(x)
    assert len(more.history) == 12


def test_ends_in_the_middle_of_a_pass(x):
    made = make(SGDUAP, delta=0.95, measurements=12)
    result = made.craft(x)
    assert made.converged
    assert result.provenance["passes"] < 1


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_best_pass_is_the_result(x, attack, monkeypatch):
    """Rates as if they fell after the second pass."""
    rates = iter([0.1, 0.3, 0.2])
    kept = []

    def labels_of(classifier, images, noise=None, **kwargs):
        if noise is None:
            return np.zeros(len(images), dtype=np.int64)
        kept.append(noise.copy())
        return (np.arange(len(images)) < next(rates) * len(images)).astype(np.int64)

    monkeypatch.setattr(_crafting, "labels_of", labels_of)
    result = make(attack).craft(x)
    np.testing.assert_array_equal(result.array, kept[1])
    assert not np.array_equal(kept[1], kept[2])


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("interrupted_at", "measurements"), [(1, 1), (3, 4), (4, 2), (5, 1), (7, 3)])
def test_goes_on_from_any_place_to_the_bit(x, attack, interrupted_at, measurements, tmp_path, monkeypatch):
    """Stopped at any update, with a checkpoint after every pass or every update, the perturbation is the same."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence(0.05)])
    x = x[:8]
    undisturbed = make(attack, classifier, measurements=measurements)
    expected = undisturbed.craft(x)
    for seconds in (60.0, 0.0):
        monkeypatch.setattr(_crafting, "_CHECKPOINT_SECONDS", seconds)
        file = tmp_path / f"{seconds}.checkpoint"
        made = make(attack, classifier, checkpoint=file, measurements=measurements)
        update, calls = made._update, []

        def stopping(*args, update=update, calls=calls):
            calls.append(1)
            if len(calls) == interrupted_at:
                raise KeyboardInterrupt
            return update(*args)

        made._update = stopping
        with pytest.raises(KeyboardInterrupt):
            made.craft(x)
        del made._update
        again = make(attack, classifier, checkpoint=file, measurements=measurements)
        result = again.craft(x)
        np.testing.assert_array_equal(result.array, expected.array)
        assert [r["fooling_rate"] for r in again.history] == [r["fooling_rate"] for r in undisturbed.history]
        assert [r["updates"] for r in again.history] == [r["updates"] for r in undisturbed.history]
    assert not list(tmp_path.glob("*.part"))


SCRIPT = """
import os
import signal
import sys
import time

import numpy as np

sys.path.insert(0, {tests!r})
from conftest import tiny_classifier
from art_denoise import {attack}
from art_denoise.attacks import _crafting

_crafting._CHECKPOINT_SECONDS = 0.02


def craft(name):
    x = np.random.default_rng(1).uniform(0, 1, (32, 3, 8, 8)).astype(np.float32)
    arguments = dict(delta=0.0, max_iter=6, eps=0.05, batch_size=1, verbose=False, checkpoint=name + ".checkpoint")
    np.save(name + ".npy", {attack}(tiny_classifier((3, 8, 8)), **arguments).craft(x).array)


def kept():
    return os.stat("killed.checkpoint").st_mtime_ns if os.path.exists("killed.checkpoint") else 0


# Copies of this process, which has all that takes long to import, and has not computed yet.
for name, kill in (("alone", False), ("killed", True), ("killed", True), ("killed", False)):
    before, process = kept(), os.fork()
    if process == 0:
        craft(name)
        os._exit(0)
    if kill:
        until = time.monotonic() + 60
        while kept() == before and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(process, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs copies of processes")
@pytest.mark.parametrize("attack", ["DeepFoolUAP", "SGDUAP"])
def test_killed_and_started_again(attack, tmp_path):
    """`kill -9` again and again, wherever it hits: the result is that of a run left alone."""
    text = SCRIPT.format(tests=str(Path(__file__).parents[1]), attack=attack)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    # Killed twice, each time after another checkpoint.
    assert done.stdout.split() == ["0", "-9", "-9", "0"], done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "alone.npy"))


def test_a_finished_crafting_is_read_and_more_passes_are_added(x, tmp_path, monkeypatch):
    file = tmp_path / "c"
    first = make(DeepFoolUAP, max_iter=2, checkpoint=file)
    first.craft(x)
    monkeypatch.setattr(DeepFoolUAP, "_update", lambda *args: pytest.fail("crafted again"))
    np.testing.assert_array_equal(make(DeepFoolUAP, max_iter=2, checkpoint=file).craft(x).array, first.noise[0])
    monkeypatch.undo()
    more = make(DeepFoolUAP, max_iter=4, checkpoint=file).craft(x)
    np.testing.assert_array_equal(more.array, make(DeepFoolUAP, max_iter=4).craft(x).array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed: 1 there, 2 now"),
        ({"eps": 0.1}, "eps: 0.08 there, 0.1 now"),
        ({"attacker_params": {"max_iter": 20}}, "attacker_params: None there"),
        ({"classifier": tiny_classifier(SHAPE, seed=5)}, "classifier: [0-9a-f]{16} there"),
        ({"classifier": tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence()])}, "classifier: "),
    ],
)
def test_checkpoints_of_another_crafting_are_refused(x, change, message, tmp_path):
    make(DeepFoolUAP, max_iter=1, checkpoint=tmp_path / "c").craft(x)
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(ValueError, match=f"`checkpoint`.*{message}.*delete this one"):
        make(DeepFoolUAP, **{"max_iter": 1, "checkpoint": tmp_path / "c", **change}).craft(x)
    with pytest.raises(ValueError, match=r"`checkpoint`.*images: "):
        make(DeepFoolUAP, max_iter=1, checkpoint=tmp_path / "c").craft(x[::-1].copy())
    assert (tmp_path / "c").read_bytes() == before


def test_other_files_are_no_checkpoints(x, tmp_path):
    (tmp_path / "c").write_text("something else")
    with pytest.raises(ValueError, match=r"`checkpoint`.*is no checkpoint, or is damaged"):
        make(DeepFoolUAP, checkpoint=tmp_path / "c").craft(x)
    assert (tmp_path / "c").read_text() == "something else"


def test_a_memory_map_is_read_in_pieces(x, tmp_path):
    """The same from a memory map of bytes as from the array; nothing is written to it."""
    images = np.round(x * 255).astype(np.uint8)
    np.save(tmp_path / "x.npy", images)
    before = (tmp_path / "x.npy").read_bytes()
    for mode in ("r", "r+", "c"):
        mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
        if mode == "c":
            mapped[0] = 255 - mapped[0]
            images[0] = 255 - images[0]
        np.testing.assert_array_equal(make(SGDUAP).craft(mapped).array, make(SGDUAP).craft(images).array)
        np.testing.assert_array_equal(mapped, images)
    assert (tmp_path / "x.npy").read_bytes() == before


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_progress_bar_with_the_fooling_rate(x, attack, capsys):
    make(attack, verbose=True).craft(x)
    shown = capsys.readouterr().err
    assert "fooling rate" in shown
    assert "72/72" in shown  # images of three passes
    assert shown.count("\n") == 1  # one bar, and not one for each image


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"eps": 0}, "`eps` must be finite and > 0"),
        ({"max_iter": 0}, "`max_iter` must be >= 1"),
        ({"batch_size": 0}, "`batch_size` must be >= 1"),
        ({"delta": 2}, "`delta` must be finite and >= 0 and <= 1"),
        ({"norm": 1}, "`norm` must be np.inf, 'inf' or 2, got 1"),
        ({"norm": "2"}, "`norm` must be"),
        ({"seed": -1}, "`seed` must be >= 0"),
        ({"patience": 0}, "`patience` must be >= 1"),
        ({"measurements": 0}, "`measurements` must be >= 1"),
    ],
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_bad_parameters(attack, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(attack, **kwargs)


@pytest.mark.parametrize("attack", ATTACKS)
def test_eps_of_another_range_names_the_mistake(x, attack):
    with pytest.raises(
        ValueError, match=r"`eps` = 10 is larger than the range of the images, 0 to 1.*\* 1 / 255.*0.0392"
    ):
        make(attack, eps=10).craft(x)
    with pytest.raises(ValueError, match="`eps` must be given for norm 2"):
        make(attack, eps=None, norm=2).craft(x)
    with pytest.raises(ValueError, match="larger than the range"):
        make(attack, eps=20, norm=2).craft(x)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x * 255, ValueError, r"`x` must be within `clip_values` = \(0, 1\), got .* to 2"),
        (lambda x: np.where(x == x.max(), np.nan, x), ValueError, "`x` must be within"),
        (lambda x: x[:0], ValueError, "N >= 1"),
        (lambda x: x[0], ValueError, r"`x` must be images \(N, 3, 8, 8\)"),
        (lambda x: (x * 255).astype(np.int64), TypeError, "of floats .*or of bytes, got int64"),
        (lambda x: x.tolist(), TypeError, "must be an array .*got list"),
    ],
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_bad_images(x, attack, change, error, message):
    with pytest.raises(error, match=message):
        make(attack).craft(change(x))


@pytest.mark.parametrize("attack", ATTACKS)
def test_classifiers_without_a_range_are_refused(x, attack):
    plain = tiny_classifier(SHAPE)
    without = PyTorchClassifier(plain.model, plain.loss, SHAPE, 4, device_type="cpu")
    with pytest.raises(ValueError, match="`classifier` must have `clip_values`"):
        make(attack, without).craft(x)


@pytest.mark.parametrize("attack", ATTACKS)
def test_probabilities_are_warned_of(x, attack):
    plain = tiny_classifier(SHAPE)
    network = torch.nn.Sequential(plain.model, torch.nn.Softmax(dim=1))
    soft = PyTorchClassifier(network, plain.loss, SHAPE, 4, clip_values=(0, 1), device_type="cpu")
    with pytest.warns(RuntimeWarning, match="probabilities.*Take the softmax off"):
        make(attack, soft, max_iter=1).craft(x)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_single_output_is_refused_with_the_remedy(x, attack):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1))
    single = PyTorchClassifier(network, torch.nn.BCEWithLogitsLoss(), SHAPE, 2, clip_values=(0, 1), device_type="cpu")
    with pytest.raises(ValueError, match=r"K >= 2, got \(\d+, 1\).*torch.cat"):
        make(attack, single).craft(x)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_perturbation_of_zero_is_an_error(x, attack):
    classifier = tiny_classifier(SHAPE)
    for parameter in classifier.model.parameters():
        parameter.data.zero_()
    classifier.model[-1].bias.data[0] = 3  # always class 0, with no slope
    with pytest.raises(ValueError, match="stayed zero: none of 2 images"):
        make(attack, classifier).craft(x[:2])


@pytest.mark.parametrize("attack", ATTACKS)
def test_defences_for_numpy_are_named(x, attack):
    from art.defences.preprocessor import SpatialSmoothing

    classifier = tiny_classifier(SHAPE, preprocessing_defences=[SpatialSmoothing(channels_first=True)])
    with pytest.raises(ValueError, match=r"AsPyTorch\(defence\)"):
        make(attack, classifier).craft(x)
