"""The command that trains a bundle again, from what the bundle says of itself."""

import shlex

from offline.train.config import DEFAULT_BATCH, IMAGENET, SCRATCH
from services.bundle.reader import Bundle


def training_command(bundle: Bundle) -> str:
    """Returns the command, on several lines of a shell.

    DATASET, LARGER, PHOTOGRAPHS, TEACHER and INITIAL_BUNDLE stand for files and folders, wherever they lie.

    Raises:
        KeyError: the bundle does not say how it was trained.
    """
    training = bundle.description["training"]
    settings = training["settings"]
    sizes = ",".join(f"{s['start']:g}:{s['height']}x{s['width']}" for s in settings["stages"])
    length = (
        f"--minutes {settings['minutes']:g}" if settings["minutes"] is not None else f"--passes {settings['passes']:g}"
    )
    options = [f"--drawn {training['drawn']}"] if training["drawn"] else []
    if settings["initial"] != SCRATCH:
        options.append(f"--initial {IMAGENET if settings['initial'] == IMAGENET else 'INITIAL_BUNDLE'}")
    options += [f"--{name} {name.upper()}" for name in ("larger", "photographs", "teacher") if settings.get(name)]
    if settings.get("anchor_weight"):
        options.append(f"--anchor {settings['anchor_weight']:g}")
    start = " ".join(["fashion train DATASET", length, *options])
    batch = f" --batch {settings['batch']}" if settings["batch"] != DEFAULT_BATCH else ""
    blend = f" --blend {settings['blend']:g}" if settings.get("blend", 1.0) < 1.0 else ""
    left_out = f" --leave-out {settings['leave_out']:g}" if settings.get("leave_out") else ""
    return (
        f"{start} --sizes {sizes} \\\n"
        f"    --peak {settings['peak']:g}{batch}{blend}{left_out} --seed {settings['seed']} "
        f"--run var/train --bundle models/{bundle.name} \\\n"
        f"    --data {shlex.quote(training['data'])} --data-url {shlex.quote(training['url'])} "
        f"--licence {shlex.quote(training['licence'])}"
    )
