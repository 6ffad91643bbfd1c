"""Which tasks a table needs, and that their keys move with what can change a result, and with nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
from folders import NETWORK, write_colours

from art_denoise.evaluation.added import PART
from art_denoise.evaluation.assembly import Assembly
from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import Cell, Condition, Experiment, Knowledge, Source
from art_denoise.evaluation.experiment import Network as NetworkValue
from art_denoise.evaluation.from_options import chosen_attacks, chosen_defences
from art_denoise.evaluation.graph import Environment, Network, Resource, Task, closure
from art_denoise.evaluation.images import Images
from art_denoise.evaluation.options import Fitting, Machine, Options
from art_denoise.evaluation.prepared import Prepared
from art_denoise.evaluation.studies import lee2018
from art_denoise.evaluation.tasks.attack import AttackImages
from art_denoise.evaluation.tasks.network import Train
from art_denoise.models.schedule import Schedule

NAMES = ("inception_v1", "vgg16", "vgg19")
HERE = Environment("cpu AVX2", "2.0", 1)
COUNTS = {"train": 608, "craft": 80, "tune": 152, "noise-fit": 228, "test": 532}


@dataclass
class World:
    """All that keys may depend on."""

    options: Options = field(default_factory=Options)
    environment: Environment = HERE
    fingerprints: dict[str, str] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    half: bool = False
    study: Callable[..., Experiment] = lee2018.table1
    more: dict = field(default_factory=dict)
    #: Whether the networks are trained, or their weights given.
    trained: bool = True

    def assembly(self) -> Assembly:
        options = self.options.filled()
        images = {p: Images(p, self.fingerprints.get(p, p), n, (3, 64, 64)) for p, n in COUNTS.items()}
        networks = {}
        for name in NAMES:
            weights = None
            if self.trained:
                weights = Train(name, images["train"], options.schedules[name], options.seed, self.environment)
            identity = self.identities.get(name, name)
            networks[name] = Network(name, identity, "art_denoise.models.find", self.environment, weights)
        sources = [Source(name) for name in NAMES]
        sources += [Source(name, stands_for=chosen_attacks(options)[0].attack) for name in self.given]
        asked = {
            "attacks": chosen_attacks(options),
            "defences": chosen_defences(options),
            "knowing": options.noise_knowing,
            "seeds": range(options.seed, options.seed + options.seeds),
            **self.more,
        }
        networks_asked = [NetworkValue(name) for name in NAMES]
        experiment = self.study(networks_asked[0], sources, networks_asked, **asked)
        return Assembly(experiment, networks, images, self.given, Fitting.of(options), self.half)

    def keys(self) -> dict[str, str]:
        """Return the keys of the labels by what a cell is called."""
        return {cell.text: score.key for cell, score in self.assembly().scores().items()}


def kinds(tasks) -> Counter:
    return Counter(type(t).__name__ for t in closure(tasks).values() if not isinstance(t, Resource))


def test_what_table_1_needs():
    assembly = World().assembly()
    scores = assembly.scores()
    assert kinds(scores.values()) == {
        "Train": 3,
        # On each network: by DeepFool, by SGD, and by SGD through either denoiser.
        "Craft": 3 * 4,
        "Signs": 1,
        # For either denoiser with each of two sigmas.
        "FitNoise": 2 * 2,
        "ChooseNoise": 2,
        "RandomDirection": 2,
        "Score": 3 * 14 + 6 + 2 * (2 * 3 + 2),
    }
    # No two cells are the same task.
    assert len({score.key for score in scores.values()}) == len(scores)
    assert {cell.target: score.network.name for cell, score in scores.items()} == {name: name for name in NAMES}


@pytest.mark.parametrize(
    ("options", "more", "expected"),
    [
        ({"rows": "paper"}, {"paper_only": True}, {"Craft": 3, "Signs": 0, "RandomDirection": 0, "Score": 16}),
        ({"noise_knowing": True}, {}, {"FitNoise": 4 + 2 * 3, "ChooseNoise": 2}),
        ({}, {"noise": False}, {"FitNoise": 0, "ChooseNoise": 0, "RandomDirection": 0, "Craft": 12}),
        ({"seeds": 3}, {}, {"Craft": 36, "Signs": 3, "FitNoise": 4, "Train": 3}),
        ({}, {"sweep": True}, {"Craft": 12, "Signs": 1, "Score": 64 + 2 * 6 * (1 + 3 + 1)}),
        ({"attacks": ("pgd:max_iter=2",)}, {}, {"Craft": 0, "AttackImages": 3 * 3 * -(-532 // PART)}),
        ({"attacks": ("square",)}, {}, {"Craft": 0, "AttackImages": (1 + 2 + 2 * 2) * -(-532 // PART), "Train": 1}),
    ],
)
def test_what_other_tables_need(options, more, expected):
    found = kinds(World(Options(**options), more=more).assembly().scores().values())
    assert {name: found[name] for name in expected} == expected


def test_what_is_the_same_is_made_once():
    assembly = World().assembly()

    def score(threat, defence, source, target="inception_v1"):
        return assembly.score(Cell(Condition(threat, defence), target, source))

    deepfool, sgd = (section.threat for section in assembly.experiment.transfers)
    rof, nlm = chosen_defences(Options())
    alone = score(deepfool, lee2018.NOTHING, "vgg16")
    # One perturbation, whatever it is tried against, and on whichever network.
    others = [score(deepfool, rof, "vgg16"), score(deepfool, rof.with_noise("fitted"), "vgg16")]
    others.append(score(deepfool, lee2018.NOTHING, "vgg16", "vgg19"))
    assert {other.added.key for other in others} == {alone.added.key}
    # One v_def, whatever attacks; and the random direction is of its size.
    noises = [
        score(deepfool, rof.with_noise("fitted"), "vgg16"),
        score(sgd, rof.with_noise("fitted"), "vgg19"),
    ]
    assert {noisy.noise.key for noisy in noises} == {noises[0].noise.key}
    assert score(deepfool, rof.with_noise("random"), "vgg16").noise.like.key == noises[0].noise.key
    assert score(sgd, nlm.with_noise("fitted"), "vgg16").noise.key != noises[0].noise.key
    # Random directions are drawn apart.
    directions = [score(deepfool, d.with_noise("random"), "vgg16").noise for d in (rof, nlm)]
    assert [direction.number for direction in directions] == [0, 1]


def test_who_knows_the_defence_crafts_through_it():
    knows = tuple(f"pgd:knowledge={k}" for k in ("oblivious", "bpda", "exact"))
    options = Options(attacks=(*knows, "square"), defences=("noise+rof",))
    scores = World(options).assembly().scores()
    rof = parse_defence("noise+rof")
    for cell, score in scores.items():
        threat, defence = cell.condition.threat, cell.condition.defence
        if threat is None or not threat.crafted:
            continue
        (first, *_) = score.added
        through = first.through
        if defence and threat.knowledge.knows_defence:
            assert [p.name for p in through.preprocessors] == ["rof"]
            assert through.gradient == threat.knowledge.gradient
            # The v_def that is in place when the labels are predicted.
            assert through.noise.key == score.noise.key
        else:
            assert not through.preprocessors
            assert through.noise is None
    assert {cell.condition.defence.noise for cell in scores} >= {None, rof.noise}
    # Each network has a v_def of its own, which whoever knows it crafts through.
    aware, assembly = Condition(parse_attack("sgd-uap:knowledge=exact"), rof), World().assembly()
    first, second = (assembly.added(Cell(aware, target, "vgg16")) for target in ("inception_v1", "vgg19"))
    assert [first.through.noise.fitted[0].network.name, first.network.name] == ["inception_v1", "vgg16"]
    assert [second.through.noise.fitted[0].network.name, second.network.name] == ["vgg19", "vgg16"]


def test_who_knows_the_draws_has_those_that_are_scored():
    options = Options(
        attacks=("pgd:knowledge=exact", "pgd:knowledge=exact,draws=known"),
        defences=("art:GaussianAugmentation:augmentation=False",),
        seeds=2,
    )
    assembly = World(options).assembly()
    (noise,) = options.defences
    assembly = replace(assembly, draws=dict.fromkeys(parse_defence(noise).preprocessors, 5))
    behind = {
        cell: score
        for cell, score in assembly.scores().items()
        if cell.condition.defence and (threat := cell.condition.threat) and threat.crafted
    }
    for cell, score in behind.items():
        known = cell.condition.threat.knows_draws
        assert (score.draws, score.draws_seed) == ((1, cell.seed) if known else (5, None))
        assert {part.through.draws_seed for part in score.added} == {score.draws_seed}
    assert {cell.seed for cell in behind if cell.condition.threat.knows_draws} == {0, 1}


def test_controls_are_as_large_as_the_attack_whatever_its_norm():
    for text, size in (("sgd-uap:eps=5", 5 / 255), ("sgd-uap:norm=2,eps=400", 400 / 255 / np.sqrt(3 * 64 * 64))):
        scores = World(Options(attacks=(text,))).assembly().scores()
        control = next(score.added for cell, score in scores.items() if "random signs" in cell.text)
        assert control.eps == pytest.approx(size)


def test_images_are_attacked_part_by_part():
    cell = Cell(Condition(parse_attack("pgd")), "vgg16", "inception_v1", seed=4)
    parts = World(Options(attacks=("pgd",))).assembly().score(cell).added
    assert all(isinstance(part, AttackImages) for part in parts)
    assert [part.number for part in parts] == list(range(9))
    assert {part.network.name for part in parts} == {"inception_v1"}
    assert sum(part.work.forward for part in parts) == 532
    assert parts[-1].title.startswith("Attack images 513 to 532")
    assert {part.seed for part in parts} == {4}


def test_files_are_taken_in_the_place_of_the_first_attack():
    world = World(given={"theirs": "digits"})
    scores = world.assembly().scores()
    given = {cell.condition.text for cell in scores if cell.source == "theirs"}
    assert "D_ROF(v0 + δ + v_def)" in given
    assert not [text for text in given if "δ_SGD" in text]
    assert kinds(s for c, s in scores.items() if c.source == "theirs")["Given"] == 1
    other = replace(world, given={"theirs": "others"}).keys()
    before = world.keys()
    assert {text for text in before if before[text] != other[text]} == {c.text for c in scores if c.source == "theirs"}


def test_the_perturbations_and_noises_that_are_told_of():
    made = list(World(Options(noise_knowing=True)).assembly().made())
    assert Counter(value.what for value, _ in made) == {"perturbation": 12, "noise": 2 + 6}
    assert len({value.key for value, _ in made}) == len(made)
    assert all(value.key == task.key for value, task in made)
    through = [(v.source, v.defence.text) for v, _ in made if v.what == "perturbation" and v.defence]
    assert through == [(name, defence) for defence in ("D_ROF", "D_nlm") for name in NAMES]
    knowing = [(v.threat.attack.name, v.source) for v, _ in made if v.what == "noise" and v.threat]
    assert knowing == [("deepfool-uap", name) for _ in range(2) for name in NAMES]


def test_examples_are_of_the_first_attack_and_each_defence():
    examples = World(Options(seed=3)).assembly().examples()
    assert examples.titles == ("v0", "v0 + δ", "D_ROF(v0 + δ)", "D_nlm(v0 + δ)")
    scores = set(World(Options(seed=3)).keys().values())
    # They are of cells that there are labels for anyway.
    assert {s.key for s in (examples.clean, examples.attacked, *examples.defended)} <= scores
    controls = World(Options(attacks=("random-signs",))).assembly()
    assert controls.examples() is None
    assert controls.strengths() == {}


def test_strengths_are_the_papers_and_the_runs_own_for_each_column():
    strengths = World(Options(seed=3, rof_weight=7 / 255)).assembly().strengths()
    assert [cell.source for cell, _, _ in strengths] == list(NAMES)
    scores = set(World(Options(seed=3, rof_weight=7 / 255)).keys().values())
    for (cell, defences, exact), task in strengths.items():
        assert cell.condition.text == "v0 + δ"
        said = [(p.name, round({"rof": 255, "nlm": 1}[p.name] * value, 6)) for d in defences for p in d.preprocessors
                for _, value in p.params]  # fmt: skip
        assert said == [("rof", 5), ("rof", 7), ("rof", 10), ("rof", 20), ("nlm", 0.02), ("nlm", 0.05), ("nlm", 0.1)]
        assert exact == (1, 5)
        assert task.defences == tuple(d.preprocessors for d in defences)
        # Of cells that there are labels for anyway.
        assert {score.key for score in (task.clean, task.attacked, *task.behind)} <= scores
        assert [score.preprocessors for score in task.behind] == [defences[i].preprocessors for i in exact]
    several = World(Options(seeds=2, defences=("rof", "art:JpegCompression", "noise+nlm"))).assembly().strengths()
    assert len(several) == len(NAMES)
    names = [[p.name for p in d.preprocessors] for d in next(iter(several))[1]]
    assert names == [["rof"]] * 3 + [["art:JpegCompression"]]
    assert len({task.key for task in strengths.values()}) == len(NAMES)


# What keys move with.


def named(*words: str) -> Callable[[str], bool]:
    """Whether a cell is called by one of some words."""
    return lambda text: any(word in text for word in words)


def attacked(text: str) -> bool:
    return "δ" in text


def everything(text: str) -> bool:
    return True


def with_options(**changes: object) -> Callable[[World], World]:
    return lambda world: replace(world, options=replace(world.options, **changes))


def with_fingerprint(purpose: str) -> Callable[[World], World]:
    return lambda world: replace(world, fingerprints={purpose: "others"})


def of(network: str) -> Callable[[str], bool]:
    """Whether a cell is on a network, or crafted on it."""
    return lambda text: f"on {network}" in text


NOISE = named("v_def", "random direction")

MOVES = {
    "eps": (with_options(eps=8 / 255), named("δ", "signs")),
    "passes of DeepFoolUAP": (with_options(craft_passes=4), named("δ on", "δ)", "δ +")),
    "steps of DeepFool": (with_options(craft_steps=11), named("δ on", "δ)", "δ +")),
    "fooling rate of DeepFoolUAP": (with_options(craft_until=0.9), named("δ on", "δ)", "δ +")),
    "passes of SGDUAP": (with_options(sgd_passes=11), named("δ_SGD")),
    "images of a step of SGDUAP": (with_options(sgd_batch_size=8), named("δ_SGD")),
    "weight": (with_options(rof_weight=12 / 255), named("D_ROF")),
    "h": (with_options(nlm_h=0.03), named("D_nlm")),
    "sigmas": (with_options(noise_sigmas=(8 / 255,)), NOISE),
    "sizes of v_def": (with_options(noise_eps=(1 / 255, 2 / 255)), NOISE),
    "draws": (with_options(noise_draws=13), NOISE),
    "accepted draws": (with_options(noise_accept="loss"), NOISE),
    "judged through": (with_options(noise_through="classifier"), NOISE),
    "craft images": (with_fingerprint("craft"), attacked),
    "tune images": (with_fingerprint("tune"), NOISE),
    "noise-fit images": (with_fingerprint("noise-fit"), NOISE),
    "test images": (with_fingerprint("test"), everything),
    "training crops": (with_fingerprint("train"), everything),
    "a schedule": (with_options(schedules={"vgg19": Schedule(epochs=7)}), of("vgg19")),
    "the machine": (lambda w: replace(w, environment=replace(HERE, device="cpu AVX512")), everything),
    "PyTorch": (lambda w: replace(w, environment=replace(HERE, torch="2.1")), everything),
    "threads": (lambda w: replace(w, environment=replace(HERE, threads=2)), everything),
    "half precision": (lambda w: replace(w, half=True), everything),
    "BPDA": (lambda w: replace(w, more={"knows": [Knowledge.BPDA] * 2}), named("knowing D_")),
    "a network": (lambda w: replace(w, identities={"vgg16": "others"}), of("vgg16")),
    "the target": (lambda w: replace(w, identities={"inception_v1": "others"}), of("inception_v1")),
}


@pytest.mark.parametrize("name", MOVES)
def test_keys_move_with_what_can_change_a_result_and_no_others_do(name):
    change, moves = MOVES[name]
    before, after = World().keys(), change(World()).keys()
    assert before.keys() == after.keys()
    moved = {text for text in before if before[text] != after[text]}
    assert moved == {text for text in before if moves(text)}
    assert moved


def test_the_seed_moves_everything_that_is_drawn():
    before, after = World().keys(), World(Options(seed=1)).keys()
    # Splits, weights and perturbations: all are of that seed.
    assert not set(before.values()) & set(after.values())


def test_more_seeds_leave_the_first_as_it_was():
    before, after = World().keys(), World(Options(seeds=5)).keys()
    # What a defence draws is of the seed, too.
    assert all(score.seed == cell.seed for cell, score in World(Options(seeds=5)).assembly().scores().items())
    assert before.items() <= after.items()
    assert len(after) == 5 * len(before) - 4 * 3 - 4 * 2  # nothing is drawn where nobody attacks
    assert len(set(after.values())) == len(after)


def test_more_defences_and_attacks_leave_the_others_as_they_were():
    before = World().keys()
    more = World(Options(defences=("rof", "nlm", "art:JpegCompression"), attacks=("deepfool-uap", "sgd-uap", "pgd")))
    more.more = {"attacks": [*chosen_attacks(Options().filled()), parse_attack("pgd")]}
    after = more.keys()
    aware = named("knowing D_")  # of the last attack that is oblivious, which is another now
    assert {item for item in before.items() if not aware(item[0])} <= after.items()
    assert len(after) > len(before)


def test_less_is_what_it_was():
    paper = World(more={"paper_only": True}).keys()
    assert paper.items() <= World().keys().items()


def test_texts_are_no_part_of_a_key():
    before, world = World(), World()
    world.more = {
        "defences": [
            replace(d, preprocessors=tuple(replace(p, text="D", latex="D") for p in d.preprocessors))
            for d in chosen_defences(Options())
        ],
        "attacks": [
            replace(t, attack=replace(t.attack, text=f"v{i}")) for i, t in enumerate(chosen_attacks(Options().filled()))
        ],
    }
    keys = [[score.key for score in w.assembly().scores().values()] for w in (before, world)]
    assert keys[0] == keys[1]
    assert set(before.keys()) != set(world.keys())


def test_no_field_of_a_task_is_of_how_it_is_done():
    """How many at once, how much is shown, in which chunks: none of it can move a key."""
    world = World(Options(attacks=("deepfool-uap", "sgd-uap", "pgd"), noise_knowing=True), half=True)
    tasks = closure([*world.assembly().scores().values(), world.assembly().examples()]).values()
    names = {f.name for task in tasks for f in fields(task) if f.compare}
    assert {"network", "images", "preprocessors", "attack"} <= names
    assert not names & {"verbose", "chunk_size", "batch_size", "jobs", "workers", "progress", "device_type", "title"}
    assert all(isinstance(task, Task) for task in tasks)


# Keys as a run has them.


def prepared(folder, options: Options, **machine: object) -> Prepared:
    return Prepared.of(folder / "run", options, Machine(device="cpu", **{"progress": False, **machine}))


#: The same weights, and nothing that is kept with them tells the two apart.
DARK = """

