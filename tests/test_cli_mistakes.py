"""What is wrong with a command line is told at once: in one sentence, with status 2, before PyTorch or ART is imported.

All mistakes are made in one process, one after the other, which has neither of them to begin with.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Makes each mistake, and says what came of it.
MAKE = """
import contextlib, io, json, sys
from art_denoise.cli import main
for arguments in json.load(sys.stdin):
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        status = main(arguments)
    heavy = sorted({"torch", "art", "torchvision", "kornia"} & set(sys.modules))
    print(json.dumps([status, said.getvalue(), printed.getvalue(), heavy]))
"""

#: Mistakes, each with what is to be said of it. There are a file `a.txt`, one `net.py` with a function `load`, one
#: `broken.py`, which is no Python, and an empty folder `empty`.
MISTAKES = {
    # Options and words.
    "table1 --dta x": "no option --dta of table1: did you mean --data",
    "table1 --rows few": "--rows must be 'all' or 'paper'",
    "table1 --eps 300": "--eps must be",
    "table1 --jobs 0": "--jobs must be >= 1",
    "table1 --device tpu": "--device must be auto, cpu, cuda or cuda:0, cuda:1, ..., got 'tpu'",
    "table1 --data empty --input-size 0": "--input-size must be >= 1, got 0",
    "table1 --data empty --num-classes 1": "--num-classes must be >= 2, got 1",
    "info --cleen": "no option --cleen of info: did you mean --clean?",
    # Images.
    "table1 --data nowhere": "--data must be 'photographs', 'imagenette', 'imagenet' or a folder of classes",
    "table1 --data imagenete": "there is no such folder; did you mean imagenette?",
    "table1 --data empty": "empty must hold one folder of images",
    "table1 --data imagenet": "--data-dir must be given",
    "table1 --data imagenet --data-dir nowhere": "there is no folder nowhere",
    "table1 --data imagenet --data-dir empty": "empty must hold the folders train and val",
    "table1 --data imagenette --data-dir nowhere": "there is no folder nowhere: make it",
    "table1 --data pets --classes nowhere.csv": "--classes = 'nowhere.csv': there is no such file",
    "table1 --data pets --classes net.py": "--classes = 'net.py' must be JSON",
    "evaluate --data nowhere": "got 'nowhere'",
    "tune --data nowhere": "got 'nowhere'",
    "craft sgd-uap --data nowhere": "got 'nowhere'",
    # Networks.
    "table1 --model vg16": "got 'vg16': did you mean vgg16?",
    "table1 --model torchvision:resnet50": "--model on the photographs must be inception_v1, vgg16, vgg19",
    "table1 --model vgg16:title=A=B": "must be a text without colons, commas and equals signs",
    "table1 --data pets --model torchvision:resnet50:title=A:DEFAULT": "equals signs, and stand last",
    "table1 --model nowhere.py:load": "there is no file nowhere.py",
    "table1 --model net.py": "--model = 'net.py' must say which function of the file returns the network",
    "table1 --model net.py:laod": "there is no function 'laod', but load",
    "table1 --model broken.py:load": "SyntaxError in broken.py, line 2",
    "table1 --data pets --model resnet5": "got 'resnet5': did you mean torchvision:resnet50?",
    "table1 --data pets --model torchvision:resnet500": "no classification network 'resnet500': it has resnet50",
    "transfer --model vgg16 --model vg16": "--model on the photographs must be inception_v1, vgg16, vgg19",
    "transfer --model vgg16 --model vgg16": "--model must hold at least one model, and each once",
    # Perturbations.
    "transfer --source nowhere.npy": "there is no file nowhere.npy",
    "transfer --source nowhere.py:load": "there is no file nowhere.py",
    "table1 --source nowhere.npy": "there is no file nowhere.npy",
    "table1 --source a.txt": "--source has 'a.txt', which is neither a model",
    "table1 --source nowhere.npy:ordr=bgr": "after the file may stand order=",
    "table1 --source vgg61": "--source on the photographs must be inception_v1",
    "evaluate --source nowhere.py:load": "there is no file nowhere.py",
    # Defences and attacks.
    "table1 --defence rofs": "there is no defence 'rofs', but rof",
    "table1 --defence nowhere.py:f": "there is no file nowhere.py",
    "table1 --defence net.py:laod": "net.py has no function 'laod', but load",
    "table1 --defence broken.py:f": "SyntaxError in broken.py, line 2",
    "table1 --defence art:JpegCompresion": "ART has no preprocessor 'art:JpegCompresion', but art:JpegCompression",
    "table1 --attack pgdd": "there is no attack 'pgdd', but pgd",
    "table1 --attack art:NewtonFoool": "ART has no evasion attack 'art:NewtonFoool', but art:NewtonFool",
    "transfer --attack sgd-upa": "there is no attack 'sgd-upa', but sgd-uap",
    "transfer --attack pgd:knowledge=exact": "--attack has pgd with knowledge=exact",
    "transfer --defence rof": "no option --defence of transfer",
    "tune --defence rofs": "there is no defence 'rofs', but rof",
    "craft sgd-upa": "there is no attack 'sgd-upa', but sgd-uap",
    # Where it is kept.
    "table1 --config nowhere.toml": "nowhere.toml: No such file or directory",
    "table1 --config a.txt": "a.txt is no TOML file",
    "table1 --out a.txt": "nothing can be written in a.txt, as a.txt is a file",
    "evaluate --out a.txt/run": "a.txt is a file: give another folder",
    "tune --out a.txt/run": "a.txt is a file: give another folder",
    "craft sgd-uap --out a.txt/uap.safetensors": "a.txt is a file: give another folder",
    "table1 --data pets --decoded-dir a.txt": "nothing can be written in a.txt",
    "table1 --data pets --weights-dir a.txt": "nothing can be written in a.txt",
    # Plans.
    "table1 --plan --data nowhere": "got 'nowhere'",
    "craft sgd-uap --plan --model nowhere.py:load": "there is no file nowhere.py",
    # Other commands.
    "report nowhere": "holds no results.json",
    "report empty": "holds no results.json",
    "report empty --format txt": "there is no format txt: did you mean text?",
    "diff nowhere empty": "holds no results.json",
    "verify nowhere": "holds nothing of a run",
    "verify empty --sample few": "--sample must be a number of cells",
    "denoise nowhere.png out.png": "there is no file or folder nowhere.png",
    "denoise a.png": "denoise needs OUT",
    "denoise a.png out.xyz": "out.xyz must end in .png",
    "denoise a.png a.txt/out.png": "nothing can be written in a.txt",
    "denoise a.png out.png --defence rofs": "there is no defence 'rofs', but rof",
    "denoise a.png out.png --defence nowhere.py:f": "there is no file nowhere.py",
    "compare nowhere.png": "nowhere.png leads nowhere",
    "compare a.png --side 1": "--side must be 16 pixels or more",
    "compare a.png --out a.txt/out.png": "nothing can be written in a.txt",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "empty").mkdir()
    (folder / "pets" / "cat").mkdir(parents=True)
    (folder / "a.txt").write_text("no = yes = no")
    (folder / "net.py").write_text("import torch\n\n\ndef load():\n    return torch.nn.Identity()\n")
    (folder / "broken.py").write_text("\nx = )\n")
    for picture in (folder / "a.png", folder / "pets" / "cat" / "a.png"):
        Image.new("RGB", (24, 20)).save(picture)
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", MAKE],
        input=json.dumps([mistake.split() for mistake in MISTAKES]),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(folder.rglob("*")) == before
    return dict(zip(MISTAKES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_at_once(told, mistake):
    status, said, printed, heavy = told[mistake]
    assert MISTAKES[mistake] in said
    assert said.startswith("Error: ")
    assert (status, said.count("\n"), printed, heavy) == (2, 1, "", [])
