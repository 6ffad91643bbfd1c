"""How the paper was read, and what was found on the way: the lines below a table."""

from __future__ import annotations

from art_denoise.evaluation.statistics import paired_difference
from art_denoise.evaluation.table1 import Result


def reading(result: Result) -> list[str]:
    """Return how the paper is read where it leaves a choice, one line each. Printed with every report."""
    options, noun = result.options, result.images.noun
    rows = {row.key for row in result.rows}
    crafted = [column for column in result.columns if column.model is not None]
    given = [column for column in result.columns if column.given is not None]
    lines = []
    if result.framing is not None:
        framing = result.framing
        lines.append(
            f"v0: shorter side resized to {framing.resize} ({framing.interpolation}), centre crop {framing.crop}; "
            f"classes {result.config['data']['classes']}."
        )
    lines += ["Order: v0, + δ and clip to [0, 1], + v_def and clip, denoise and clip, standardise, classify."]
    if crafted:
        batches = f", {options.craft_batch_size} {noun}s an update" if options.craft_batch_size > 1 else ""
        lines.append(
            f"δ: L∞ ≤ {255 * options.eps:g}/255, the universal perturbation of Moosavi-Dezfooli et al. (2017), "
            f"DeepFoolUAP, crafted on {len(result.images.splits['craft'])} {noun}s in at most {options.craft_passes} "
            f"passes{batches} on the column's network. The attacker does not know of the defence."
        )
    for column in given:
        assert column.given is not None
        assumed = column.given.provenance.get("assumed", [])
        said = f"; assumed of the file: {', '.join(assumed)}" if assumed else ""
        lines.append(f"δ of {column.text}: from a file, L∞ {255 * column.given.linf:.1f}/255{said}.")
    white_box = [column.text for column in crafted if column.white_box]
    transferred = [column.text for column in result.columns if not column.white_box]
    kinds = [f"{' and '.join(white_box)} is the target itself (white-box)"] if white_box else []
    kinds += [f"{', '.join(transferred)}: made without the target (black-box transfer)"] if transferred else []
    lines.append("; ".join(kinds) + ".")
    if "sgd" in rows:
        lines.append(
            f"δ_SGD: of the same size and from the same {noun}s, the universal perturbation of Shafahi et al. (2020), "
            f"SGDUAP, in {options.sgd_passes} passes. “Knowing D”: crafted through the denoiser, by an attacker who "
            "knows of it."
        )
    lines.append(
        f"D_ROF: scikit-image's Chambolle iteration and stop rule, weight {255 * options.rof_weight:g}/255, each "
        f"channel by itself. D_nlm: scikit-image's fast filter, h = {options.nlm_h:g}, patch size 2, patch distance 3, "
        "channels together."
    )
    if "uap-vdef-rof" in rows:
        drawn = {
            "flip": "draws that turn a wrong prediction into a right one",
            "loss": "draws that lower the cross-entropy",
        }[options.noise_accept]
        through = {"defences": "through the denoiser it precedes", "classifier": "through the classifier alone"}
        lines.append(
            f"v_def: Eq. 1 with {drawn}, {through[options.noise_through]}, {options.noise_draws} draws an image, on "
            "clean images of a split of their own; σ and ε chosen by the loss on a tuning split. “Knowing δ”: fitted "
            "on images that the column's attack has perturbed."
        )
        lines.append("Random direction: Gaussian noise of the same root mean square as v_def.")
    elif not result.noises:
        lines.append("v_def: left out, as there are no images to fit it on.")
    if "signs" in rows:
        lines.append(f"Random signs: ±{255 * options.eps:g}/255, each pixel and channel by itself.")
    lines.append(
        "Accuracy: top-1 of the target, with a 95 % Wilson interval. Comparisons: the same images, exact McNemar test."
    )
    return lines


def facts(result: Result) -> list[str]:
    """Return what was found out on the way, one line each: checks, fooling rates, and how v_def came about."""
    noun, lines = result.images.noun, []
    for title, check in result.checks.items():
        if check["accuracy"] is None:
            lines.append(f"{title}: random weights; the figures mean nothing.")
            continue
        published = "" if check["published"] is None else f", published: {check['published']:g} %"
        lines.append(f"{title} classifies {check['accuracy']:g} % of {check['n']} clean {noun}s right{published}.")
        if check["differing"]:
            lines.append(f"{title} gave {check['differing']} images another label the second time: it draws at random.")
    lines += [f"{remark}." for remark in result.images.remarks]
    texts = {column.key: column.text for column in result.columns}
    for kind, deltas in result.perturbations.items():
        for key, delta in deltas.items():
            if "history" not in delta.provenance:
                continue
            denoiser = kind.partition("-")[2]
            rate = round(100 * delta.fooling_rates["crafting images"], 2)
            lines.append(
                f"{delta.attack} on {texts[key]}{f' through D_{denoiser}' if denoiser else ''}: fooled "
                f"{rate:g} % of the {delta.provenance['images']} {noun}s it was crafted on, "
                f"L∞ {255 * delta.linf:.1f}/255, {delta.provenance['passes']:g} passes"
            )
    for column in result.columns:
        cost = paired_difference(result.predicted["clean"], result.predicted[f"uap-{column.key}"], result.labels)
        if cost.value <= 0 or cost.p_value >= 0.05:
            lines.append(
                f"δ of {column.text} costs no accuracy that chance might not cost: what a denoiser wins back from it "
                "tells nothing"
            )
    for name, noise in result.noises.items():
        found = noise.provenance
        if not found["accepted"]:
            lines.append(f"v_def {name}: left out, {found['why']}.")
            continue
        lines.append(
            f"v_def {name}: {found['accepted']} of {found['drawn']} draws accepted, σ {255 * found['sigma']:g}/255, "
            f"RMS {255 * found['eps']:g}/255, L∞ {255 * found['linf']:.1f}/255"
        )
    return lines
