"""`check_chain` says before the first call what ART does at it; each case is held against ART itself."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from art.defences.preprocessor import FeatureSqueezing, JpegCompression, LabelSmoothing, SpatialSmoothing, TotalVarMin
from art.estimators.classification import BlackBoxClassifier, BlackBoxClassifierNeuralNetwork, EnsembleClassifier
from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression, ScikitlearnRandomForestClassifier
from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch
from conftest import tiny_classifier
from estimators import Detector, tensorflow_v2
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from art_denoise import (
    AsFlat,
    AsNumPy,
    AsPyTorch,
    Compose,
    DefensiveNoiseDefence,
    NLMeansDefence,
    ROFDefence,
    check_chain,
)

SHAPE = (3, 8, 8)
X = np.random.default_rng(1).uniform(0.1, 0.9, (5, *SHAPE)).astype(np.float32)
Y = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]


def smoothing(channels_first: bool = True) -> SpatialSmoothing:
    return SpatialSmoothing(window_size=3, channels_first=channels_first)


def passes(estimator) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_chain(estimator)
    return True


def sklearn(defences, kind=ScikitlearnLogisticRegression, model=LogisticRegression):
    fitted = model().fit(X.reshape(5, -1), Y.argmax(1))
    return kind(fitted, clip_values=(0, 1), preprocessing_defences=defences)


CHAINS = {
    "numpy": [smoothing()],
    "pytorch": [ROFDefence()],
    "pytorch, pytorch": [ROFDefence(), NLMeansDefence()],
    "numpy, numpy": [smoothing(), smoothing()],
    "numpy, pytorch": [smoothing(), ROFDefence()],
    "pytorch, numpy": [ROFDefence(), smoothing()],
    "as numpy": [AsNumPy(ROFDefence())],
    "as numpy, pytorch": [AsNumPy(ROFDefence()), ROFDefence()],
    "as pytorch, pytorch": [AsPyTorch(smoothing()), ROFDefence()],
    "composition": [Compose([smoothing(), ROFDefence(), smoothing()])],
    "composition, numpy": [Compose([smoothing(), ROFDefence()]), smoothing()],
}


@pytest.mark.parametrize("preprocessing", [(0.0, 1.0), (0.4, 0.2), None])
@pytest.mark.parametrize("chain", CHAINS)
def test_refused_is_what_art_refuses(chain, preprocessing):
    """Of every combination the check says what ART says at the first call."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=CHAINS[chain], preprocessing=preprocessing)
    try:
        classifier.predict(X)
        classifier.loss_gradient(X, Y)
    except NotImplementedError:
        with pytest.raises(ValueError, match=r"ART refuses the combination .*NotImplementedError.*Compose\(\["):
            check_chain(classifier)
    else:
        assert passes(classifier)


def test_the_remedy_is_named_and_works():
    chain = [smoothing(), ROFDefence()]
    with pytest.raises(
        ValueError, match=r"combination SpatialSmoothing, ROFDefence on a PyTorch .* as SpatialSmoothing is not"
    ) as caught:
        check_chain(tiny_classifier(SHAPE, preprocessing_defences=chain))
    assert "`Compose([SpatialSmoothing, ROFDefence])`" in str(caught.value)
    assert "`AsPyTorch(SpatialSmoothing(...))`" in str(caught.value)
    assert passes(tiny_classifier(SHAPE, preprocessing_defences=Compose(chain)))
    assert passes(tiny_classifier(SHAPE, preprocessing_defences=[AsPyTorch(chain[0]), chain[1]]))


def test_the_remedy_is_none_that_fails():
    """What is applied at training only cannot be composed with what is applied at prediction only."""
    chain = [LabelSmoothing(), ROFDefence()]
    with pytest.raises(ValueError, match="not for PyTorch: wrap each that is not") as caught:
        check_chain(tiny_classifier(SHAPE, preprocessing_defences=chain))
    assert "Compose" not in str(caught.value)
    assert passes(tiny_classifier(SHAPE, preprocessing_defences=[AsPyTorch(chain[0]), chain[1]]))


