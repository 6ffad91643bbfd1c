"""Every choice has a default that fits the data, what makes no sense is refused, and what is written is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from art_denoise.evaluation.components import parse_defence
from art_denoise.evaluation.experiment import Condition, Defence, Experiment, Knowledge, Network, Section, Source
from art_denoise.evaluation.from_options import (
    check_gradients,
    chosen_attacks,
    chosen_defences,
    drawing_in,
    knowledge_of,
    remarks_on,
)
from art_denoise.evaluation.options import Fitting, Machine, Options, placed
from art_denoise.evaluation.prepared import changes
from art_denoise.evaluation.run_folder import keep_choices
from art_denoise.evaluation.studies import lee2018
from art_denoise.models.schedule import Schedule

#: What may stay open: how many images there are decides.
OPEN = {"data_dir", "classes", "targets", "sources", "defences", "attacks", "input_size", "num_classes"}
SIZES = {"craft_images", "deepfool_images", "tune_images", "noise_images", "test_images"}


def open_in(options: Options) -> set[str]:
    return {f.name for f in fields(options) if getattr(options, f.name) is None}


def test_defaults_on_the_photographs():
    filled = Options().filled()
    assert open_in(filled) == OPEN | SIZES - {"deepfool_images"}
    assert filled.shares == {"train": 32, "tune": 8, "noise-fit": 12, "test": 28}
    assert filled.schedules == {"inception_v1": Schedule(), "vgg16": Schedule(), "vgg19": Schedule(epochs=6)}
    assert (filled.craft_images, filled.deepfool_images, filled.craft_passes) == (None, 80, 3)
    assert (filled.sgd_passes, filled.sgd_batch_size) == (3, 16)
    assert filled.noise_sigmas == (8 / 255, 16 / 255)
    assert filled.noise_eps == (1 / 255, 2 / 255, 4 / 255)
    assert (filled.noise_draws, filled.noise_accept, filled.noise_knowing) == (12, "flip", False)


def test_defaults_on_folders_are_the_papers():
    filled = Options(data="imagenet").filled()
    assert open_in(filled) == OPEN | SIZES
    assert (filled.craft_passes, filled.sgd_batch_size, filled.sgd_passes) == (10, 64, 10)
    assert (filled.eps, filled.rof_weight, filled.nlm_h) == (10 / 255, 10 / 255, 0.05)
    assert (filled.craft_batch_size, filled.craft_until) == (1, 0.8)


def test_quick_is_every_step_on_few_crops():
    filled = Options(quick=True).filled()
    assert filled.shares == {"train": 2, "tune": 1, "noise-fit": 2, "test": 2}
    assert filled.craft_images <= 2 * 19
    assert all(schedule.epochs == 1 for schedule in filled.schedules.values())
    assert (filled.noise_accept, filled.noise_knowing, filled.noise_draws) == ("loss", True, 2)


def test_what_is_given_stays():
    given = {"craft_images": 7, "sgd_passes": 1, "noise_draws": 3, "noise_accept": "flip", "noise_knowing": False}
    for options in (Options(**given), Options(quick=True, **given), Options(data="x", **given)):
        filled = options.filled()
        assert {name: getattr(filled, name) for name in given} == given
        assert filled.filled() == filled


def test_networks_without_a_schedule_of_their_own_keep_theirs():
    filled = Options(schedules={"vgg16": Schedule(epochs=9)}).filled()
    assert filled.schedules == {"inception_v1": Schedule(), "vgg16": Schedule(epochs=9), "vgg19": Schedule(epochs=6)}
    assert filled.filled() == filled


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": "some"}, r"`rows` must be 'all' or 'paper', got 'some'"),
        ({"noise_through": "nothing"}, r"`noise_through` must be 'defences' or 'classifier', got 'nothing'"),
        ({"noise_accept": "any"}, r"`noise_accept` must be 'flip' or 'loss', got 'any'"),
        ({"eps": 0}, r"`eps` must be finite and > 0 and <= 1, got 0"),
        ({"eps": 10}, r"`eps` must be finite and > 0 and <= 1, got 10"),
        ({"rof_weight": -1.0}, r"`rof_weight` must be finite and > 0, got -1.0"),
        ({"nlm_h": 0.0}, r"`nlm_h` must be finite and > 0, got 0.0"),
        ({"craft_until": 80}, r"`craft_until` must be finite and >= 0 and <= 1, got 80"),
        ({"craft_overshoot": float("inf")}, r"`craft_overshoot` must be finite and >= 0, got inf"),
        ({"seed": -1}, r"`seed` must be >= 0, got -1"),
        ({"seeds": 0}, r"`seeds` must be >= 1, got 0"),
        ({"sgd_passes": 0}, r"`sgd_passes` must be >= 1, got 0"),
        ({"craft_batch_size": 0}, r"`craft_batch_size` must be >= 1, got 0"),
        ({"noise_draws": 0}, r"`noise_draws` must be >= 1, got 0"),
        ({"data": "x", "noise_images": -1}, r"`noise_images` must be >= 0, got -1"),
        ({"noise_sigmas": ()}, r"`noise_sigmas` must hold at least one number"),
        ({"noise_eps": (0.1, 2)}, r"`noise_eps` must be finite and > 0 and <= 1, got 2"),
        ({"test_images": 5}, r"`test_images` is for folders of images: leave it out .* or give a folder as `data`"),
        ({"input_size": 64}, r"`input_size` is for folders of images"),
        ({"skip_broken": True}, r"`skip_broken` is for folders of images"),
        ({"craft_images": 0}, r"`craft_images` must be >= 1 with the photographs"),
        ({"data": "x", "quick": True}, r"`quick` is for the photographs: give small numbers of images .*`test_images`"),
        ({"attacks": ()}, r"`attacks` must hold at least one attack: leave it out for those of Table 1"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(given, message):
    with pytest.raises(ValueError, match=message):
        Options(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1.5}, "`seed` must be an integer, got 1.5"),
        ({"eps": "10"}, "`eps` must be a number, got '10'"),
        ({"seeds": True}, "`seeds` must be an integer, got True"),
        # A text would be taken for a list of letters.
        ({"attacks": "pgd"}, r"`attacks` must be a list of texts, got 'pgd'"),
        ({"defences": "rof"}, r"`defences` must be a list of texts, got 'rof'"),
        ({"sources": (3,)}, r"`sources` must be a list of texts, got \(3,\)"),
    ],
)
def test_other_types_are_refused(given, message):
    with pytest.raises(TypeError, match=message):
        Options(**given)


def test_machines():
    for name in ("batch_size", "jobs", "threads", "workers"):
        with pytest.raises(ValueError, match=f"`{name}` must be >= 1, got 0"):
            Machine(**{name: 0})
        with pytest.raises(TypeError, match=f"`{name}` must be an integer"):
            Machine(**{name: 1.0})
    assert Machine().batch_size is None


def test_how_noise_is_fitted():
    options = Options(seed=4, noise_through="classifier", noise_draws=5)
    assert Fitting.of(options) == Fitting.of(options.filled())
    fitting = Fitting.of(options)
    assert (fitting.seed, fitting.through, fitting.draws, fitting.accept) == (4, "classifier", 5, "flip")
    assert fitting.sigmas == options.filled().noise_sigmas


# What attacks and defences options ask for.


def test_the_two_attacks_of_table_1_with_the_parameters_of_the_options():
    deepfool, sgd = chosen_attacks(Options(eps=0.1, craft_steps=7, craft_until=0.5).filled())
    assert (deepfool.attack.name, sgd.attack.name) == ("deepfool-uap", "sgd-uap")
    assert deepfool.eps == sgd.eps == 0.1
    assert dict(deepfool.attack.params) == {
        "attacker_params": (("epsilon", 0.02), ("max_iter", 7)),
        "batch_size": 1,
        "delta": 0.5,
        "max_iter": 3,
    }
    assert dict(sgd.attack.params) == {"max_iter": 3, "batch_size": 16}


def test_attacks_that_are_asked_for_have_them_too():
    asked = Options(eps=0.1, attacks=("deepfool-uap", "sgd-uap")).filled()
    assert chosen_attacks(asked) == chosen_attacks(Options(eps=0.1).filled())
    (pgd,) = chosen_attacks(replace(asked, attacks=("pgd:max_iter=5,knowledge=bpda",)))
    assert (pgd.eps, pgd.knowledge, dict(pgd.attack.params)) == (0.1, Knowledge.BPDA, {"max_iter": 5})


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("deepfool-uap:max_iter=7", {"max_iter": 7, "batch_size": 1}),
        ("sgd-uap:batch_size=5", {"batch_size": 5, "max_iter": 3}),
        ("deepfool-uap:attacker_params.max_iter=5", {"attacker_params": (("max_iter", 5),), "max_iter": 3}),
    ],
)
def test_what_is_written_with_an_attack_is_stronger_than_the_options(text, has):
    (threat,) = chosen_attacks(Options(attacks=(text,)).filled())
    assert dict(threat.attack.params).items() >= has.items()


@pytest.mark.parametrize("text", ["deepfool-uap:max_iter=20", "sgd-uap:batch_size=32", "deepfool-uap:delta=0.2"])
def test_even_if_it_is_the_default_of_the_attack(text):
    options = Options(attacks=(text,), craft_until=0.5).filled()
    name = text.partition(":")[2].partition("=")[0]
    (threat,) = chosen_attacks(options)
    assert name not in dict(threat.attack.params)


def test_a_bound_that_is_written_is_kept_even_if_it_is_the_default():
    first, second = chosen_attacks(Options(eps=0.1, attacks=("sgd-uap:eps=10", "sgd-uap:eps=10/255")).filled())
    assert first.eps == second.eps == 10 / 255


def test_the_papers_defences_with_the_strengths_of_the_options():
    assert chosen_defences(Options()) == [lee2018.ROF, lee2018.NLM]
    rof, nlm = chosen_defences(Options(rof_weight=0.1, nlm_h=0.2))
    assert dict(rof.preprocessors[0].params) == {"weight": 0.1}
    assert dict(nlm.preprocessors[0].params) == {"h": 0.2}
    assert chosen_defences(Options(defences=("noise+rof",))) == [parse_defence("noise+rof")]


@pytest.mark.parametrize(
    ("text", "knowledge"),
    [
        ("rof", Knowledge.EXACT),
        ("rof+nlm", Knowledge.EXACT),
        ("noise+nlm", Knowledge.EXACT),
        ("art:JpegCompression", Knowledge.BPDA),
        ("rof+art:JpegCompression", Knowledge.PARTLY_EXACT),
        ("art:FeatureSqueezing:bit_depth=3", Knowledge.BPDA),
    ],
)
def test_what_an_attacker_can_differentiate(text, knowledge):
    assert knowledge_of(parse_defence(text), 16) is knowledge


def test_a_gradient_that_a_defence_does_not_have_is_told_of_before_anything_takes_long():
    (exact,) = chosen_attacks(Options(attacks=("pgd:knowledge=exact",)).filled())

    def asked(defence: Defence) -> Experiment:
        one = Network("one")
        return Experiment("", one, (Source("one"),), (Section("", (Condition(exact), Condition(exact, defence))),))

    check_gradients(asked(parse_defence("rof")), 16)
    with pytest.raises(ValueError, match=r"pgd:knowledge=exact is exact, and D_JpegCompression has no.*use bpda"):
        check_gradients(asked(parse_defence("art:JpegCompression")), 16)
    # Of a chain, what has none is named, and not what has one.
    with pytest.raises(ValueError, match=r"is exact, and D_JpegCompression has no gradient"):
        check_gradients(asked(parse_defence("rof+art:JpegCompression")), 16)


RANDOM = """
import numpy as np
from art.defences.preprocessor import Preprocessor

