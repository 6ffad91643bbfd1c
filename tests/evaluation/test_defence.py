"""What a defence buys in one call: honest figures of an honest defence, and every fake is told of by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescent
from art.defences.preprocessor import JpegCompression
from art.defences.preprocessor.preprocessor import Preprocessor
from art.estimators import BaseEstimator
from art.estimators.classification import BlackBoxClassifier, ClassifierMixin, PyTorchClassifier
from art.estimators.classification.classifier import ClassGradientsMixin
from fake_defences import FAKES, Draws, Fake
from torch.nn import functional

from art_denoise import ROFDefence
from art_denoise.evaluation import bench as module
from art_denoise.evaluation.audit import flags
from art_denoise.evaluation.defence import evaluate_defence
from art_denoise.evaluation.experiment import NOTHING, Knowledge
from art_denoise.evaluation.gradients import audit_gradients
from art_denoise.evaluation.report import all_tables, write_report
from art_denoise.evaluation.report.table import Missing, Name, Text
from art_denoise.evaluation.report.worst import ROBUST
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.statistics import ATTACK_FAILED, NOT_ATTACKED

SHAPE, CLASSES, EPS = (3, 8, 8), 4, 0.1

#: Enough to see that all is there, in a second.
FEW = (
    "random-signs",
    "best-pgd:max_iter=4",
    "best-pgd:max_iter=4,knowledge=bpda",
    "best-pgd:max_iter=4,knowledge=exact",
)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(512, CLASSES)
        )

    def forward(self, x):
        return self.layers(x - 0.5)


class Gives(Preprocessor):
    """A preprocessor for NumPy that returns what it is told to."""

    def __init__(self, made):
        super().__init__(is_fitted=True)
        self.made = made

    def __call__(self, x, y=None):
        return self.made(x, y)


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images of which one quarter is brighter: which, is the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    x = rng.uniform(0.2, 0.6, size=(count, *SHAPE))
    for i, (row, column) in enumerate(zip(y // 2, y % 2, strict=True)):
        x[i, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.25
    return x.astype(np.float32), y


@pytest.fixture(scope="module")
def classifier() -> PyTorchClassifier:
    """A small network that was trained on attacked images (Madry et al. 2018), and is honestly robust."""
    torch.manual_seed(0)
    network = Network()
    found = PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), SHAPE, CLASSES, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescent(found, eps=EPS, eps_step=EPS / 3, max_iter=4, verbose=False)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(40):
        x, y = images(64, 1000 + step)
        attacked = torch.from_numpy(attack.generate(x, y))
        network.train()
        optimizer.zero_grad()
        functional.cross_entropy(network(attacked), torch.from_numpy(y)).backward()
        optimizer.step()
    network.eval()
    return found


@pytest.fixture(scope="module")
def test_images() -> tuple[np.ndarray, np.ndarray]:
    return images(48, 0)


def right(results, knowledge: Knowledge | None, defended: bool = True) -> list[int]:
    return [
        int(np.sum(labels == results.images.labels))
        for cell, labels in results.labels.items()
        if cell.knowledge is knowledge and bool(cell.condition.defence) == defended
    ]


def test_an_honest_network_raises_nothing_and_keeps_something(classifier, test_images):
    results = evaluate_defence(classifier, ROFDefence(), *test_images, eps=EPS, verbose=False)
    assert not results.failures
    assert [flag.rule for flag in flags(results) if "chance" not in flag.rule] == []
    assert set(results.labels) == set(results.experiment.cells())
    # All attackers but those who transfer are there, and the strongest of them leave something.
    known = {cell.knowledge for cell in results.labels}
    assert known == {None, *Knowledge} - {Knowledge.TRANSFER, Knowledge.PARTLY_EXACT}
    text = results.summary()
    assert text.startswith("What the defence buys: the classifier\n\nWhatever is tried by attackers who know it, D_ROF")
    assert "nobody" in text
    assert max(map(len, text.splitlines())) <= 100
    (table,) = all_tables(results)["mechanism"]
    assert [row.name.text for row in table.rows] == ["v0", "D_ROF(v0)"]
    assert [row.values[0] for row in table.rows] == [Text(Name("yes"))] * 2
    assert table.rows[0].values[1] == Missing("the images are as they were")


@pytest.mark.parametrize(("make", "rule"), FAKES.items(), ids=lambda value: getattr(value, "__name__", None))
def test_every_fake_is_told_of_by_name(classifier, test_images, make, rule):
    x, y = test_images
    results = evaluate_defence(classifier, [make()], x[:32], y[:32], eps=EPS, attacks=FEW, draws=2, verbose=False)
    assert any(flag.rule.startswith(rule) for flag in flags(results)), [flag.rule for flag in flags(results)]
    # In the table, too.
    assert rule[:20] in " ".join(results.summary().split())


def test_probabilities_are_told_of(classifier, test_images):
    x, y = test_images
    sure = torch.nn.Sequential(classifier.model, torch.nn.Softmax(1)).eval()
    found = PyTorchClassifier(
        sure, torch.nn.CrossEntropyLoss(), SHAPE, CLASSES, clip_values=(0.0, 1.0), device_type="cpu"
    )
    results = evaluate_defence(found, ROFDefence(), x[:8], y[:8], eps=EPS, attacks=FEW, verbose=False)
    assert any("returns probabilities" in flag.rule for flag in flags(results))


def test_several_defences_are_compared_and_the_classifier_is_left_as_it_was(classifier, test_images, tmp_path):
    x, y = test_images
    own = JpegCompression(clip_values=(0, 1), channels_first=True)
    classifier.set_params(preprocessing_defences=own)
    try:
        chains = {"weak": ROFDefence(weight=0.001), "strong": [own, ROFDefence(weight=0.2)]}
        results = evaluate_defence(
            classifier, chains, x, y, eps=EPS, attacks=FEW, craft=images(16, 5)[0], verbose=False
        )
        assert classifier.preprocessing_defences == [own]
        (defence,) = {c.condition.defence for c in evaluate_own(classifier, x, y).labels} - {NOTHING}
        assert defence.text == "D_JpegCompression"
    finally:
        classifier.set_params(preprocessing_defences=None)
    assert {c.condition.defence.text for c in results.labels} == {"no defence", "D_weak", "D_strong"}
    # JPEG has no gradient: nobody has the exact one of the chain.
    exact = {c.condition.defence.text for c in results.labels if c.knowledge is Knowledge.EXACT}
    assert exact - {"no defence"} == {"D_weak"}
    partly = {c.condition.defence.text for c in results.labels if c.knowledge is Knowledge.PARTLY_EXACT}
    assert partly == {"D_strong"}
    write_report(results, tmp_path)
    assert "D_strong" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    # What knows a weak defence does what is done to none.
    assert right(results, Knowledge.EXACT)[0] <= right(results, Knowledge.OBLIVIOUS)[0] + 1


def evaluate_own(classifier, x, y):
    return evaluate_defence(classifier, None, x[:4], y[:4], eps=EPS, attacks=FEW[:1], verbose=False)


def test_another_range_and_one_hot_labels_are_the_same(classifier, test_images):
    x, y = test_images

    class Scaled(torch.nn.Module):
        def forward(self, x):
            return classifier.model(x / 255)

    found = PyTorchClassifier(
        Scaled().eval(), torch.nn.CrossEntropyLoss(), SHAPE, CLASSES, clip_values=(0.0, 255.0), device_type="cpu"
    )
    ours = evaluate_defence(classifier, ROFDefence(), x, y, eps=EPS, attacks=FEW, verbose=False)
    theirs = evaluate_defence(
        found, ROFDefence(clip_values=(0, 255)), 255 * x, np.eye(CLASSES)[y], eps=255 * EPS, attacks=FEW, verbose=False
    )
    for knowledge in (None, Knowledge.OBLIVIOUS, Knowledge.EXACT):
        assert right(theirs, knowledge) == pytest.approx(right(ours, knowledge), abs=2)


def test_who_transfers_has_another_classifier(classifier, test_images):
    x, y = test_images
    other = PyTorchClassifier(
        Network().eval(), torch.nn.CrossEntropyLoss(), SHAPE, CLASSES, clip_values=(0.0, 1.0), device_type="cpu"
    )
    results = evaluate_defence(
        classifier, ROFDefence(), x, y, eps=EPS, attacks=FEW, transfer_from={"other": other}, verbose=False
    )
    assert {c.source for c in results.labels if c.knowledge is Knowledge.TRANSFER} == {"other"}
    assert {c.source for c in results.labels if c.knowledge is Knowledge.EXACT} == {"classifier"}


def test_perturbations_for_all_images_are_crafted_on_images_of_their_own(classifier, test_images):
    x, y = test_images
    attacks = ("sgd-uap:max_iter=2", "sgd-uap:max_iter=2,knowledge=exact")
    with pytest.raises(ValueError, match=r"'sgd-uap:max_iter=2', which crafts one perturbation .* as `craft`"):
        evaluate_defence(classifier, ROFDefence(), x, y, eps=EPS, attacks=attacks, verbose=False)
    results = evaluate_defence(
        classifier, ROFDefence(), x, y, eps=EPS, attacks=attacks, craft=images(32, 7)[0], verbose=False
    )
    assert not results.failures
    assert sum(cell.condition.threat is not None for cell in results.labels) == 3


def test_of_what_draws_at_random_every_draw_counts(classifier, test_images):
    x, y = test_images

    def found(draws: int) -> Results:
        return evaluate_defence(
            classifier, Draws(0.8), x, y, eps=EPS, attacks=FEW[:1], draws=draws, seed=1, verbose=False
        )

    once, often = found(1), found(8)
    assert right(often, None)[0] < right(once, None)[0]
    assert not once.drawn
    behind = [cell for cell in often.labels if cell.condition.defence]
    assert list(often.drawn) == behind
    for cell in behind:
        assert often.drawn[cell].shape == (8, len(x))
        assert np.array_equal(often.drawn[cell][0], once.labels[cell])
    # Every draw, most of them, and their mean: each less hard on the defence than the one before.
    (table,) = all_tables(often)["draws"]
    assert len(table.rows) == len(behind)
    every, most, mean, apart = (value.value for value in table.rows[0].values)
    drawn = often.drawn[behind[0]] == y
    assert every == pytest.approx(100 * drawn.all(0).mean())
    assert mean == pytest.approx(100 * drawn.mean())
    assert every < mean < most
    assert 0 < apart < 50
    assert "draws" not in all_tables(once)


def test_who_knows_the_draws_is_told_of_beside_the_worst(classifier, test_images):
    x, y = test_images
    attacks = (*FEW[:1], "best-pgd:max_iter=4,knowledge=exact", "best-pgd:max_iter=4,knowledge=exact,draws=known")
    results = evaluate_defence(
        classifier,
        {"noise": Draws(0.5), "rof": ROFDefence()},
        x,
        y,
        eps=EPS,
        attacks=attacks,
        draws=3,
        seed=4,
        verbose=False,
    )
    assert not results.failures
    (known,) = [cell for cell in results.labels if cell.condition.threat and cell.condition.threat.knows_draws]
    assert known.condition.defence.preprocessors[0].name == "noise"
    assert known not in results.drawn
    rest = [
        results.labels[cell] == y
        for cell in results.labels
        if cell.condition.defence == known.condition.defence and cell != known
    ]
    left, without = int(np.sum(results.labels[known] == y)), int(np.sum(np.all(rest, axis=0)))
    assert left != without
    (worst,) = all_tables(results)["worst"]
    row = next(row for row in worst.rows if "noise" in row.name.text)
    columns = [column.name.text for column in worst.columns]
    assert row.values[columns.index(ROBUST)].share.count == without
    assert (
        f"who also knows what D_noise(v0) draws, as where its seed is fixed: he would leave {100 * left / 48:.1f} %"
        in (worst.note)
    )
    (record,) = [record for record in results.records() if record["knows_draws"]]
    assert record["correct"] == left
    assert "who also knows what D_noise draws" in " ".join(results.summary().split())


def test_an_attack_on_few_images_says_which(classifier, test_images):
    x, y = test_images
    results = evaluate_defence(
        classifier, ROFDefence(), x, y, eps=EPS, attacks=("square:max_iter=3,images=10",), verbose=False
    )
    for cell, labels in results.labels.items():
        attacked = cell.condition.threat is not None
        assert int(np.sum(labels != NOT_ATTACKED)) == (10 if attacked else len(x))


def test_an_image_that_an_attack_fails_on_is_named_and_counts_as_wrong(classifier, test_images, monkeypatch):
    x, y = test_images
    original = module.attack_one_by_one.__globals__["attack_images"]

    def fails(net, attack, *, x, **more):
        if (x == images(48, 0)[0][3]).all(axis=(1, 2, 3)).any():
            raise FloatingPointError("a fault")
        return original(net, attack, x=x, **more)

    monkeypatch.setitem(module.attack_one_by_one.__globals__, "attack_images", fails)
    results = evaluate_defence(classifier, ROFDefence(), x, y, eps=EPS, attacks=FEW[3:], verbose=False)
    marked = {int(i) for labels in results.labels.values() for i in np.flatnonzero(labels == ATTACK_FAILED)}
    assert marked == {3}
    said = results.images.facts["remarks"]
    assert any("image 3, which counts as wrong (FloatingPointError: a fault)" in remark for remark in said)


def test_an_attack_that_fails_on_all_images_costs_its_own_rows_only(classifier, test_images, monkeypatch):
    x, y = test_images

    def fails(*args, **more):
        raise FloatingPointError("a fault")

    monkeypatch.setitem(module.attack_one_by_one.__globals__, "attack_images", fails)
    results = evaluate_defence(classifier, ROFDefence(), x, y, eps=EPS, attacks=FEW[:2], verbose=False)
    assert {cell.condition.threat.attack.name for cell in results.missing} == {"best-pgd"}
    assert all("FloatingPointError: a fault" in failure for failure in results.failures)
    assert len(results.labels) == 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": 0}, ValueError, "`eps` must be finite and > 0 and <= 1, got 0"),
        ({"eps": 3}, ValueError, "`eps`"),
        ({"x": np.zeros((2, 3, 9, 9), np.float32)}, ValueError, r"`x` must be images \(N, 3, 8, 8\)"),
        ({"x": np.zeros((2, *SHAPE), np.uint8)}, TypeError, "`x` must be an array of floats"),
        ({"x": np.full((2, *SHAPE), 7.0)}, ValueError, r"`x` must be within `clip_values` = \(0, 1\), got 7 to 7"),
        ({"y": np.array([0.5, 1.0])}, ValueError, "`y` must be labels"),
        ({"y": np.array([0, 4])}, ValueError, "`y` must be from 0 to 3, got 0 to 4"),
        ({"y": np.array([0])}, ValueError, "`y` must be labels"),
        ({"defences": []}, ValueError, "`defences` must hold at least one preprocessor"),
        ({"defences": {}}, ValueError, "`defences` must hold at least one defence"),
        ({"defences": [3]}, TypeError, "`defences` must be ART preprocessors, got 3"),
        ({"attacks": ["pgdd"]}, ValueError, "there is no attack 'pgdd'"),
        ({"attacks": ["best-pgd:max_iter=0"]}, ValueError, "`max_iter` must be >= 1"),
        ({"attacks": "best-pgd"}, TypeError, r"`attacks` must be a list of texts, .* got 'best-pgd'"),
        ({"transfer_from": 3}, TypeError, "`transfer_from` must be classifiers by name, .* got int"),
        ({"defences": Gives(lambda x, y: (x * np.nan, y))}, ValueError, "Gives returns NaN or infinite values"),
        ({"defences": Gives(lambda x, y: (x * 300, y))}, ValueError, "Gives returns values from 0 to 300 for images"),
        ({"defences": Gives(lambda x, y: (x, None))}, ValueError, r"Gives returns no labels .* must return \(x, y\)"),
        ({"defences": Gives(lambda x, y: x)}, ValueError, r"Gives fails .*Gives must return \(x, y\).* got ndarray"),
        ({"defences": Gives(lambda x, y: (x[:1], y))}, ValueError, "Gives must return images for images"),
        ({"norm": 1}, ValueError, "`norm`"),
        ({"draws": 0}, ValueError, "`draws` must be >= 1"),
        ({"seed": -1}, ValueError, "`seed` must be >= 0"),
        ({"classifier": 3}, TypeError, "`classifier` must be one of ART's classifiers, got int"),
    ],
)
def test_bad_input_is_one_error(classifier, change, error, message):
    x, y = images(2, 0)
    given = {"classifier": classifier, "defences": ROFDefence(), "x": x, "y": y, "eps": EPS, "verbose": False} | change
    with pytest.raises(error, match=message):
        evaluate_defence(given.pop("classifier"), given.pop("defences"), given.pop("x"), given.pop("y"), **given)


def test_a_chain_that_cuts_the_gradient_is_named_by_its_stage(classifier, test_images):
    class Detaches(Fake):
        def change(self, x):
            return x.detach()

    x, y = test_images
    record = audit_gradients(classifier, [ROFDefence(), Detaches()], x, y)
    assert record["cut"] == ["Detaches"]
    honest = audit_gradients(classifier, [ROFDefence()], x, y)
    assert (honest["cut"], honest["zero"], honest["draws"], honest["solvers"]) == ([], 0, "none", [])
    assert honest["off"] < 0.02
    assert 20 < honest["psnr"] < 60
    assert 0.5 < honest["ssim"] < 1
    assert 0.1 < honest["noise_left"] < 1
    assert audit_gradients(classifier, [], x, y)["noise_left"] == pytest.approx(1, abs=1e-5)
    assert 0.1 < honest["scale"] < 10


class Linear(ClassGradientsMixin, ClassifierMixin, BaseEstimator):
    """A classifier of ART's that is not for PyTorch, with gradients: linear, in NumPy."""

    estimator_params = (*BaseEstimator.estimator_params, *ClassifierMixin.estimator_params)

    def __init__(self, weights, **kwargs):
        super().__init__(model=weights, clip_values=(0.0, 255.0), **kwargs)
        self.weights, self.nb_classes, self._input_shape = weights, len(weights), SHAPE

    @property
    def input_shape(self):
        return self._input_shape

    def predict(self, x, **kwargs):
        x, _ = self._apply_preprocessing(x, y=None, fit=False)
        return np.einsum("nchw,kchw->nk", x / 255, self.weights)

    def class_gradient(self, x, label=None, **kwargs):
        # Of the classifier alone: its defences are put aside.
        assert not self.preprocessing_defences
        return np.repeat(self.weights[None] / 255, len(x), axis=0)

    def fit(self, x, y, **kwargs):
        raise NotImplementedError

    def loss_gradient(self, x, y, **kwargs):
        raise NotImplementedError


