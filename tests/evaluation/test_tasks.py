"""Each kind of task by itself, on a small network: what it makes, of what, and again after an interruption."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from art_denoise import DefensiveNoiseDefence, Perturbation, ROFDefence
from art_denoise.attacks import _crafting
from art_denoise.data.sets import ImageSet, Split
from art_denoise.data.splits import fingerprint
from art_denoise.evaluation import art_attacks
from art_denoise.evaluation.added import perturbation_of
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.components import make_preprocessor, parse_attack, parse_defence
from art_denoise.evaluation.engines import local
from art_denoise.evaluation.experiment import Defence
from art_denoise.evaluation.graph import Environment, Network, Task
from art_denoise.evaluation.images import Images
from art_denoise.evaluation.scoring import drawn_from_all
from art_denoise.evaluation.statistics import ATTACK_FAILED, NOT_ATTACKED
from art_denoise.evaluation.tasks import attack as attacking
from art_denoise.evaluation.tasks import score as scoring
from art_denoise.evaluation.tasks.attack import AttackImages, attack_all
from art_denoise.evaluation.tasks.audit import AuditGradients
from art_denoise.evaluation.tasks.chain import Through
from art_denoise.evaluation.tasks.check import CheckHalf, CheckNetwork
from art_denoise.evaluation.tasks.examples import ShowExamples, first_of_each_class
from art_denoise.evaluation.tasks.noise import ChooseNoise, FitNoise, RandomDirection
from art_denoise.evaluation.tasks.perturbations import Craft, Given, Signs
from art_denoise.evaluation.tasks.score import Score
from art_denoise.evaluation.tasks.strengths import ShowStrengths, confidences
from art_denoise.evaluation.workplace import Stores, Workplace
from art_denoise.models import Model

SHAPE, N = (3, 8, 8), 40
NETWORK = Network("net", "net", "art_denoise.models.find", Environment("cpu", "2.0", 1))
EPS = 40 / 255
ROF = parse_defence("rof:weight=30").preprocessors


def split_of(seed: int) -> Split:
    """Images that the network classifies right, but for every fourth."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (N, *SHAPE), dtype=np.uint8)
    labels = tiny_classifier().predict(images.astype(np.float32) / 255).argmax(axis=1)
    labels[::4] = (labels[::4] + 1) % 4
    return Split(images, labels, fingerprint(images, labels), names=tuple(f"{i}.png" for i in range(N)))


SPLITS = {purpose: split_of(i) for i, purpose in enumerate(("craft", "tune", "noise-fit", "test"))}
CRAFT, TUNE, FIT, TEST = (Images(p, s.fingerprint, N, SHAPE) for p, s in SPLITS.items())


class Place(Workplace):
    """A workplace in which a classifier counts the images that it is given."""

    def __init__(self, folder, **kwargs) -> None:
        network = tiny_classifier().model
        model = Model("m", "net", "m", "m", lambda: network, lambda: network, lambda: "", input_size=8, outputs=4)
        given = {"theirs": Perturbation(np.full(SHAPE, 0.1, dtype=np.float32))}
        stores = Stores(folder / "run", folder / "cache")
        super().__init__(
            ImageSet("pictures", "picture", SPLITS, dict),
            {"net": model},
            given,
            "net",
            stores,
            device_type="cpu",
            **kwargs,
        )
        classifier = self.classifier(NETWORK)
        self.predicted, predict = 0, classifier.predict

        def counted(x, *args, **kwargs):
            self.predicted += len(x)
            return predict(x, *args, **kwargs)

        classifier.predict = counted


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path, batch_size=8)


def made(place: Place, task: Task) -> Artefact:
    """Do a task, and what it needs."""
    outcome = local.run([task], place.stores, lambda: place, progress=False)
    assert not outcome.failures, outcome.failures
    return place.artefact(task)


def perturbation(place: Place, task: Task) -> Perturbation:
    return perturbation_of(made(place, task))


def clean(split: Split) -> np.ndarray:
    return split.images.astype(np.float32) / 255


def craft(text: str, through: Through | None = None, seed: int = 0) -> Craft:
    threat = parse_attack(text)
    return Craft(threat.attack, EPS, threat.norm, NETWORK, CRAFT, through or Through(), seed, "δ on net")


SGD = "sgd-uap:max_iter=2,batch_size=8"


class Interrupted(KeyboardInterrupt):
    pass


