"""Defences and attacks by name: written, read, written again; and one sentence for everything that is wrong."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

from art_denoise.evaluation import components
from art_denoise.evaluation.attack_table import ART_ATTACKS, ArtAttack
from art_denoise.evaluation.components import (
    attack_names,
    check_components,
    code_of,
    defence_names,
    make_preprocessor,
    make_threat,
    modules_of,
    parse_attack,
    parse_defence,
    write_attack,
    write_defence,
)
from art_denoise.evaluation.experiment import (
    NOTHING,
    Attack,
    Defence,
    Knowledge,
    Noise,
    Preprocessor,
    Threat,
    params,
)
from art_denoise.evaluation.experiment_json import from_json, to_json
from art_denoise.evaluation.notation import read_value, split_chain
from art_denoise.evaluation.origins import load


@pytest.fixture
def file(tmp_path):
    """A user's file; the folder's name has a plus sign in it."""
    folder = tmp_path / "c++"
    folder.mkdir()
    path = folder / "my.py"
    path.write_text("from art.defences.preprocessor import SpatialSmoothing\n\ndef smooth(size=3):\n    return size\n")
    return path


def test_neither_torch_nor_art_nor_numpy_is_imported():
    """The command line's help and a finished report need the names."""
    code = (
        "import sys, art_denoise.evaluation.components\n"
        "print([name for name in ('torch', 'art', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "defence"),
    [
        ("none", NOTHING),
        ("rof", Defence((Preprocessor("rof"),))),
        ("rof:weight=5", Defence((Preprocessor("rof", params(weight=5 / 255)),))),
        ("rof:weight=1/50", Defence((Preprocessor("rof", params(weight=0.02)),))),
        ("rof:weight=0", Defence((Preprocessor("rof", params(weight=0.0)),))),
        ("rof:weight=10", Defence((Preprocessor("rof"),))),  # the default
        ("rof:eps=1e+3", Defence((Preprocessor("rof", params(eps=1000.0)),))),
        (
            "nlm:h=0.02,patch_size=3,mode=centred",
            Defence((Preprocessor("nlm", params(h=0.02, patch_size=3, mode="centred")),)),
        ),
        ("noise+rof", Defence((Preprocessor("rof"),), Noise())),
        ("noise", Defence((), Noise())),
        ("noise:kind=random+nlm", Defence((Preprocessor("nlm"),), Noise("random"))),
        (
            "art:JpegCompression:quality=75+rof",
            Defence((Preprocessor("art:JpegCompression", params(quality=75)), Preprocessor("rof"))),
        ),
        (
            "art:X:a=(1,2),b=none,c=true,d.e=1/4,f=word,g=-1.5e-3",
            Defence((Preprocessor("art:X", params(a=(1, 2), b=None, c=True, d={"e": 0.25}, f="word", g=-0.0015)),)),
        ),
    ],
)
def test_a_defence_is_read_and_written(text, defence):
    found = parse_defence(text)
    assert found == defence
    assert parse_defence(write_defence(found)) == found
    assert from_json(to_json(found)) == found


def test_how_things_are_written():
    for text in ("rof:weight=5.5/255", "art:X:d.e=0.25,f=(1,word)", "noise+art:X:a=true,b=none+nlm:h=1e-05"):
        assert write_defence(parse_defence(text)) == text
    for text in ("deepfool-uap:attacker_params.max_iter=50", "pgd:eps=8/255,norm=2,knowledge=bpda,eps_step=2/255"):
        assert write_attack(parse_attack(text)) == text
    assert write_defence(parse_defence("rof:weight=1/7")) == f"rof:weight={1 / 7!r}/1"


def test_values_keep_their_types():
    given = dict(parse_defence("art:X:a=1,b=1.0,c=true,d=none").preprocessors[0].params)
    assert [type(value) for value in given.values()] == [int, float, bool, type(None)]


