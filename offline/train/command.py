"""The command that trains a bundle again, from what the bundle says of itself."""

import shlex

from services.bundle.reader import Bundle


def training_command(bundle: Bundle) -> str:
    """The command, on two or three lines of a shell; DATASET stands for the data set.

    Raises:
        KeyError: the bundle does not say how it was trained.
    """
    training = bundle.description["training"]
    settings = training["settings"]
    sizes = ",".join(f"{s['start']:g}:{s['height']}x{s['width']}" for s in settings["stages"])
    length = (
        f"--minutes {settings['minutes']:g}" if settings["minutes"] is not None else f"--passes {settings['passes']:g}"
    )
    drawn = f" --drawn {training['drawn']}" if training["drawn"] else ""
    if settings["initial"] != "scratch":
        # Of a bundle its folder is to be named, which lies wherever it was unpacked.
        drawn += f" --initial {settings['initial'] if settings['initial'] == 'imagenet' else 'INITIAL_BUNDLE'}"
    blend = f" --blend {settings['blend']:g}" if settings.get("blend", 1.0) < 1.0 else ""
    left_out = f" --leave-out {settings['leave_out']:g}" if settings.get("leave_out") else ""
    return (
        f"fashion train DATASET {length}{drawn} --sizes {sizes} \\\n"
        f"    --peak {settings['peak']:g}{blend}{left_out} --seed {settings['seed']} --run var/train "
        f"--bundle models/{bundle.name} \\\n"
        f"    --data {shlex.quote(training['data'])} --data-url {shlex.quote(training['url'])} "
        f"--licence {shlex.quote(training['licence'])}"
    )
