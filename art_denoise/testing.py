"""Whether a preprocessor keeps what a defence of ART has to keep: for everybody who writes one, in one call.

::

    from art_denoise.testing import check_defence


    def test_my_defence():
        check_defence(MyDefence)

It needs no test framework, and nothing of this package's defences.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from art.defences.preprocessor import Preprocessor

from art_denoise._checks import check_flag, check_number
from art_denoise._contract import estimators, gradients, images, parameters
from art_denoise._contract.trial import Breach, Rule, Trial

__all__ = ["RULES", "check_defence"]

_RULES: dict[str, Rule] = {
    value.name: value
    for module in (images, parameters, gradients, estimators)
    for value in vars(module).values()
    if isinstance(value, Rule)
}

#: The rules, in the order in which they are checked; each is its own name in `skip` and `only`.
RULES: tuple[str, ...] = tuple(_RULES)


def check_defence(
    make: Callable[..., Preprocessor],
    *,
    images: np.ndarray | None = None,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
    random: bool = False,
    tolerance: float = 1e-5,
    fail_first: bool = False,
) -> tuple[str, ...]:
    """Check that a preprocessor of images keeps the rules of a defence, and name every rule that it breaks.

    What is checked: images keep their shape, come back as float32 within `clip_values`, and the input, `x.grad` and
    the labels are left as they are; an image has the same result alone, in any batch, chunk, layout and value range,
    from an array and from a tensor, and twice in a row; what is no image is refused; `params` are complete, bad values
    are refused by name, `set_params` changes all or nothing; the gradient is the slope; and ART's estimators apply it
    when it says so, attack and train through it, and can be copied. :data:`RULES` lists the rules.

    A rule about something that the preprocessor does not have does not apply: chunks, if `make` takes no `chunk_size`;
    layouts, without `channels_first`; ranges, without `clip_values`; tensors, unless it is a `PreprocessorPyTorch`; the
    slope, if it does not claim a gradient of its own. It does if it is for PyTorch and its result requires a gradient,
    or overrides ART's `estimate_gradient`, unless its attribute `gradient` is "identity".

    :param make: Returns a fresh preprocessor at each call: its class, or a function. Keyword arguments override
        parameters: `make(clip_values=(0, 255))`. Parameters that it does not take, or has fixed, are not tried. Without
        any it has to be one for images (N, C, H, W) in [0, 1], or as its `channels_first` and `clip_values` say.
    :param images: Images to try it on, floats of four axes, N ≥ 2, all different, in the layout and range of `make()`,
        if it cannot be tried on (2, 3, 37, 31), or (2, 37, 31, 3).
    :param skip: Names of rules that are not checked, for a reason that a comment should say.
    :param only: Names of the rules that are checked; None: all. For a test that is parametrised by :data:`RULES`.
    :param random: Whether it draws at random, on purpose: equal calls need not have equal results, then, and slopes are
        not compared.
    :param tolerance: Largest difference of results that ought to be equal, as a share of the value range, ≥ 0; 0: to
        the bit. Default 1e-5: sums of float32 in another order.
    :param fail_first: Stop at the first rule that is broken, which is faster.
    :return: The rules that were checked, all of which are kept. The others do not apply or were skipped.
    :raises AssertionError: If a rule is broken. The message names each rule that is, what was seen, and the remedy.
    :raises TypeError: If an argument is of the wrong type.
    :raises ValueError: If `skip` or `only` names no rule, or `images` are no such images.

    Cost: some three hundred calls with a few images; a second for a fast filter. Global generators of random numbers
    are drawn from, as ART does when it trains.

    Limitation: it says nothing of how well a defence defends. That takes an evaluation.

    Example::

        >>> from art_denoise import ROFDefence
        >>> from art_denoise.testing import check_defence
        >>> kept = check_defence(ROFDefence)
        >>> "the gradient is the slope" in kept, "the value range does not matter" in kept
        (True, True)
    """
    if isinstance(make, Preprocessor):
        kind = type(make).__name__
        raise TypeError(
            f"`make` must be what makes the preprocessor anew at each call, got one that is made already: use {kind}, "
            f"or lambda **options: {kind}(…, **options) for parameters of your own"
        )
    names = [name for name in (RULES if only is None else _known("only", only)) if name not in _known("skip", skip)]
    check_flag("fail_first", fail_first)
    trial = Trial(
        make,
        None if images is None else _checked(images),
        check_number("tolerance", tolerance, low=0),
        random=check_flag("random", random),
    )
    checked: list[str] = []
    broken: dict[str, list[Breach]] = {}
    for name in names:
        breaches = _RULES[name].breaches(trial)
        if breaches is None:
            continue
        checked.append(name)
        if breaches:
            broken[name] = breaches
            # What is no preprocessor at all would break every other rule too.
            if fail_first or name == RULES[0]:
                break
    if broken:
        raised = [breach.error for breaches in broken.values() for breach in breaches if breach.error is not None]
        raise AssertionError(_report(make, broken, len(checked))) from (raised[0] if raised else None)
    return tuple(checked)


def _report(make: Callable[..., Preprocessor], broken: dict[str, list[Breach]], checked: int) -> str:
    lines = [f"{_name_of(make)} breaks {len(broken)} of the {checked} rules of a defence that were checked:"]
    for name, breaches in broken.items():
        for remedy in dict.fromkeys(breach.remedy for breach in breaches):
            seen = "; ".join(breach.seen for breach in breaches if breach.remedy == remedy)
            lines.append(f"- {name!r}: {seen}. {remedy}.")
    return "\n".join(lines)


def _name_of(make: Callable[..., Preprocessor]) -> str:
    try:
        return type(make()).__name__
    except Exception:  # what is wrong with it is in the report
        return getattr(make, "__name__", repr(make))


def _known(argument: str, names: Collection[str]) -> Collection[str]:
    """Return names of rules, or raise."""
    if isinstance(names, str):
        raise TypeError(f"`{argument}` must be a collection of names of rules, got {names!r}: use [{names!r}]")
    for name in names:
        if name not in _RULES:
            raise ValueError(f"`{argument}` must be names of rules, got {name!r}; they are: {'; '.join(RULES)}")
    return names


def _checked(images: np.ndarray) -> np.ndarray:
    """Return images to try a preprocessor on, or raise."""
    if not isinstance(images, np.ndarray) or not np.issubdtype(images.dtype, np.floating):
        kind = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(f"`images` must be an array of floats in the range of `make()`, got {kind}")
    if images.ndim != 4 or len(images) < 2 or 0 in images.shape:
        raise ValueError(f"`images` must have four axes and N >= 2, got {images.shape}")
    return images
