"""Which of ART's tests are run, and which of them fail with a defence in front, with the reason."""

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

EXPECTED: dict[str, dict[str, str]] = {"rof": {}, "nl-means": {}}
