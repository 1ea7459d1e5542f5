"""The model card of a bundle, written from what the bundle says of itself, so that the two never disagree."""

from collections.abc import Mapping, Sequence
from typing import Any

from offline.report.markdown import Table
from offline.train.augment import CALM
from offline.train.command import training_command
from offline.train.config import HEADS, IMAGENET, SCRATCH
from offline.train.decisions import described as described_decisions
from offline.train.finish import worst
from offline.train.teacher import NAME as TEACHER
from services.bundle.reader import Bundle


def model_card(bundle: Bundle) -> str:
    """Returns the card as Markdown.

    Args:
        bundle: a bundle that was written with its figures.

    Raises:
        KeyError: the bundle has no figures.
    """
    described = bundle.description
    figures = described["metrics"]["test"]
    training = described["training"]
    settings = training["settings"]
    url = training["url"]
    sections = [
        f"# {bundle.name}",
        f"A ResNet50 that knows fashion: a picture of {bundle.frame.width} x {bundle.frame.height} pixels in, an "
        f"embedding of {bundle.dimension} floats with norm 1 out; pictures of like products lie close together.",
        _table(
            ("", ""),
            [
                ("model version", f"`{bundle.model_version}`"),
                ("architecture", "`keras.applications.ResNet50` without its top, global max pooling, L2-normalised"),
                ("parameters", f"{described['parameters']:,}"),
                ("heads", ", ".join(f"{head} ({len(bundle.labels[head])} labels)" for head in HEADS)),
                (
                    "weights",
                    f"{sum(entry['bytes'] for entry in described['files'].values()) / 1e6:.1f} MB, half precision",
                ),
                ("input", f"RGB, {described['preprocessing']['fit']}; pixel / 127.5 - 2"),
            ],
        ),
        "## Data",
        (f"[{training['data']}]({url})" if url else training["data"])
        + f", licence {training['licence']}. "
        + (f"Mixed in: {training['extra']}. " if training["extra"] else "")
        + "Products with the same name and colour, or the same photograph, form a group; a hash of the group puts all "
        f"of it into the training, validation or test part ({_shares(settings['fractions'])}, salt "
        f"`{settings['salt']}`). Nothing was learned from the validation and test parts.",
        "## Recipe",
        _recipe(training, settings),
        *_decisions(bundle),
        "## Figures",
        f"On the {figures['products']:,} products of the test part, searched in the {figures['catalogue']:,} of the "
        "training part, in float32 with exact neighbours: what is served rounds to fewer bits, so that the last digits "
        "of `fashion evaluate` can differ. *Performance* is the share of queries whose first ten results hold at most "
        "tolerance x 10 wrong ones.",
        _performance(figures),
        "Recognised by the heads, by part:",
        _recognised({**described["metrics"].get("parts", {}), "test": figures}),
        "Derived type, by gender:",
        _groups("gender", figures["by_gender"]),
        "Article type, the ten worst with at least 20 products:",
        _table(
            ("articleType", "accuracy", "products"),
            [(name, _percent(share), str(count)) for name, share, count in worst(figures["by_article_type"])],
        ),
        *_elsewhere(figures),
        *_photographs(described["metrics"]),
        *_calibration(described["metrics"]),
        *_half_precision(described["metrics"]),
        "## What it is bad at",
        _weak_points(figures),
        "## Training it again",
        "One command, from the root of the repository; a run that was stopped goes on when it is given again:",
        f"```sh\n{training_command(bundle)}\n```",
        *_initial_note(settings["initial"]),
    ]
    return "\n\n".join(sections) + "\n"


def _recognised(parts: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (part, f"{figures['products']:,}", *(_percent(figures["accuracy"][head]) for head in HEADS))
        for part, figures in parts.items()
    ]
    return _table(("part", "products", *HEADS), rows)


def _elsewhere(figures: Mapping[str, Any]) -> list[str]:
    if "unseen_catalogue" not in figures:
        return []
    own, elsewhere = figures["all_types"]["both"], figures["unseen_catalogue"]["both"]
    return [
        "In a catalogue that it has learned nothing from, the products of the test part among themselves, each left "
        f"out of its own answer, all ten results are right in gender and article type for "
        f"{_percent(elsewhere['tolerance_0'])} of queries instead of {_percent(own['tolerance_0'])}, with precision@10 "
        f"{_percent(elsewhere['precision_at_10'])} instead of {_percent(own['precision_at_10'])}."
    ]


def _photographs(metrics: Mapping[str, Any]) -> list[str]:
    if "photographs" not in metrics:
        return []
    measured = metrics["photographs"]
    accuracy = measured["accuracy"]
    return [
        f"On {measured['photographs']:,} photographs of {measured['senders']} people that nothing was learned from, "
        f"the heads find a right subCategory for {_percent(accuracy['subCategory'])} and a right article type for "
        f"{_percent(accuracy['articleType'])} (`offline/evaluate/coarse_types.toml` says what counts as right)."
    ]