def interrupt_after(place: Place, task: Task, count: int) -> None:
    """Stop a task when it has told of so many steps."""
    told = 0

    def stop(steps: int) -> None:
        nonlocal told
        told += steps
        if told >= count:
            raise Interrupted

    place.told = stop
    with pytest.raises(Interrupted):
        task.run(place)


# Perturbations.


@pytest.mark.parametrize("text", [SGD, "deepfool-uap:max_iter=1", "sgd-uap:max_iter=1,batch_size=8,norm=2,eps=40/255"])
def test_crafting(place, text):
    task = craft(text)
    found = perturbation(place, task)
    size = np.abs(found.array).max() if task.norm == "inf" else np.linalg.norm(found.array)
    assert 0 < size <= EPS * (1 + 1e-5)
    assert (found.source, found.seed, found.norm) == ("net", 0, task.norm)
    assert found.fooling_rates["crafting images"] > 0
    # Its file is one of a perturbation, which can be read by itself.
    assert np.array_equal(Perturbation.load(place.stores.run.file(task)).array, found.array)
    assert not np.array_equal(perturbation(place, craft(text, seed=1)).array, found.array)


def test_crafting_through_a_defence(place):
    arrays = [
        perturbation(place, craft(SGD, Through(preprocessors, gradient))).array
        for preprocessors, gradient in (((), "exact"), (ROF, "exact"), (ROF, "identity"))
    ]
    assert len({array.tobytes() for array in arrays}) == 3
    assert place.classifier(NETWORK).preprocessing_defences is None


@pytest.mark.parametrize("text", [SGD, "deepfool-uap:max_iter=2"])
def test_crafting_goes_on_where_it_was_interrupted(place, tmp_path, monkeypatch, text):
    monkeypatch.setattr(_crafting, "_CHECKPOINT_SECONDS", 0.0)
    task = craft(text)
    interrupt_after(place, task, 20)
    assert place.checkpoint(task).is_file()
    other = Place(tmp_path / "undisturbed", batch_size=8)
    told: list[int] = []
    place.told = told.append
    assert np.array_equal(perturbation_of(task.run(place)).array, perturbation(other, task).array)
    # First of all it says how far it had come.
    assert 0 < told[0] < sum(told) <= 2 * N
    perturbation(place, task)
    assert not place.checkpoint(task).exists()


def test_crafting_begins_anew_where_it_cannot_be_read_how_far_it_had_come(place, tmp_path, monkeypatch):
    monkeypatch.setattr(_crafting, "_CHECKPOINT_SECONDS", 0.0)
    task = craft(SGD)
    interrupt_after(place, task, 20)
    file = place.checkpoint(task)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.warns(RuntimeWarning, match="checkpoint is damaged"):
        found = perturbation(place, task)
    other = Place(tmp_path / "undisturbed", batch_size=8)
    assert np.array_equal(found.array, perturbation(other, task).array)


def test_controls_and_files(place):
    signs = perturbation(place, Signs(SHAPE, EPS, 3)).array
    assert set(np.abs(signs).ravel().tolist()) == {np.float32(EPS)}
    assert 0 < (signs > 0).mean() < 1
    assert not np.array_equal(perturbation(place, Signs(SHAPE, EPS, 4)).array, signs)
    assert np.array_equal(perturbation(place, Given("theirs", "digits")).array, np.full(SHAPE, 0.1, np.float32))


def test_of_the_images_for_crafting_only_the_first_are_used_if_so_many_are_asked_for(place):
    task = replace(craft(SGD), images=CRAFT.first(12))
    found = perturbation(place, task)
    assert found.provenance["images"] == 12
    assert not np.array_equal(found.array, perturbation(place, craft(SGD)).array)


# Images one by one.


def parts(text: str = "pgd:max_iter=3", through: Through | None = None, seed: int = 0) -> tuple[AttackImages, ...]:
    threat = parse_attack(text)
    return attack_all(threat.attack, EPS, threat.norm, NETWORK, TEST, through or Through(), seed, "δ", threat.images)