def test_every_problem_is_named_at_once():
    chain = [ROFDefence(clip_values=(0, 255)), NLMeansDefence(channels_first=False), smoothing(channels_first=False)]
    with pytest.raises(ValueError, match="PyTorchClassifier would not work") as caught:
        check_chain(tiny_classifier(SHAPE, preprocessing_defences=chain))
    assert str(caught.value).count("\n- ") == 4


@pytest.mark.parametrize(
    ("defence", "message"),
    [
        (
            ROFDefence(clip_values=(0, 255)),
            r"ROFDefence has `clip_values`=\(0, 255\), but sees images in \(0, 1\): use",
        ),
        (JpegCompression((0, 255), channels_first=True), r"JpegCompression has `clip_values`.*sees images in \(0, 1\)"),
        (ROFDefence(channels_first=False), "`channels_first`=False, but sees images channels first: use `channels_fi"),
        (smoothing(channels_first=False), "SpatialSmoothing has `channels_first`=False"),
        (TotalVarMin(), "TotalVarMin takes images channels last only and .* use `ROFDefence"),
        (DefensiveNoiseDefence(), "has no noise yet: give it `noise`, or call its `fit`"),
        (DefensiveNoiseDefence(np.zeros((3, 9, 9))), r"noise for images \(3, 9, 9\), but sees \(3, 8, 8\)"),
        (AsNumPy(ROFDefence(clip_values=(0, 255))), "ROFDefence has `clip_values`"),
        (Compose([ROFDefence(clip_values=(0, 255))]), "ROFDefence has `clip_values`"),
        (AsPyTorch(smoothing(channels_first=False)), "SpatialSmoothing has `channels_first`=False"),
        (AsFlat(ROFDefence(), (3, 8, 8)), r"AsFlat .* takes 192 features, not inputs \(3, 8, 8\)"),
    ],
)
def test_a_defence_that_does_not_fit_the_images(defence, message):
    with pytest.raises(ValueError, match=message):
        check_chain(tiny_classifier(SHAPE, preprocessing_defences=defence))


def test_limits_that_differ_from_pixel_to_pixel_are_not_judged():
    low, high = np.zeros(SHAPE, np.float32), np.linspace(0.5, 1, 192, dtype=np.float32).reshape(SHAPE)
    assert passes(tiny_classifier(SHAPE, clip_values=(low, high), preprocessing_defences=[ROFDefence()]))
    assert passes(tiny_classifier(SHAPE, clip_values=None, preprocessing_defences=[ROFDefence(clip_values=(0, 255))]))


def test_a_defence_after_a_standardisation():
    chain = [StandardisationMeanStdPyTorch(0.4, 0.2), ROFDefence()]
    with pytest.raises(
        ValueError, match=r"ROFDefence comes after StandardisationMeanStdPyTorch.*put the defence first"
    ):
        check_chain(tiny_classifier(SHAPE, preprocessing_defences=chain))
    assert passes(tiny_classifier(SHAPE, preprocessing_defences=chain[::-1]))
    nothing = StandardisationMeanStdPyTorch(0.0, 1.0)
    assert passes(tiny_classifier(SHAPE, preprocessing_defences=[nothing, ROFDefence()]))


def test_feature_vectors():
    with pytest.raises(ValueError, match=r"ROFDefence needs images, but the inputs are \(192,\).*AsFlat\(ROFDefence"):
        check_chain(sklearn([ROFDefence()]))
    with pytest.raises(ValueError, match=r"AsFlat with `image_shape`=\(1, 8, 8\) takes 64 features, not inputs \(192,"):
        check_chain(sklearn([AsFlat(ROFDefence(), (1, 8, 8))]))
    with pytest.raises(ValueError, match=r"ROFDefence has `clip_values`"):
        check_chain(sklearn([AsFlat(ROFDefence(clip_values=(0, 16)), SHAPE)]))
    with pytest.raises(
        ValueError, match=r"ROFDefence needs images, but the inputs are \(5, 3, 8, 8\): it takes images"
    ):
        check_chain(BlackBoxClassifier(lambda x: x, (5, 3, 8, 8), 4, preprocessing_defences=ROFDefence()))


