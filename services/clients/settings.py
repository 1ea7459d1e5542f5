"""Whether callers have settings at all, without what takes long to import (`services.serving.settings`)."""

import os


def callers_have_settings() -> bool:
    """Tells whether any CLIENT_… variable is set."""
    return any(name.upper().startswith("CLIENT_") for name in os.environ)