def test_images_one_by_one(place, monkeypatch):
    monkeypatch.setattr(attacking, "PART", 16)
    tasks = parts()
    assert [task.title.split(":")[0] for task in tasks] == [
        "Attack images 1 to 16", "Attack images 17 to 32", "Attack images 33 to 40",
    ]  # fmt: skip
    x, y = clean(SPLITS["test"]), SPLITS["test"].labels
    attacked = np.concatenate([made(place, task).arrays["images"] for task in tasks])
    assert (attacked.dtype, attacked.shape) == (np.float32, x.shape)
    assert np.abs(attacked - x).max() <= EPS + 1e-6
    assert 0 <= attacked.min() <= attacked.max() <= 1
    right = [(tiny_classifier().predict(images).argmax(axis=1) == y).mean() for images in (x, attacked)]
    assert right[1] < right[0] - 0.3
    # Each part draws for itself, and again the same.
    assert np.array_equal(tasks[1].run(place).arrays["images"], attacked[16:32])
    assert not np.array_equal(replace(tasks[1], seed=1).run(place).arrays["images"], attacked[16:32])


def test_parts_draw_apart(place, monkeypatch):
    """The same images in two parts are not attacked alike."""
    monkeypatch.setattr(attacking, "PART", 4)
    first, second = (parts("pgd:max_iter=1,eps_step=1")[n] for n in (0, 1))
    split = SPLITS["test"]
    twice = Split(np.tile(split.images[:4], (2, 1, 1, 1)), np.tile(split.labels[:4], 2), split.fingerprint)
    monkeypatch.setitem(place._images.splits, "test", twice)
    images = [task.run(place).arrays["images"] for task in (first, second)]
    assert images[0].shape == images[1].shape
    assert not np.array_equal(*images)


def test_images_one_by_one_through_a_defence(place):
    through = [Through(), Through(ROF), Through(ROF, "identity")]
    images = [made(place, parts(through=t)[0]).arrays["images"] for t in through]
    assert len({array.tobytes() for array in images}) == 3


def test_of_many_images_few_are_attacked_spread_over_all(place, monkeypatch):
    monkeypatch.setattr(attacking, "PART", 3)
    tasks, few = parts("best-pgd:max_iter=3,images=5"), [0, 10, 20, 29, 39]
    assert [task.where.tolist() for task in tasks] == [few[:3], few[3:]]
    assert [task.work.forward for task in tasks] == [3, 2]
    assert tasks[0].title.startswith("Attack images 3 of 40: ")
    attacked = np.concatenate([made(place, task).arrays["images"] for task in tasks])
    labels = made(place, Score(NETWORK, TEST, tasks)).arrays["labels"]
    assert np.flatnonzero(labels != NOT_ATTACKED).tolist() == few
    assert labels[few].tolist() == tiny_classifier().predict(attacked).argmax(axis=1).tolist()
    assert len({task.key for task in (*tasks, *parts("best-pgd:max_iter=3,images=6"))}) == 4


def test_an_image_that_an_attack_fails_on_counts_as_wrong_and_the_others_are_kept(place, monkeypatch):
    broken, original = clean(SPLITS["test"])[3], art_attacks.attack_images

    def fails(classifier, attack, *, x, **more):
        if (x == broken).all(axis=(1, 2, 3)).any():
            raise FloatingPointError("a fault")
        return original(classifier, attack, x=x, **more)

    monkeypatch.setattr(art_attacks, "attack_images", fails)
    tasks = parts("best-pgd:max_iter=3")
    assert made(place, tasks[0]).record["failed"] == {"3": "FloatingPointError: a fault"}
    labels = made(place, Score(NETWORK, TEST, tasks)).arrays["labels"]
    assert np.flatnonzero(labels == ATTACK_FAILED).tolist() == [3]
    assert np.mean(labels == SPLITS["test"].labels) < 0.4


def test_an_attack_that_fails_on_all_images_is_an_error(place, monkeypatch):
    def fails(*args, **more):
        raise FloatingPointError("a fault")

    monkeypatch.setattr(art_attacks, "attack_images", fails)
    outcome = local.run([parts()[0]], place.stores, lambda: place, progress=False)
    assert "a fault" in next(iter(outcome.failures.values())).error


def test_gradients_are_looked_at_on_a_few_images(place):
    alone, behind, cut = (
        made(place, AuditGradients(NETWORK, TEST, Through(chain), 0, "D")).record
        for chain in ((), ROF, parse_defence("art:JpegCompression:quality=20").preprocessors)
    )
    assert (alone["images"], alone["cut"], alone["draws"], alone["scale"]) == (8, [], "none", 1.0)
    assert alone["off"] < 0.02
    assert behind["off"] < 0.1
    assert behind["scale"] < 1
    assert cut["off"] > 0.1