def test_a_file_is_read_and_written(file):
    found = parse_defence(f"rof+{file}:smooth:size=5+nlm")
    assert found.preprocessors == (
        Preprocessor("rof"),
        Preprocessor(f"{file}:smooth", params(size=5)),
        Preprocessor("nlm"),
    )
    assert found.preprocessors[1].text == "D_smooth"
    assert parse_defence(write_defence(found)) == found


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("a+b", ["a", "b"]),
        ("a:x=1e+3+b", ["a:x=1e+3", "b"]),
        ("a:x=1.e+3", ["a:x=1.e+3"]),
        ("a+my+dir/f.py:g", ["a", "my+dir/f.py:g"]),
        ("my+dir/f.py:g:x=1+a", ["my+dir/f.py:g:x=1", "a"]),
        ("/c++/f.py:g+/c++/h.py:i", ["/c++/f.py:g", "/c++/h.py:i"]),
        ("typo+b", ["typo", "b"]),
        ("", [""]),
        ("a+", ["a", ""]),
    ],
)
def test_plus_signs_stand_between_stages(text, stages):
    assert split_chain(text, lambda name: name in "ab") == stages


@pytest.mark.parametrize("text", ["+" * 65, "+.py:a" * 3000, "a" * 4001])
def test_a_chain_that_takes_for_ever_to_read_is_refused(text):
    with pytest.raises(ValueError, match=r"a chain has at most 4,000 characters and 64 `\+`"):
        split_chain(text, lambda name: False)
    split_chain(f"{'+.py:a' * 64}"[:4000], lambda name: False)


@pytest.mark.parametrize("text", ["(" * 600 + ")" * 600, "9" * 5000])
def test_a_value_that_no_number_is_as_long_as_is_refused(text):
    with pytest.raises(ValueError, match="a value has at most 4,000 characters, in 8 parentheses at most"):
        read_value(text)
    assert read_value("((((1))))") == ((((1,),),),)
    assert read_value("9" * 4000) == int("9" * 4000)


@pytest.mark.parametrize(
    ("text", "threat"),
    [
        ("deepfool-uap", Threat(Attack("deepfool-uap"))),
        ("sgd-uap:eps=4", Threat(Attack("sgd-uap"), eps=4 / 255)),
        (
            "deepfool-uap:attacker_params.max_iter=50,delta=0.1",
            Threat(Attack("deepfool-uap", params(attacker_params={"max_iter": 50}, delta=0.1))),
        ),
        ("random-signs:eps=1/20", Threat(Attack("random-signs", kind="control"), eps=0.05)),
        (
            "pgd:max_iter=20,eps=8,knowledge=bpda,num_random_init=5,norm=2,eps_step=2",
            Threat(
                Attack("pgd", params(max_iter=20, num_random_init=5, eps_step=2 / 255), kind="per-image"),
                Knowledge.BPDA,
                8 / 255,
                "2",
            ),
        ),
        ("square", Threat(Attack("square", kind="per-image"), Knowledge.BLACK_BOX)),
        ("hopskipjump:knowledge=oblivious", Threat(Attack("hopskipjump", kind="per-image"))),
        ("art:ProjectedGradientDescent", Threat(Attack("pgd", kind="per-image"))),
        ("art:NewtonFool:eta=0.1", Threat(Attack("art:NewtonFool", params(eta=0.1), kind="per-image"))),
        ("art:SignOPTAttack", Threat(Attack("art:SignOPTAttack", kind="per-image"), Knowledge.BLACK_BOX)),
        ("apgd:loss_type=cross_entropy", Threat(Attack("apgd", kind="per-image"))),  # the default here
        ("pgd:norm=np.inf", Threat(Attack("pgd", kind="per-image"))),
        (
            "fgsm:knowledge=exact,draws=known",
            Threat(Attack("fgsm", kind="per-image"), Knowledge.EXACT, knows_draws=True),
        ),
        ("fgsm:draws=unknown", Threat(Attack("fgsm", kind="per-image"))),
    ],
)
def test_an_attack_is_read_and_written(text, threat):
    found = parse_attack(text)
    assert found == threat
    assert parse_attack(write_attack(found)) == found
    assert from_json(to_json(found)) == found


