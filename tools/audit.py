"""Asks whether a locked package has a known weakness; skipped, by name, where the data cannot be reached.

python -m tools.audit
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements-serve.lock", "requirements-milvus.lock", "requirements.lock", "requirements-bench.lock")


def audited(lock: Path) -> list[dict[str, Any]]:
    """Returns what pip-audit says of each package of a lock file; nothing where it reaches no data.

    Raises:
        RuntimeError: pip-audit failed for another reason.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    command += ["--no-deps", "--progress-spinner", "off", "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return list(json.loads(ended.stdout)["dependencies"])
    except (json.JSONDecodeError, KeyError):
        if "connection" in ended.stderr.lower() or "timed out" in ended.stderr.lower():
            return []
        raise RuntimeError(f"pip-audit failed on {lock.name}: {ended.stderr.strip()}") from None


def summary(lock: str, packages: list[dict[str, Any]]) -> tuple[str, bool]:
    """Returns one paragraph on a lock file, and whether it has a known weakness."""
    known = [each for each in packages if "skip_reason" not in each]
    if not known:
        return f"{lock}: skipped, since pip-audit reaches no data on weaknesses from here.", False
    lines = [f"{lock}: {len(known)} packages looked at, {len(packages) - len(known)} unknown to the data."]
    for package in known:
        for weakness in package["vulns"]:
            mended = ", ".join(weakness["fix_versions"]) or "no version yet"
            lines.append(f"  {package['name']} {package['version']}: {weakness['id']}, mended in {mended}.")
    return "\n".join(lines), len(lines) > 1


def main() -> None:
    """Runs the command line; exits with 1 where a package has a known weakness."""
    weak = False
    for lock in LOCKS:
        text, bad = summary(lock, audited(ROOT / lock))
        sys.stdout.write(f"{text}\n")
        weak = weak or bad
    sys.exit(1 if weak else 0)


if __name__ == "__main__":
    main()