# v_def.


def fit(sigma: float | None = 0.1, preprocessors=(), **changes) -> FitNoise:
    given = {"accept": "loss", "through": "defences", "draws": 4, "seed": 0, "text": "D", **changes}
    return FitNoise(NETWORK, FIT, preprocessors, sigma, None if sigma is None else 2 / 255, **given)


def rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).mean()))


def test_fitting_v_def(place):
    alone, behind = perturbation(place, fit()), perturbation(place, fit(preprocessors=ROF))
    for noise in (alone, behind):
        assert rms(noise.array) == pytest.approx(2 / 255, rel=1e-4)
        assert noise.provenance["sigma"] == 0.1
    assert not np.array_equal(alone.array, behind.array)
    # By hand, with the class itself.
    by_hand = DefensiveNoiseDefence(device_type="cpu")
    classifier = tiny_classifier()
    by_hand.fit(clean(SPLITS["noise-fit"]), SPLITS["noise-fit"].labels, classifier=classifier, accept="loss", sigma=0.1,
                eps=2 / 255, draws=4, seed=0)  # fmt: skip
    np.testing.assert_allclose(alone.array, by_hand.noise, atol=1e-6)


def test_without_a_helpful_draw_v_def_is_absent(place):
    useless = fit(1e-7, accept="flip", draws=1)
    found = made(place, useless)
    assert found.why_absent == "no defensive noise can be estimated, none of 10 draws helped"
    # What needs it, is absent too; what chooses, does without.
    assert made(place, ChooseNoise((useless,), (0.01,), TUNE)).why_absent == found.why_absent
    scored = Score(NETWORK, TEST, noise=ChooseNoise((useless,), (0.01,), TUNE))
    assert made(place, scored).why_absent == found.why_absent
    chosen = perturbation(place, ChooseNoise((useless, fit()), (0.01,), TUNE))
    assert chosen.provenance["sigma"] == 0.1


def test_choosing_v_def_by_the_loss_on_tuning_images(place):
    sizes = (60 / 255, 20 / 255, 1 / 255)
    task = ChooseNoise((fit(0.05), fit(0.2)), sizes, TUNE)
    found = perturbation(place, task)
    tried = found.provenance["tried"]
    assert [(t["sigma"], t["eps"]) for t in tried] == [(sigma, eps) for sigma in (0.05, 0.2) for eps in sizes]
    # The losses by hand, of the noises scaled.
    x, y = clean(SPLITS["tune"]), SPLITS["tune"].labels
    by_hand = []
    for trial in tried:
        noise = perturbation(place, fit(trial["sigma"])).array
        z = tiny_classifier().predict(np.clip(x + noise * trial["eps"] / rms(noise), 0, 1)).astype(np.float64)
        by_hand.append(float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(N), y]).mean()))
    np.testing.assert_allclose([t["tuning_loss"] for t in tried], by_hand, rtol=1e-4)
    best = tried[int(np.argmin(by_hand))]
    assert best is not tried[0]
    assert (found.provenance["sigma"], found.provenance["eps"]) == (best["sigma"], best["eps"])
    assert rms(found.array) == pytest.approx(best["eps"], rel=1e-4)


def test_a_defender_who_knows_the_attack(place):
    chosen = ChooseNoise((fit(),), (8 / 255,), TUNE)
    knowing = replace(fit(None), added=craft(SGD), like=chosen)
    found = perturbation(place, knowing)
    # As large as the one that does not know, and another.
    assert rms(found.array) == pytest.approx(8 / 255, rel=1e-4)
    assert found.provenance["sigma"] == 0.1
    assert not np.array_equal(found.array, perturbation(place, chosen).array)