def _calibration(metrics: Mapping[str, Any]) -> list[str]:
    if "calibration" not in metrics:
        return []
    parts = [f"{head} {100 * error:.1f}" for head, error in metrics["calibration"].items()]
    return [
        "Probabilities: each head has the scale that is likeliest on what nothing was learned from. Expected "
        f"calibration error on the test part, in points: {', '.join(parts)}."
    ]


def _half_precision(metrics: Mapping[str, Any]) -> list[str]:
    if "half_precision" not in metrics:
        return []
    measured = metrics["half_precision"]
    return [
        "Half precision costs nothing: embeddings by these weights and by those of the run, in float32, have a cosine "
        f"of at least {measured['least_cosine']:.6f} on {measured['pictures']} pictures."
    ]


def _initial_note(initial: str) -> list[str]:
    if initial in (SCRATCH, IMAGENET):
        return []
    return [
        f"INITIAL_BUNDLE is `{initial}`, a model before this one. Where the history of the repository does not have it "
        "(`git log -- models` names each that was published), begin with one that it has; or, from random weights, "
        "leave --initial out. Either has to train longer."
    ]


def _recipe(training: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    start = {SCRATCH: "From random weights", IMAGENET: "From ImageNet's weights"}.get(
        settings["initial"], f"From the weights of the bundle `{settings['initial']}`"
    )
    sentences = [
        f"{start}, {training['steps']:,} steps of {settings['batch']} pictures ({training['pictures_seen']:,} products "
        f"in {training['minutes']:g} minutes) by SGD with Nesterov momentum, heads together on one embedding.",
        f"Of the pictures {CALM:.0%} are flipped and shifted, some by a quarter turn, and no more. The others are "
        "turned and scaled too; some have other light, another background or fewer pixels, some are partly covered.",
    ]
    if settings.get("teacher"):
        sentences.append(f"Distilled from {TEACHER}; nothing of it is in the bundle.")
    if settings.get("photographs"):
        sentences.append(
            f"Of each batch {settings['photographs_share']:.0%} are people's own photographs. Their subCategory and "
            "article type were learned as far as their labels tell, no gender and no colour. Their corners are "
            "backgrounds of studio shots."
        )
    blend = settings.get("blend", 1.0)
    blended = f" and blended with the initial ones, {blend:.0%} to {1 - blend:.0%}" if blend < 1.0 else ""
    sentences.append(
        f"Weights averaged over the last steps{blended}, batch statistics computed afresh for them. The settings, as "
        "`offline/train/config.py` explains them:"
    )
    rows = [(name, _setting(value)) for name, value in settings.items() if value not in (None, {}, [])]
    return " ".join(sentences) + "\n\n" + _table(("setting", "value"), rows)


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_setting(each)}" for name, each in value.items())
    if isinstance(value, list):
        return "; ".join(_setting(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _decisions(bundle: Bundle) -> list[str]:
    weighed = described_decisions(bundle.settings)
    return [f"How heads decide was chosen on the validation part: {weighed}."] if weighed else []


def _performance(figures: Mapping[str, Any]) -> str:
    rows = []
    for scope, title in (("all_types", "all"), ("types_500", "with at least 500 products")):
        part = figures[scope]
        if part is None:
            continue
        for feature in ("articleType", "gender", "both"):
            entry = part[feature]
            rows.append(
                (
                    title,
                    feature,
                    *(_percent(entry[f"tolerance_{tolerance}"]) for tolerance in ("0", "0.1", "0.2")),
                    _percent(entry["precision_at_10"]),
                )
            )
    colour = _percent(figures["all_types"]["colour_agreement_at_10"])
    table = _table(
        ("article types", "feature", "tolerance 0", "0.1", "0.2", "precision@10"),
        rows,
    )
    return f"{table}\n\nOf the first ten results, {colour} have the query's base colour."


def _weak_points(figures: Mapping[str, Any]) -> str:
    low = [name for name, _, _ in worst(figures["by_gender"], 2)]
    types = [name for name, _, _ in worst(figures["by_article_type"], 4)]
    points = [f"Whom a product is for, where the picture hardly tells: {' and '.join(low)} are recognised worst."]
    if types:
        points.append(f"Article types that look like others: {', '.join(types)}.")
    points += (
        "Rare derived types: of those with a handful of products it knows little, and those it never saw have no label "
        "at all; candidates of the catalogue stand in for them.",
        "Neighbouring base colours (Navy Blue and Blue, Grey and Grey Melange), as people labelled them differently "
        "too.",
        "Photographs unlike a studio shot on a plain background: a cluttered room, several products at once, a product "
        "half out of the picture. Cut the product out with a region.",
    )
    return "\n".join(f"- {point}" for point in points)


def _groups(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    return _table(
        (title, "accuracy", "products"),
        [(name, _percent(entry["accuracy"]), str(int(entry["products"]))) for name, entry in groups.items()],
    )


def _shares(fractions: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {share:.0%}" for part, share in fractions.items())


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(Table(header, rows).markdown())
