"""What works in an environment that has the package and none of its extras. A script, as there is no pytest there."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

import art_denoise
from art_denoise import testing
from art_denoise._extras import EXTRAS

#: What needs an extra, and which.
NEEDING = {
    "attacks": [
        "BestPGD",
        "DeepFoolUAP",
        "Perturbation",
        "SGDUAP",
        "SharedForwardDeepFool",
        "UniversalNoise",
        "as_module",
        "load_perturbation",
    ],
    "photographs": ["load_photographs"],
    "evaluation": ["evaluate_defence", "inception_v1", "vgg16", "vgg19"],
}


def why_not(name: str) -> str | None:
    """Return what is said of a public name that cannot be had here, or None."""
    try:
        getattr(art_denoise, name)
    except ImportError as error:
        return str(error)
    return None


def main() -> None:
    assert find_spec("safetensors") is None, "there are extras here"
    assert find_spec("cyclopts") is None, "there are extras here"
    needing = {name: extra for extra, names in NEEDING.items() for name in names}
    for name in art_denoise.__all__:
        message = why_not(name)
        assert (message is None) == (name not in needing), (name, message)
        assert message is None or message.endswith(f'pip install "art_denoise[{needing.pop(name)}]"'), message
    assert not needing, f"these need no extra: {list(needing)}"
    assert set(NEEDING) < set(EXTRAS)

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 10))
    classifier = PyTorchClassifier(
        model,
        torch.nn.CrossEntropyLoss(),
        (3, 16, 16),
        10,
        clip_values=(0, 1),
        preprocessing_defences=[art_denoise.ROFDefence(), art_denoise.NLMeansDefence()],
    )
    x = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    assert classifier.predict(x).shape == (2, 10)
    assert np.abs(classifier.loss_gradient(x, np.eye(10, dtype=np.float32)[[1, 2]])).max() > 0
    art_denoise.check_chain(classifier)
    testing.check_defence(art_denoise.ROFDefence)

    command = subprocess.run([sys.executable, "-m", "art_denoise", "table1"], capture_output=True, text=True)
    assert command.returncode == 2
    assert command.stderr.startswith("Error: art-denoise needs "), command.stderr
    assert command.stderr.endswith('not installed: pip install "art_denoise[evaluation]"\n'), command.stderr
    assert "Traceback" not in command.stderr


if __name__ == "__main__":
    main()