def test_a_random_direction_is_as_large_as_v_def(place):
    chosen = ChooseNoise((fit(),), (8 / 255,), TUNE)
    noise = perturbation(place, chosen).array
    controls = [
        perturbation(place, RandomDirection(chosen, seed, number)).array for seed, number in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({control.tobytes() for control in controls}) == 3
    for control in controls:
        assert rms(control) == pytest.approx(rms(noise), rel=1e-5)
        assert abs(np.sum(control * noise)) / (rms(noise) ** 2 * noise.size) < 0.3


# Labels.


def test_labels_are_those_of_the_attacked_image_behind_the_defence(place):
    noise = ChooseNoise((fit(),), (8 / 255,), TUNE)
    task = Score(NETWORK, TEST, craft(SGD), noise, ROF, text="a cell")
    x = np.clip(clean(SPLITS["test"]) + perturbation(place, craft(SGD)).array, 0, 1)
    x = DefensiveNoiseDefence(perturbation(place, noise).array, device_type="cpu")(x)[0]
    x = ROFDefence(30 / 255, device_type="cpu")(x)[0]
    expected = tiny_classifier().predict(x).argmax(axis=1)
    found = made(place, task).arrays["labels"]
    assert found.dtype == np.int64
    assert found.tolist() == expected.tolist()
    others = [replace(task, **{name: None}) for name in ("added", "noise")] + [replace(task, preprocessors=())]
    assert any(made(place, other).arrays["labels"].tolist() != found.tolist() for other in others)


def test_labels_of_images_that_were_attacked_one_by_one(place, monkeypatch):
    monkeypatch.setattr(attacking, "PART", 16)
    tasks = parts()
    found = made(place, Score(NETWORK, TEST, tasks)).arrays["labels"]
    attacked = np.concatenate([place.artefact(task).arrays["images"] for task in tasks])
    assert found.tolist() == tiny_classifier().predict(attacked).argmax(axis=1).tolist()


@pytest.mark.parametrize(("draws", "after"), [(1, 24), (3, 24), (3, N + 8)])
def test_scoring_goes_on_where_it_was_interrupted(place, tmp_path, monkeypatch, draws, after):
    """With a defence that draws at random: the labels are those of a run that was left alone."""
    monkeypatch.setattr(scoring, "_CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("art_denoise.evaluation.scoring._BATCHES_DENOISED", 1)
    noisy = (make_preprocessor("art:GaussianAugmentation", sigma=0.5, augmentation=False),)
    task = Score(NETWORK, TEST, preprocessors=noisy, seed=3, draws=draws)
    whole = made(Place(tmp_path / "undisturbed", batch_size=8), task).arrays
    undisturbed = whole["labels"]
    interrupt_after(place, task, after)
    so_far = place.so_far(task).arrays["labels"]
    assert 0 < len(so_far) <= after
    place.predicted, place.told = 0, lambda count: None
    found = made(place, task).arrays
    assert place.predicted == draws * N - len(so_far)
    assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in whole.items()}
    assert ("drawn" in found) == (draws > 1)
    if draws > 1:
        # Each draw is another, and an image is right if it is with each.
        drawn, truth = found["drawn"], place.split(TEST).labels
        assert drawn.shape == (draws, N)
        assert len({row.tobytes() for row in drawn}) == draws
        assert ((found["labels"] == truth) == (drawn == truth).all(0)).all()
        assert all(label in column for label, column in zip(found["labels"], drawn.T, strict=True))
    # And again, and not with another seed.
    assert task.run(place).arrays["labels"].tolist() == undisturbed.tolist()
    assert replace(task, seed=4).run(place).arrays["labels"].tolist() != undisturbed.tolist()


def test_scoring_begins_anew_where_it_cannot_be_read_how_far_it_had_come(place):
    task = Score(NETWORK, TEST)
    expected = task.run(place).arrays["labels"]
    # What it says is wrong, and damaged.
    place.keep_so_far(task, Artefact({"seconds": 1.0}, {"labels": np.full(16, 9)}))
    file = place.checkpoint(task)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="checkpoint is damaged"):
        found = made(place, task).arrays["labels"]
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("differing", [0, 1])
def test_half_precision_is_used_only_where_labels_stay(place, differing):
    check = CheckHalf(NETWORK, TEST, 5)
    place.stores.run.write(check, Artefact({"differing": differing}))
    used: list[bool] = []
    classifier = place.classifier
    place.classifier = lambda network, half=False: used.append(half) or classifier(network, half=half)
    made(place, Score(NETWORK, TEST, half=check))
    assert used[0] == (differing == 0)


# Checks and pictures.


def test_checking_half_precision(place, monkeypatch):
    assert made(place, CheckHalf(NETWORK, TEST, 256)).record["differing"] < 4
    # A network that is another one in half precision.
    other = tiny_classifier(seed=9)
    classifier = place.classifier
    place.classifier = lambda network, half=False: other if half else classifier(network)
    assert CheckHalf(NETWORK, TEST, 256).run(place).record["differing"] > 20


