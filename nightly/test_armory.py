"""A defended classifier in armory-library: two ways to put a defence in, attacks that see it, an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from armory import data
from armory.dataset import ImageClassificationDataLoader, TupleDataset
from armory.engine import EvaluationEngine
from armory.evaluation import Dataset, Evaluation, SysConfig
from armory.metric import PredictionMetric
from armory.model.image_classification import ImageClassifier
from armory.perturbation import ArtEvasionAttack, ArtPreprocessorDefence
from art.defences.preprocessor.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from nightly import defended

SCALE = data.Scale(dtype=data.DataType.FLOAT, max=1.0)
AS_ARRAYS = data.NumpyImageSpec(dim=data.ImageDimensions.CHW, scale=SCALE, dtype=np.float32)
AS_TENSORS = data.TorchImageSpec(dim=data.ImageDimensions.CHW, scale=SCALE, dtype=torch.float32)


@pytest.fixture(params=sorted(defended.DEFENCES))
def defence(request: pytest.FixtureRequest) -> Preprocessor:
    return defended.DEFENCES[request.param]()


def loader() -> ImageClassificationDataLoader:
    pairs = list(zip(*defended.images(), strict=True))
    return ImageClassificationDataLoader(
        TupleDataset(pairs, ("image", "label")),
        dim=data.ImageDimensions.CHW,
        image_key="image",
        label_key="label",
        scale=SCALE,
        batch_size=len(pairs),
    )


def classifier(defence: Preprocessor | None) -> PyTorchClassifier:
    """ART's classifier around armory's, as its attacks have it."""
    options = defended.options(defence)
    return PyTorchClassifier(**options | {"model": ImageClassifier("small", options["model"], AS_TENSORS)})


def attacked(defence: Preprocessor | None) -> ArtEvasionAttack:
    attack = defended.attack(classifier(defence))
    return ArtEvasionAttack("PGD", attack, inputs_spec=AS_ARRAYS, use_label_for_untargeted=True)


def test_the_classifier_around_the_model_of_armory_filters_once_and_has_the_gradient_of_the_filter(defence):
    defended.assert_defended(classifier(defence), defence)


def test_the_perturbation_of_armory_applies_the_defence(defence):
    batch = next(iter(loader()))
    ArtPreprocessorDefence("defence", defence, inputs_spec=AS_ARRAYS).apply(batch)
    np.testing.assert_array_equal(batch.inputs.get(AS_ARRAYS), defence(defended.images()[0])[0])


def test_the_attack_of_armory_sees_the_filter(defence):
    batch = next(iter(loader()))
    attacked(defence).apply(batch)
    np.testing.assert_allclose(batch.inputs.get(AS_ARRAYS), defended.perturbed(defence), atol=1e-5)
    assert np.abs(batch.inputs.get(AS_ARRAYS) - defended.perturbed(None)).max() > 0.05


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SysConfig:
    """A folder for what armory and MLflow write."""
    monkeypatch.chdir(tmp_path)
    # armory-library keeps runs in files, which MLflow since 3.7 does only on demand.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return SysConfig(armory_home=tmp_path / "home", dataset_cache=tmp_path / "cache")


def test_a_whole_evaluation_has_the_accuracies_of_the_defended_classifier(defence, home):
    evaluation = Evaluation("denoised", "a defended classifier", "art_denoise")
    evaluation.use_dataset(Dataset("images", loader()))
    evaluation.use_model(ImageClassifier("small", defended.options(None)["model"], AS_TENSORS))
    evaluation.use_metrics(
        {"accuracy": PredictionMetric(torchmetrics.classification.MulticlassAccuracy(4, average="micro"))}
    )
    filtering = ArtPreprocessorDefence("defence", defence, inputs_spec=AS_ARRAYS)
    chains = {"plain": [], "defended": [filtering], "attacked": [attacked(defence), filtering]}
    for name, perturbations in chains.items():
        with evaluation.add_chain(name) as chain:
            chain.use_perturbations(perturbations)
    results = EvaluationEngine(evaluation, sysconfig=home, enable_progress_bar=False).run()

    x, labels = defended.images()
    by_hand = classifier(defence)
    wanted = {"plain": x, "defended": defence(x)[0], "attacked": defence(defended.perturbed(defence))[0]}
    for child in results.children.values():
        images = wanted[child.run_name]
        accuracy = (classifier(None).predict(images).argmax(axis=1) == labels).mean()
        assert float(child.metrics["accuracy"]) == pytest.approx(accuracy)
    assert set(wanted) == {child.run_name for child in results.children.values()}
    assert (by_hand.predict(defended.perturbed(defence)).argmax(axis=1) == labels).mean() < 1