def test_gradients_of_two_on_other_estimators():
    stages = [AsFlat(ROFDefence(), SHAPE), AsFlat(NLMeansDefence(), SHAPE)]
    with pytest.warns(UserWarning, match="gradient") as caught:
        check_chain(sklearn(stages))
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert "preprocessed twice" in messages[0]
    assert "unprocessed input to every preprocessor" in messages[1]
    assert "use `Compose([AsFlat, AsFlat])`" in messages[1]
    assert all(warning.filename == __file__ for warning in caught)
    # Without gradients there is nothing to be wrong.
    assert passes(sklearn(stages, ScikitlearnRandomForestClassifier, RandomForestClassifier))
    black_box = BlackBoxClassifierNeuralNetwork(
        lambda x: x, SHAPE, 4, channels_first=True, preprocessing_defences=[ROFDefence(), NLMeansDefence()]
    )
    assert passes(black_box)


def test_detectors():
    """There a PyTorch defence sees images in [0, 1], channels first, and a NumPy one the detector's."""
    with pytest.warns(
        UserWarning, match=r"PyTorchFasterRCNN stop at the output .*use `AsNumPy\(ROFDefence\(\.\.\.\)\)`"
    ):
        check_chain(Detector.make([ROFDefence()]))
    assert passes(Detector.make([AsNumPy(ROFDefence(clip_values=(0, 255)))]))
    with pytest.raises(ValueError, match=r"`clip_values`=\(0, 255\), but sees images in \(0, 1\)"):
        check_chain(Detector.make([ROFDefence(clip_values=(0, 255))]))
    with pytest.raises(ValueError, match=r"but sees images in \(0, 255\)"):
        check_chain(Detector.make([AsNumPy(ROFDefence())]))


def test_members_of_an_ensemble():
    members = [tiny_classifier(SHAPE), tiny_classifier(SHAPE, preprocessing_defences=[smoothing(), ROFDefence()])]
    with pytest.raises(ValueError, match="ART refuses the combination"):
        check_chain(EnsembleClassifier(members, channels_first=True, clip_values=(0, 1)))
    assert passes(EnsembleClassifier(members[:1], channels_first=True, clip_values=(0, 1)))


def test_training_that_leaves_the_defence_out():
    xgboost = pytest.importorskip("xgboost", reason="XGBoostClassifier needs xgboost")
    from art.estimators.classification import XGBoostClassifier

    model = xgboost.XGBClassifier(n_estimators=2).fit(X.reshape(5, -1), Y.argmax(1))
    defence = AsFlat(ROFDefence(apply_fit=True), SHAPE)
    classifier = XGBoostClassifier(
        model, clip_values=(0, 1), preprocessing_defences=defence, nb_features=192, nb_classes=4
    )
    with pytest.warns(UserWarning, match="XGBoostClassifier.fit ignores preprocessors: train on `defence"):
        check_chain(classifier)


def test_tensorflow():
    pytest.importorskip("tensorflow", reason="TensorFlowV2Classifier needs tensorflow")
    last = {"channels_first": False}
    chain = [ROFDefence(**last), NLMeansDefence(**last)]
    with pytest.raises(NotImplementedError):
        tensorflow_v2(chain).predict(X.transpose(0, 2, 3, 1))
    with pytest.raises(ValueError, match=r"on a TensorFlow estimator .*make them one, `Compose\(\[ROFDefence, NLMeans"):
        check_chain(tensorflow_v2(chain))
    assert passes(tensorflow_v2([Compose(chain)]))
    assert tensorflow_v2([Compose(chain)]).predict(X.transpose(0, 2, 3, 1)).shape == (5, 4)


def test_what_is_no_estimator():
    with pytest.raises(TypeError, match="`estimator` must be an ART estimator, got Sequential"):
        check_chain(torch.nn.Sequential())


def test_nothing_to_check():
    assert passes(tiny_classifier(SHAPE))
    squeezing = FeatureSqueezing((0, 1), bit_depth=3)
    assert passes(tiny_classifier(SHAPE, preprocessing_defences=squeezing))
