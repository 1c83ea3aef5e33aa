#!/usr/bin/env bash
# What training does on a CUDA machine, in one command: tokens a second, MFU, memory, graph breaks, FSDP2 against one rank.
#
#   bash benchmarks/gpu.sh [--steps 20] [--json FILE] [--only-smallest]
#
# Uses .venv where its torch sees a GPU, else makes benchmarks/.venvs/gpu (a few GB). Exits 2 where something is missing,
# and says what. Until this has run on a GPU, its figures are unmeasured.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() {
  echo "gpu.sh: $1" >&2
  echo "gpu.sh: nothing was measured; every GPU figure stays unmeasured" >&2
  exit 2
}

sees_gpu() { [ -x "$1" ] && "$1" -c 'import sys, torch, tutelage.train; sys.exit(not torch.cuda.is_available())' 2>/dev/null; }

command -v nvidia-smi >/dev/null || missing "found no nvidia-smi, needed an NVIDIA GPU with its driver; run this on such a machine"
nvidia-smi -L 2>/dev/null | grep -q '^GPU' || missing "nvidia-smi lists no GPU; check the driver, or that the container was given one (--gpus all)"

python=.venv/bin/python
if ! sees_gpu "$python"; then
  python=benchmarks/.venvs/gpu/bin/python
  if ! sees_gpu "$python"; then
    base="$(command -v python3.11 || true)"
    [ -n "$base" ] || missing "found no python3.11, needed to make benchmarks/.venvs/gpu; install it (Debian: apt-get install python3.11-venv)"
    echo "gpu.sh: making benchmarks/.venvs/gpu with PyPI's torch, which brings CUDA (a few minutes)" >&2
    rm -rf benchmarks/.venvs/gpu
    "$base" -m venv benchmarks/.venvs/gpu
    # Pins are those of constraints.txt; what only CUDA needs (nvidia-*, triton) is torch's own choice.
    "$python" -m pip install -qq --disable-pip-version-check -c constraints.txt setuptools wheel
    "$python" -m pip install -qq --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[train,kernels]' >&2
    sees_gpu "$python" || missing "torch of benchmarks/.venvs/gpu sees no GPU: $("$python" -c 'import torch; print(torch.__version__, "built for CUDA", torch.version.cuda)'); install a torch that fits the driver into that venv"
  fi
fi
exec "$python" benchmarks/gpu.py "$@"