@pytest.mark.parametrize("name", [*ART_ATTACKS, "deepfool-uap", "sgd-uap", "random-signs"])
def test_every_attack_has_texts_and_a_line(name):
    attack = parse_attack(name).attack
    assert (attack.name, bool(attack.text), bool(attack.latex)) == (name, True, True)
    assert attack_names()[name]


def test_names_made_in_python_are_those_that_are_written():
    assert make_preprocessor("rof", weight=5 / 255) == parse_defence("rof:weight=5").preprocessors[0]
    assert make_threat("pgd", eps=8 / 255, norm=2, knowledge="exact") == parse_attack(
        "pgd:eps=8,norm=2,knowledge=exact"
    )


def test_the_paper_s_symbols():
    assert parse_defence("rof").preprocessors[0].text == "D_ROF"
    assert parse_defence("nlm").preprocessors[0].latex == r"D_{\mathrm{nlm}}"
    assert parse_defence("art:JpegCompression").preprocessors[0].text == "D_JpegCompression"
    assert parse_attack("deepfool-uap").attack.text == "δ"
    assert parse_attack("sgd-uap").attack.latex == r"\delta_{\mathrm{SGD}}"
    assert parse_attack("fgsm").attack.text == "δ_FGS"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rofl", "'rofl': there is no defence 'rofl', but rof, nlm, "),
        ("nml+rof", "there is no defence 'nml', but nlm, rof, "),
        ("JpegCompresion", "there is no defence 'JpegCompresion', but art:JpegCompression, "),
        ("art:", "there is no defence 'art:', but "),
        ("", "there is no defence '', but rof, nlm"),
        ("rof+", "there is no defence '', but rof, nlm"),
        ("rof:wieght=3", "'rof:wieght=3': rof has no parameter 'wieght', but weight, "),
        ("rof:weight=0.02", "0.02 of 255, which would do nothing: .* weight=0.02/1, which is weight=5.1/255"),
        ("rof:weight=much", "`weight` must be a number of 255, as 5, or a fraction, as 5/255, not 'much'"),
        ("rof:weight", "parameters are written name=value, with commas between them, not 'weight'"),
        ("rof:weight=3,weight=4", "`weight` is there twice"),
        ("rof+noise", "`noise` stands before everything else, and once"),
        ("noise+noise+rof", "`noise` stands before everything else, and once"),
        ("noise:kind=randm", "there is no kind 'randm', but random, fitted, knowing"),
        ("noise:size=3", "noise has no parameter 'size', but kind"),
        ("rof+none", "`none` is no defence, and stands alone"),
        ("missing.py:make", "there is no file missing.py in "),
        ("mine.py", "a file needs the name of its function that makes the defence: mine.py:FUNCTION"),
    ],
)
def test_a_defence_that_is_wrong_is_told_in_a_sentence(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_defence(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdg", "'pdg': there is no attack 'pdg', but pgd, "),
        ("art:", "there is no attack 'art:', but "),
        ("pgd:knowledge=bdpa", "there is no knowledge 'bdpa', but bpda, "),
        (
            "square:knowledge=bpda",
            "must be black-box or oblivious or transfer, not bpda, as square only asks for answers",
        ),
        ("random-signs:knowledge=exact", "must be oblivious, not exact, as random-signs needs no network"),
        ("pgd:knowledge=black-box", "not black-box, as pgd needs a gradient"),
        ("sgd-uap:knowledge=black-box", "not black-box, as sgd-uap needs a gradient"),
        ("pgd:draws=seen", "there is no draws 'seen', but unknown, known"),
        ("pgd:draws=known", "must be bpda or partly-exact or exact, not oblivious"),
        ("square:draws=known", "must be bpda or partly-exact or exact, not black-box"),
        ("pgd:norm=1", "`norm` of pgd must be inf or 2, not 1"),
        ("ifgsm:norm=2,eps=100", "`norm` of ifgsm must be inf, not 2"),
        ("random-signs:norm=2,eps=100", "`norm` of random-signs must be inf, not 2"),
        ("pgd:norm=2", "`eps` must be given for norm 2"),
        ("pgd:eps=0", "`eps` must be > 0"),
        ("pgd:eps=-3", "`eps` must be > 0"),
        ("pgd:eps=300", "`eps` must be > 0 and at most the value range, 255/255, got 300/255"),
        ("pgd:eps=0.03", "0.03 of 255, which would do nothing"),
        ("pgd:eps_step=0.01", "`eps_step` is 0.01 of 255, which would do nothing"),
        ("pgd:eps=1/0", "`eps` must be a number"),
        ("simba:epsilon=0.1", "`epsilon` of simba is its bound, and is written `eps`"),
        ("sgd-uap:max_itr=3", "sgd-uap has no parameter 'max_itr', but max_iter, "),
        ("random-signs:seed=3", "random-signs has no parameter 'seed', but none at all"),
    ],
)
def test_an_attack_that_is_wrong_is_told_in_a_sentence(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_attack(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("art:JpegCompresion", "ART has no preprocessor 'art:JpegCompresion', but art:JpegCompression, "),
        ("art:JpegCompression:qality=75", "art:JpegCompression has no parameter 'qality', but quality, "),
        ("art:JpegCompression:quality=500", "'art:JpegCompression:quality=500': Image quality"),
        ("art:JpegCompression:quality=high", "`quality` must be a number, got 'high'"),
        ("art:CutMix", "art:CutMix needs `num_classes`"),
        ("rof:solver=exact", "'rof:solver=exact': `solver` must be 'chambolle' or 'converged', got 'exact'"),
        ("nlm:h=abc", "'nlm:h=abc': `h` must be a number, got 'abc'"),
        ("{file}:smoth", "my.py has no function 'smoth', but smooth"),
        ("{file}:smooth:sise=3", "smooth has no parameter 'sise', but size"),
        ("{file}:smooth", "must return an ART preprocessor, or a list of them, and returns int"),
    ],
)
def test_a_defence_that_cannot_be_built_is_told_by_the_check(file, text, message):
    defence = parse_defence(text.format(file=file))
    with pytest.raises(ValueError, match=message):
        check_components([NOTHING, defence], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:steps=3", "pgd has no parameter 'steps', but eps, eps_step, norm, knowledge"),
        ("pgd:max_itr=3", "pgd has no parameter 'max_itr', but max_iter, "),
        ("pgd:max_iter=many", "`max_iter` must be a number, got 'many'"),
        ("pgd:targeted=true", "pgd has no parameter 'targeted'"),
        ("pgd:max_iter=-3", "'pgd:max_iter=-3': .*`max_iter` has to be"),
        ("art:NewtonFul", "ART has no evasion attack 'art:NewtonFul', but art:NewtonFool, "),
        ("art:UniversalPerturbation", "makes one perturbation for all images: use deepfool-uap"),
        ("art:FrameSaliencyAttack", "art:FrameSaliencyAttack needs `attacker`"),
        ("art:HighConfidenceLowUncertainty", "cannot run on this estimator: HighConfidenceLowUncertainty requires"),
        ("sgd-uap:max_iter=0", "'sgd-uap:max_iter=0': `max_iter` must be >= 1, got 0"),
        ("deepfool-uap:attacker_params.max_itr=3", "`attacker_params` must be of max_iter"),
    ],
)
def test_an_attack_that_cannot_be_built_is_told_by_the_check(text, message):
    with pytest.raises(ValueError, match=message):
        check_components([], [None, parse_attack(text)])


