"""Makes one venv a peer, from its frozen requirements, so that no peer's pins bend another's or ours.

python benchmarks/peers.py            makes what is missing (about eight minutes, 8 GB)
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENVS = HERE / ".venvs"
HARVEST_PEERS = ("aiohttp", "curator", "distilabel")
AUDIT_PEERS = ("text_dedup", "datasketch", "datatrove")
LINEAGE_PEERS = ("lineage",)
TRAIN_PEERS = ("trl", "vllm")


def python_of(peer: str) -> Path:
    """The peer's interpreter; its venv is made first where it is missing or its requirements changed since."""
    requirements = HERE / "peers" / f"{peer}.txt"
    folder = VENVS / peer
    made_from = folder / "made_from.txt"
    python = folder / "bin" / "python"
    if made_from.is_file() and made_from.read_bytes() == requirements.read_bytes():
        return python
    print(f"making {folder} from {requirements.name} ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    # --no-deps: the file is a whole freeze, and a resolver that adds to it would measure something else.
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "-qq",
        "--no-deps",
        "--disable-pip-version-check",
        "-r",
        requirements,
    ]
    subprocess.run(install, check=True, stdout=sys.stderr)
    shutil.copyfile(requirements, made_from)
    return python


if __name__ == "__main__":
    for name in HARVEST_PEERS + AUDIT_PEERS + LINEAGE_PEERS + TRAIN_PEERS:
        print(python_of(name))