def test_checking_a_network(place):
    found = made(place, CheckNetwork(NETWORK, TEST, 20, None, True, "net")).record
    few = drawn_from_all(place.split(TEST), 20)
    predicted = place.classifier(NETWORK).predict(few.images.astype(np.float32) / 255).argmax(axis=1)
    right = int(np.sum(predicted == few.labels))
    assert (found["n"], found["correct"], found["accuracy"], found["differing"]) == (20, right, 5.0 * right, 0)
    failing = CheckNetwork(NETWORK, TEST, 256, 20.0, True, "net")
    outcome = local.run([failing], place.stores, lambda: place, progress=False)
    assert "while 20.0 % is published" in outcome.failures[failing.key].error


@pytest.mark.parametrize("one_by_one", [False, True])
def test_pictures_are_of_images_that_the_attack_turned(place, monkeypatch, one_by_one):
    monkeypatch.setattr(attacking, "PART", 16)
    added = parts() if one_by_one else craft("sgd-uap:max_iter=5,batch_size=8")
    scores = [Score(NETWORK, TEST), Score(NETWORK, TEST, added), Score(NETWORK, TEST, added, preprocessors=ROF)]
    task = ShowExamples(scores[0], scores[1], (scores[2],), ("v0", "attacked", "denoised"), count=3)
    artefact = made(place, task)
    labels = [place.artefact(score).arrays["labels"] for score in scores]
    truth = SPLITS["test"].labels
    assert artefact.record["titles"] == ["v0", "attacked", "denoised"]
    assert len(set(artefact.arrays["labels"].tolist())) == 3  # one of a class
    # Which images they are is seen from their pixels.
    index = [
        int(np.flatnonzero((SPLITS["test"].images == image).all((1, 2, 3)))[0]) for image in artefact.arrays["images 0"]
    ]
    assert artefact.arrays["labels"].tolist() == truth[index].tolist()
    for number, predicted in enumerate(labels):
        assert artefact.arrays[f"labels {number}"].tolist() == predicted[index].tolist()
    worked = (labels[0] == truth) & (labels[1] != truth)
    assert artefact.record["worked"] == bool(worked[index].all())
    assert len(set(truth[worked])) < 3 or worked[index].all()
    attacked = artefact.arrays["images 1"].astype(int)
    difference = attacked - artefact.arrays["images 0"]
    assert 0 < np.abs(difference).max() <= 255 * EPS + 1
    # The attack magnified about grey.
    assert np.corrcoef(artefact.arrays["magnified"].ravel() - 127.5, difference.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(
        artefact.arrays["images 2"] / 255,
        ROFDefence(30 / 255, device_type="cpu")((attacked / 255).astype(np.float32))[0],
        atol=0.02,
    )


def test_images_are_chosen_by_a_rule():
    truth = np.array([0, 0, 1, 1, 2, 2, 3])
    clean = np.array([1, 0, 1, 1, 2, 2, 3])
    attacked = np.array([2, 1, 1, 0, NOT_ATTACKED, ATTACK_FAILED, 3])
    # Turned: 1 and 3. Of the others that were attacked, 0 and 2 are of classes that are there already.
    chosen, worked = first_of_each_class(truth, clean, attacked, 3)
    assert chosen.tolist() == [1, 3, 6]
    assert worked.tolist() == [True, True, False]
    assert first_of_each_class(truth, clean, attacked, 1)[0].tolist() == [1]
    # Where the attack turned none, the first that was attacked.
    chosen, worked = first_of_each_class(truth, clean, np.where(attacked < 0, attacked, clean), 2)
    assert chosen.tolist() == [0, 2]
    assert not worked.any()
    assert not len(first_of_each_class(truth, clean, np.full(7, NOT_ATTACKED), 2)[0])


def test_how_sure_a_network_is():
    logits = np.array([[0.0, np.log(3.0)], [2.0, 2.0]], dtype=np.float32)
    np.testing.assert_allclose(confidences(logits), [0.75, 0.5], rtol=1e-6)
    probabilities = np.array([[0.1, 0.9], [0.6, 0.4]], dtype=np.float32)
    np.testing.assert_allclose(confidences(probabilities), [0.9, 0.6], rtol=1e-6)
    assert confidences(np.eye(3, dtype=np.float32)) is None


@pytest.mark.parametrize("one_by_one", [False, True])
def test_pictures_of_strengths_are_what_the_network_sees_and_says(place, monkeypatch, one_by_one):
    monkeypatch.setattr(attacking, "PART", 16)
    added = parts() if one_by_one else craft("sgd-uap:max_iter=5,batch_size=8")
    scores = [Score(NETWORK, TEST), Score(NETWORK, TEST, added)]
    weak = parse_defence("rof:weight=5").preprocessors
    found = made(place, ShowStrengths(*scores, (weak, ROF), exact=(1,), count=3, text="δ")).arrays
    labels = [place.artefact(score).arrays["labels"] for score in scores]
    split = SPLITS["test"]
    numbers, worked = first_of_each_class(split.labels, *labels, 3)
    assert found["numbers"].tolist() == numbers.tolist()
    assert found["worked"].tolist() == worked.tolist()
    assert found["labels"].tolist() == split.labels[numbers].tolist()
    images = [clean(split)[numbers], clean(split)[numbers] + found["added"]]
    assert 0 < np.abs(found["added"]).max() <= EPS + 1e-3
    for row, weight in enumerate((None, 5, 30)):
        defence = None if weight is None else ROFDefence(weight / 255, device_type="cpu")
        for state in (0, 1):
            seen = images[state] if defence is None else defence(images[state].astype(np.float32))[0]
            # Half of a step of 255, and what float16 leaves of what is added.
            np.testing.assert_allclose(found["images"][row, state] / 255, seen, atol=0.5 / 255 + 1e-3)
            probabilities = torch.from_numpy(tiny_classifier().predict(seen.astype(np.float32))).softmax(1).numpy()
            np.testing.assert_allclose(found["confidence"][row, state], probabilities.max(1), atol=2e-3)
            assert found["predicted"][row, state].tolist() == probabilities.argmax(1).tolist()
    # The labels are those of the tables.
    for state in (0, 1):
        assert found["predicted"][0, state].tolist() == labels[state][numbers].tolist()
    strong = ROFDefence(30 / 255, device_type="cpu")
    for state in (0, 1):
        changed = strong(images[state].astype(np.float32))[0] - images[state]
        np.testing.assert_allclose(found["changes"][0, state], changed, atol=2e-3)


def test_pictures_of_strengths_of_what_says_labels_only(place):
    classifier = place.classifier(NETWORK)
    predict = classifier.predict
    classifier.predict = lambda x, **kwargs: np.eye(4, dtype=np.float32)[predict(x, **kwargs).argmax(1)]
    added = craft("sgd-uap:max_iter=2,batch_size=8")
    found = made(place, ShowStrengths(Score(NETWORK, TEST), Score(NETWORK, TEST, added), (ROF,))).arrays
    assert "confidence" not in found
    assert found["predicted"].shape == (2, 2, len(found["numbers"]))


def test_no_pictures_where_nothing_was_attacked(place):
    scores = [Score(NETWORK, TEST), Score(NETWORK, TEST, craft("sgd-uap:max_iter=2,batch_size=8"))]
    for score in scores:
        place.stores.run.write(score, Artefact({}, {"labels": np.full(N, NOT_ATTACKED)}))
    assert made(place, ShowStrengths(*scores, (ROF,), text="δ")).why_absent == "no image was attacked by δ"
    assert made(place, ShowExamples(*scores, (), ("v0", "v0 + δ"))).why_absent == "no image was attacked"


def test_what_tasks_say_of_themselves(place):
    tasks = [
        craft(SGD), Signs(SHAPE, EPS, 0), Given("theirs", ""), *parts(), fit(), ChooseNoise((fit(),), (0.1,), TUNE),
        RandomDirection(fit(), 0, 0), Score(NETWORK, TEST, text="a cell"), CheckHalf(NETWORK, TEST, 256),
        CheckNetwork(NETWORK, TEST, 256, None, True, "net"), AuditGradients(NETWORK, TEST, Through(ROF), 0, "D_ROF"),
        ShowStrengths(Score(NETWORK, TEST), Score(NETWORK, TEST, craft(SGD)), (ROF,), text="δ"),
    ]  # fmt: skip
    for task in tasks:
        assert len(task.key) == 16
        assert task.title
        assert task.work.stage
        assert (task.work.network is None) == (not task.work.forward)
    assert Defence(ROF).text == "D_ROF"
    assert tasks[0].title == "Craft δ on net"
    assert tasks[0].work.backward == 2 * N