def test_what_can_be_built_passes_the_check(file):
    file.write_text("from art_denoise import ROFDefence\n\ndef rof():\n    return [ROFDefence()]\n")
    given = ["none", "noise+rof:weight=5", "art:JpegCompression:quality=75+nlm", f"{file}:rof"]
    attacks = ["random-signs", "sgd-uap", "deepfool-uap", *(name for name in ART_ATTACKS if name != "autoattack")]
    check_components([parse_defence(text) for text in given], [parse_attack(text) for text in attacks])


@pytest.mark.parametrize(("kind", "table"), [(Preprocessor, components._PREPROCESSORS), (Attack, components._ATTACKS)])
def test_parameters_and_defaults_are_those_of_the_classes(kind, table):
    """A parameter that has its default is left out of a value, so that the default has to be the class's own."""
    fixed = {
        Preprocessor: (
            *("clip_values", "channels_first", "gradient", "chunk_size"),
            *("verbose", "apply_fit", "apply_predict", "device_type"),
        ),
        Attack: ("classifier", "attacker", "eps", "norm", "verbose", "seed", "checkpoint", "shape"),
    }
    for name, own in table.items():
        parameters = inspect.signature(load(kind(name))).parameters
        assert own.defaults == {n: p.default for n, p in parameters.items() if n not in fixed[kind]}, name


