"""Shared by all tests: a cache folder of their own, small images and a small classifier."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Several processes with several threads each (`pytest --numprocesses`) would wait for each other in busy loops. Threads
# read it when they are started, by the imports that follow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import torch
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.estimators.classification import PyTorchClassifier
from hypothesis import HealthCheck, settings
from inputs_tried import COUNT

if not torch.cuda.is_available():
    # Without a GPU its kernels are interpreted. Triton reads it when it is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")

#: How many inputs each property test tries: some hundreds in all, tens of thousands with HYPOTHESIS_PROFILE=nightly.
#: Images of all sizes take longer than Hypothesis expects, and a busy machine longer still.
_SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("ordinary", max_examples=25, derandomize=True, **_SLOW)
settings.register_profile("nightly", max_examples=1500, print_blob=True, **_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))

#: Batch, channels, height and width all different, height and width odd: swapped axes show.
SHAPE = (2, 3, 37, 31)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """Keep the user's cache folder out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
            patch.setenv(name, str(folder))
        yield folder


@pytest.fixture
def realdata() -> Path:
    """Folder of real data beside the checkout; a test that asks for it is skipped where there is none."""
    folder = Path(__file__).parents[2] / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("no real data on this machine")
    return folder


@pytest.fixture
def images() -> np.ndarray:
    """Two noisy images (2, 3, 37, 31) float32 in [0, 1]: a bright square on a ramp."""
    rng = np.random.default_rng(7)
    clean = np.zeros(SHAPE) + np.linspace(0.2, 0.5, SHAPE[3])
    clean[:, :, 10:25, 8:20] += np.array([0.2, 0.3, 0.4])[:, None, None]
    return np.clip(clean + rng.normal(0, 0.05, SHAPE), 0, 1).astype(np.float32)


class RandomShift(PreprocessorPyTorch):
    """Add the same random number to all pixels: a defence that draws at random."""

    def __init__(self, sigma: float) -> None:
        super().__init__(device_type="cpu")
        self.sigma = sigma

    def forward(self, x, y=None):
        return x + self.sigma * torch.randn(len(x), 1, 1, 1), y


def tiny_classifier(
    shape: tuple[int, int, int] = (3, 8, 8), classes: int = 4, *, seed: int = 0, **kwargs
) -> PyTorchClassifier:
    """A small smooth convolutional classifier with fixed random weights, logits out."""
    generator = torch.Generator().manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(shape[0], 6, 3, padding=1),
        torch.nn.Tanh(),
        torch.nn.Conv2d(6, 6, 3, stride=2, padding=1),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(6 * ((shape[1] + 1) // 2) * ((shape[2] + 1) // 2), classes),
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        # No class is favoured on average, so that every class is predicted for some images.
        network[-1].bias -= network(torch.rand(64, *shape, generator=generator)).mean(0)
    return PyTorchClassifier(
        network.eval(),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=classes,
        clip_values=kwargs.pop("clip_values", (0.0, 1.0)),
        device_type="cpu",
        **kwargs,
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--estimators-table", help="write what the tests of the estimators found to this Markdown file")
    parser.addoption(
        "--write-notebook", action="store_true", help="write examples/quickstart.ipynb with what its cells show now"
    )
    parser.addoption(
        "--write-golden", action="store_true", help="write tests/golden.json anew, for review of what changes"
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many inputs the property tests tried, if they ran in this process."""
    if COUNT[0]:
        terminalreporter.write_line(f"inputs tried: {COUNT[0]:,}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table of estimators from the results of its tests, each of which names its cell."""
    path = session.config.getoption("--estimators-table")
    if not path:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reports = [report for kind in ("passed", "failed", "skipped") for report in reporter.getreports(kind)]
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for report in reports:
        found = dict(report.user_properties)
        if "estimators_table" in found:
            estimator, given_as, quantity, defence = found["estimators_table"]
            value = {"passed": found.get("estimators_cell", "?"), "skipped": "not run"}.get(report.outcome, "**fails**")
            cells.setdefault((estimator, given_as, quantity), {})[defence] = value
    write_estimators_table(Path(path), cells)


def write_estimators_table(path: Path, cells: dict[tuple[str, str, str], dict[str, str]]) -> None:
    """Write the results as Markdown; the rows of an estimator stand together, in the order in which its tests ran."""
    defences = list(dict.fromkeys(defence for row in cells.values() for defence in row))
    lines = [
        "# The defences in ART's estimators",
        "",
        "Written by tests/defences/test_estimators.py, each cell from a test: do not edit. Prediction: a defended",
        "estimator predicts what the estimator predicts for defended images. Gradient, *exact*: of the estimator and",
        "the defence together. *identity*: ART takes it at the defended image and leaves the defence out. *none*: the",
        "estimator has no gradient. Training: with `apply_fit=True` on defended images.",
        "[What to know of each](art.md#estimators).",
        "",
        f"| Estimator | given as | | {' | '.join(f'`{defence}`' for defence in defences)} |",
        f"|---|---|---|{'---|' * len(defences)}",
    ]
    for estimator, given_as in dict.fromkeys(key[:2] for key in cells):
        first = True
        for key, row in cells.items():
            if key[:2] == (estimator, given_as):
                names = f"`{estimator}` | {given_as}" if first else " | "
                lines.append(f"| {names} | {key[2]} | {' | '.join(row.get(defence, '') for defence in defences)} |")
                first = False
    beside = path.with_name(path.name + ".part")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(path)