class Dark(Net):
    def forward(self, x):
        return super().forward(x / 2)

def dark():
    return Dark(3)
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "mine.py").write_text(NETWORK + DARK)
    return write_colours(tmp_path / "images", 4).parent


def options_of(own, **changes: object) -> Options:
    sizes = {"input_size": 16, "craft_images": 2, "tune_images": 2, "noise_images": 2}
    return Options(**{"data": str(own / "images"), "model": f"{own / 'mine.py'}:net", **sizes, **changes})


def keys_of(prepared: Prepared) -> list[str]:
    return [score.key for score in prepared.assembly(prepared.setting.source.outline()).scores().values()]


def test_how_it_is_computed_is_no_part_of_a_key(own):
    options = options_of(own)
    here = keys_of(prepared(own, options))
    machine = {"jobs": 2, "batch_size": 3, "workers": 1, "progress": True, "decoded_dir": own / "elsewhere"}
    assert keys_of(prepared(own, options, **machine)) == here
    assert keys_of(prepared(own / "other", options)) == here
    assert keys_of(prepared(own, options, mixed_precision=True)) != here


@pytest.mark.parametrize("pair", [("mine.py:net", "mine.py:dark"), ("vgg16:none", "vgg19:none")])
def test_networks_that_differ_in_their_code_alone_are_not_the_same(own, pair):
    first, second = (f"{own / name}" if ".py" in name else name for name in pair)
    ready = prepared(own, options_of(own, model=first, sources=(first, second), num_classes=4, input_size=32))
    networks = ready.networks(ready.images(ready.setting.source.outline()))
    assert len(networks) == 2
    assert len({network.key for network in networks.values()}) == 2


def test_a_file_of_a_network_that_changes_moves_its_keys(own):
    before = keys_of(prepared(own, options_of(own)))
    (own / "mine.py").write_text(NETWORK.replace("-20", "-21"))
    assert not set(keys_of(prepared(own, options_of(own)))) & set(before)