def test_modules_and_code_are_exact(file):
    """They move with what is run, and with nothing else."""
    art = f"adversarial-robustness-toolbox {version('adversarial-robustness-toolbox')}"
    for component, modules, code in [
        (Preprocessor("rof"), ("art_denoise.defences.rof",), ""),
        (Preprocessor("nlm"), ("art_denoise.defences.nl_means",), ""),
        (Attack("sgd-uap"), ("art_denoise.attacks.sgd_uap",), ""),
        (Attack("deepfool-uap"), ("art_denoise.attacks.deepfool_uap",), ""),
        (Attack("random-signs"), ("art_denoise.attacks.universal_noise",), ""),
        (Attack("pgd"), ("art_denoise.evaluation.art_attacks",), art),
        (Attack("art:NewtonFool"), ("art_denoise.evaluation.art_attacks",), art),
        (Preprocessor("art:JpegCompression"), ("art_denoise.evaluation.foreign",), art),
        (Preprocessor(f"{file}:smooth"), ("art_denoise.evaluation.foreign",), None),
    ]:
        assert modules_of(component) == modules
        assert code is None or code_of(component) == code
    other = file.with_name("other.py")
    other.write_text(file.read_text() + "\nX = 1\n")
    assert code_of(Preprocessor(f"{file}:smooth")) != code_of(Preprocessor(f"{other}:smooth"))
    assert code_of(Preprocessor(f"{file}:smooth")).endswith(art)
    uses = file.with_name("uses.py")
    uses.write_text("from art_denoise import ROFDefence\n")
    assert "art_denoise.defences.rof" in modules_of(Preprocessor(f"{uses}:f"))
    through = file.with_name("through.py")
    through.write_text("import uses\n")
    assert "art_denoise.defences.rof" in modules_of(Preprocessor(f"{through}:f"))
    with pytest.raises(ValueError, match="there is no file"):
        code_of(Preprocessor("missing.py:f"))
    with pytest.raises(ValueError, match="there is no preprocessor 'rofl'"):
        modules_of(Preprocessor("rofl"))


def test_adding_an_attack_is_one_line_of_the_table(monkeypatch):
    monkeypatch.setitem(ART_ATTACKS, "newtonfool", ArtAttack("NewtonFool", "gradient", "NewtonFool", "Newton's steps"))
    threat = parse_attack("newtonfool:max_iter=3,knowledge=exact")
    assert threat.attack.text == "δ_NewtonFool"
    assert "newtonfool" in attack_names()
    check_components([], [threat])
    with pytest.raises(ValueError, match="newtonfool has no parameter 'max_itr', but max_iter"):
        check_components([], [parse_attack("newtonfool:max_itr=3")])


def test_help_names_everything():
    assert {"none", "noise", "rof", "nlm"} < set(defence_names())
    assert all(line and "\n" not in line for line in (*defence_names().values(), *attack_names().values()))


def test_a_defence_is_called_as_is_said(tmp_path):
    (tmp_path / "mine.py").write_text("def f(): ...")
    titled = parse_defence(f"{tmp_path / 'mine.py'}:f:strength=3,title=My median+rof:title=Theirs")
    assert titled.text == "D_My median, then D_Theirs"
    # It is the same defence, by any name.
    assert titled == parse_defence(f"{tmp_path / 'mine.py'}:f:strength=3+rof")
    assert titled.preprocessors[1].latex == r"D_{\mathrm{Theirs}}"
