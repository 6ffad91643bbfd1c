"""The notebook for newcomers runs from its first cell to its last; it is small, and without traces of a machine."""

from __future__ import annotations

import ast
import base64
import json
import os
from pathlib import Path

import pytest

from art_denoise._files import replacing

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def notebook() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def code(content: dict) -> list[dict]:
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_it_is_plain_python_with_small_outputs_and_nothing_of_the_machine():
    content = notebook()
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    pictures, order = 0, []
    for cell in code(content):
        ast.parse("".join(cell["source"]))
        assert cell["metadata"] == {}
        order.append(cell["execution_count"])
        for output in cell["outputs"]:
            assert output["output_type"] in ("stream", "display_data")
            assert output.get("name") != "stderr"
            if "data" in output:
                pictures += len(base64.b64decode("".join(output["data"]["image/png"])))
    assert order == list(range(1, len(order) + 1)), "some cells were not run, or in another order"
    assert 10_000 < pictures < 300_000
    assert str(Path.home()) not in NOTEBOOK.read_text(encoding="utf-8")


@pytest.mark.long
def test_every_cell_runs(tmp_path, request, monkeypatch):
    """Half a minute. `--write-notebook` keeps what the cells show."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # The package that is tested, also where another one is installed.
    here = [str(NOTEBOOK.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(here))
    content = nbformat.read(NOTEBOOK, as_version=4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = nbclient.NotebookClient(
        content,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    shown = [output for cell in content.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    printed = "".join(output.text for output in shown if output.output_type == "stream" and output.name == "stdout")
    assert "What the defence buys" in printed
    assert "who knows" in printed
    if request.config.getoption("--write-notebook"):
        for cell in content.cells:
            if cell.cell_type == "code":
                # Warnings are of this machine; a picture needs no text in its place.
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
                cell.metadata = {}
        content.metadata = {key: content.metadata[key] for key in ("kernelspec", "language_info")}
        content.metadata["language_info"] = {"name": "python"}
        with replacing(NOTEBOOK) as beside:
            nbformat.write(content, beside)