@pytest.fixture(scope="module")
def linear_weights():
    """Weights by which each class is the quarter that is brighter."""
    weights = np.zeros((CLASSES, *SHAPE), np.float32)
    for k in range(CLASSES):
        weights[k, :, 4 * (k // 2) : 4 * (k // 2) + 4, 4 * (k % 2) : 4 * (k % 2) + 4] = 1
    return weights


def test_a_classifier_of_another_framework_is_attacked_with_its_gradient(linear_weights, test_images):
    x, y = test_images
    own = ROFDefence(clip_values=(0, 255))
    classifier = Linear(linear_weights, preprocessing_defences=[own])
    results = evaluate_defence(
        classifier, None, 255 * x, y, eps=60.0, attacks=FEW, craft=255 * images(16, 5)[0], verbose=False
    )
    assert not results.failures
    assert classifier.preprocessing_defences == [own]
    assert not results.images.facts["remarks"]
    audit = results.audits[NOTHING]
    assert audit["off"] < 0.01
    assert audit["zero"] == 0
    assert {cell.condition.defence.text for cell in results.labels} == {"no defence", "D_ROF"}
    # Every quarter can be made as bright as another: who has the gradient leaves nothing.
    assert min(right(results, None)) > 40
    assert max(right(results, Knowledge.EXACT)) == 0
    assert all(record["found"] == record["images"] > 0 for record in results.tried.values())


def test_a_classifier_without_gradients_is_attacked_by_who_asks_or_has_another(linear_weights, classifier, test_images):
    x, y = test_images

    def predict(x):
        return np.einsum("nchw,kchw->nk", x, linear_weights)

    black_box = BlackBoxClassifier(predict, SHAPE, CLASSES, clip_values=(0.0, 1.0))
    attacks = (*FEW, "square:max_iter=20")
    results = evaluate_defence(black_box, ROFDefence(), x, y, eps=EPS, attacks=attacks, verbose=False)
    assert not results.failures
    assert {cell.knowledge for cell in results.labels} == {None, Knowledge.BLACK_BOX}
    (remark,) = results.images.facts["remarks"]
    assert remark.startswith("The classifier has no gradients")
    assert "Nobody who" not in remark
    with_other = evaluate_defence(
        black_box, ROFDefence(), x, y, eps=EPS, attacks=attacks, transfer_from={"net": classifier}, verbose=False
    )
    assert not with_other.failures
    known = {(cell.knowledge, cell.source) for cell in with_other.labels}
    assert known == {(None, None), (Knowledge.BLACK_BOX, "classifier"), (Knowledge.TRANSFER, "net")}
    with pytest.raises(ValueError, match="`transfer_from`\\['one'\\] must have gradients, and BlackBoxClassifier"):
        evaluate_defence(classifier, ROFDefence(), x, y, eps=EPS, transfer_from={"one": black_box})
    with pytest.raises(TypeError, match="`classifier` must be one of ART's classifiers, got int"):
        evaluate_defence(3, ROFDefence(), x, y, eps=EPS)