class Noise(Preprocessor):
    def __init__(self, draw):
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
        self.draw = draw

    def __call__(self, x, y=None):
        return np.clip(x + 0.1 * self.draw(x.shape), 0, 1).astype(np.float32), y

def seeded():
    return Noise(lambda shape: np.random.normal(size=shape))

def own():
    return Noise(lambda shape: np.random.default_rng().normal(size=shape))

def failing():
    return Noise(lambda shape: [][0])

def fixed():
    return Noise(lambda shape: np.random.default_rng(0).normal(size=shape))
"""


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("rof", None),
        ("art:JpegCompression", None),
        ("mine.py:fixed", None),
        ("mine.py:failing", None),
        ("mine.py:seeded", "D_seeded draws at random: images are scored with 3 draws"),
        ("rof+mine.py:own", "D_own draws from a generator of its own: the same run gives other figures"),
    ],
)
def test_what_draws_at_random_is_told_of(monkeypatch, tmp_path, text, remark):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(RANDOM)
    drawing = drawing_in([*parse_defence(text).preprocessors] * 2, 16)
    assert [p.name for p in drawing] == ([text.rpartition("+")[2]] if remark else [])
    remarks = remarks_on(drawing, 3)
    assert bool(remarks) == (remark is not None)
    assert remark is None or remarks[0].startswith(remark)
    assert all("3 draws" in said for said in remarks[-1:])


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Be in a folder of images, files, and links to them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("d", "e", "imagenet"):
        (tmp_path / folder).mkdir()
    for file in ("net.py", "u.npy", "mine.py"):
        (tmp_path / file).touch()
    (tmp_path / "link").symlink_to("d")
    return tmp_path


@pytest.mark.parametrize(
    ("field", "written", "ways"),
    [
        ("data", "d", ["./d", "d/", "{here}/d", "link", "e/../d"]),
        ("data_dir", "d", ["./d/"]),
        ("model", "net.py:load", ["./net.py:load", "{here}/net.py:load", "e/../net.py:load"]),
        ("sources", ["vgg16", "u.npy:units=1,order=bgr"], [["vgg16", "./u.npy:units=1,order=bgr"]]),
        ("defences", ["rof+mine.py:f:x=1"], [["rof+./mine.py:f:x=1"], ["rof+{here}/mine.py:f:x=1"]]),
    ],
)
def test_the_same_place_is_the_same_choice_however_it_is_written(places, field, written, ways):
    (places / "run").mkdir()
    about = {"study": "table1", "data": {}, "models": {}}
    keep_choices(places / "run", {**about, "options": {field: written, "seed": 1}})
    for way in ways:
        here = json.loads(json.dumps(way).replace("{here}", str(places)))
        assert changes(places / "run", {**about, "options": {field: here, "seed": 1}}) == []
    other = json.loads(json.dumps(written).replace("d", "e").replace("py:", "py:other_").replace("u.npy", "net.py"))
    assert len(changes(places / "run", {**about, "options": {field: other, "seed": 1}})) == 1
    assert changes(places / "run", {**about, "options": {field: ways[0], "seed": 2}}) == [
        "options.seed: 1 there, 2 now"
    ]


def test_what_is_no_place_stays_as_it_is(places):
    given = {"data": "imagenet", "model": "vgg16", "sources": None, "seed": 3, "rows": "d"}
    assert placed(given) == given
    assert placed({"data": "d"}) == {"data": os.path.realpath("d")}


def test_a_defence_in_a_file_has_one_name(places):
    assert parse_defence("./mine.py:f") == parse_defence("mine.py:f")


def test_options_need_no_torch():
    code = "import sys, art_denoise.evaluation.options as o; o.Options().filled(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
