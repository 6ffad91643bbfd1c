"""Which of ART's tests are run, and which of them fail here with which defence in front, with the reason."""

from __future__ import annotations

QUICK_FILES = (
    "tests/defences/preprocessor/test_spatial_smoothing_pytorch.py",
    "tests/defences/test_variance_minimization.py",
    "tests/attacks/evasion/test_fast_gradient.py",
)

FILES = (
    "tests/defences/preprocessor/test_spatial_smoothing_pytorch.py",
    "tests/defences/preprocessor/test_spatial_smoothing.py",
    "tests/defences/preprocessor/test_jpeg_compression.py",
    "tests/defences/test_variance_minimization.py",
    "tests/estimators/classification/test_deeplearning_common.py",
    "tests/estimators/classification/test_deeplearning_specific.py",
    "tests/estimators/classification/test_detector_classifier.py",
    "tests/classifiersFrameworks/test_pytorch.py",
    "tests/attacks/evasion/test_fast_gradient.py",
    "tests/attacks/evasion/test_auto_projected_gradient_descent.py",
    "tests/attacks/evasion/test_momentum_iterative_method.py",
    "tests/attacks/evasion/test_square_attack.py",
    "tests/attacks/test_deepfool.py",
    "tests/attacks/test_projected_gradient_descent.py",
    "tests/attacks/test_universal_perturbation.py",
)

#: What fails without a defence of ours too is the environment's.
_NUMBERS = "it compares with numbers of ART's images and weights, in whose place there are digits here"
_DOUBLE = "ART's own defences make float64 of the images here, which its PyTorch classifier does not take"
_APEX = "it needs NVIDIA's apex"

#: What fails because another filter stands in place of ART's, or in front.
_RANGE = "it gives values up to 5 or so without saying what their range is, which is refused with the remedy"
_PARAMETERS = "it tries bad parameters of ART's filter, which ours does not have, or looks for ART's words"
_WINDOW = "it tries sizes of a window, which this filter does not have"
_INSIDE = "it calls a function inside of ART's JPEG compression"
_MEDIAN = "it compares with a median filter"
_STEPS = (
    "five steps of ART's DeepFool end just before the boundary of the defended classifier; with 50 steps, or with "
    "epsilon=0.02, all images cross it"
)
_SLOPES = (
    "the images of ART's two versions of PGD differ by 4e-10, and go different ways where non-local means has a slope "
    "of 1e-13: in 3 of 78,400 pixels, where the test allows none"
)
_NAN = "the square attack makes NaN of images, which networks take silently and the defences refuse"

_PGD = "tests.attacks.test_projected_gradient_descent.TestPGD::test_6_framework_pytorch_mnist"
_SMOOTHING, _PYTORCH_SMOOTHING, _JPEG, _COMMON, _FAST, _MOMENTUM = (
    "tests.defences.preprocessor.test_spatial_smoothing::",
    "tests.defences.preprocessor.test_spatial_smoothing_pytorch::",
    "tests.defences.preprocessor.test_jpeg_compression::",
    "tests.estimators.classification.test_deeplearning_common::",
    "tests.attacks.evasion.test_fast_gradient::",
    "tests.attacks.evasion.test_momentum_iterative_method::",
)

_WITH_ANY = {
    f"{_SMOOTHING}test_spatial_smoothing_median_filter_call": _MEDIAN,
    f"{_SMOOTHING}test_spatial_smoothing_image_data": _RANGE,
    f"{_SMOOTHING}test_spatial_smoothing_video_data": _RANGE,
    f"{_SMOOTHING}test_window_size_error": _WINDOW,
    f"{_SMOOTHING}test_non_spatial_data_error": _PARAMETERS,
    f"{_PYTORCH_SMOOTHING}test_spatial_smoothing_median_filter_call_expected_behavior": _MEDIAN,
    f"{_PYTORCH_SMOOTHING}test_spatial_smoothing_image_data": _RANGE,
    f"{_PYTORCH_SMOOTHING}test_spatial_smoothing_video_data": _RANGE,
    f"{_PYTORCH_SMOOTHING}test_window_size_error": _WINDOW,
    f"{_PYTORCH_SMOOTHING}test_non_spatial_data_error": _PARAMETERS,
    f"{_JPEG}test_jpeg_compress": _INSIDE,
    f"{_JPEG}test_non_spatial_data_error": _PARAMETERS,
    f"{_JPEG}test_check_params": _PARAMETERS,
    "tests.defences.test_variance_minimization.TestTotalVarMin::test_check_params": _PARAMETERS,
    "tests.attacks.evasion.test_square_attack::test_generate": _NAN,
}

#: Tests of `EXPECTED` that draw at random whether they fail, so that it is no news when they pass.
BY_CHANCE = frozenset({"tests.attacks.evasion.test_square_attack::test_generate", _PGD})

EXPECTED: dict[str, dict[str, str]] = {
    "none": {
        f"{_COMMON}test_predict": _NUMBERS,
        f"{_COMMON}test_defences_predict": _DOUBLE,
        f"{_COMMON}test_fit_image_generator": _NUMBERS,
        f"{_COMMON}test_loss_gradient": _NUMBERS,
        f"{_COMMON}test_class_gradient": _NUMBERS,
        f"{_COMMON}test_compute_loss": _NUMBERS,
        "tests.estimators.classification.test_deeplearning_specific::test_loss_gradient_amp": _APEX,
        "tests.estimators.classification.test_detector_classifier.TestDetectorClassifier::test_predict": _NUMBERS,
        f"{_FAST}test_classifier_defended_images": _DOUBLE,
        f"{_FAST}test_minimal_perturbations_images": _NUMBERS,
        f"{_FAST}test_non_classification": "it asks for an object detector that ART's tests download",
        f"{_MOMENTUM}test_images": _NUMBERS,
        f"{_MOMENTUM}test_images_targeted": _NUMBERS,
        "tests.attacks.evasion.test_square_attack::test_generate": _NUMBERS,
    },
    "rof": _WITH_ANY | {"tests.attacks.test_deepfool.TestDeepFool::test_5_pytorch_mnist": _STEPS},
    "nl-means": _WITH_ANY | {_PGD: _SLOPES},
}
