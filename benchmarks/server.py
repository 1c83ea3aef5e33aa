"""The server that every client of a benchmark asks: nginx on loopback, one worker, a static chat completion.

It has to be far faster than any client, so that what a client costs is all that is seen: `ceiling` asks wrk how fast.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# About 600 bytes, as in the figures that the goals were set by. No single quote and no dollar: nginx would read them.
COMPLETION = json.dumps(
    {
        "id": "chatcmpl-bench0000000000000000000000",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Water boils sooner on a mountain. " * 8},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 60, "completion_tokens": 64, "total_tokens": 124},
        "system_fingerprint": "fp_bench",
    }
)

CONFIG = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; server_tokens off; default_type application/json;
  keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 64m; client_body_buffer_size 128k;
  server {{ listen 127.0.0.1:{port} backlog=8192; location / {{ return 200 '{completion}'; }} }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, timeout_s: float = 20) -> None:
    """Returns once something listens on the port; a process that ended first is an error that names it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode} before it listened on port {port}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listened on port {port} within {timeout_s} s")


@contextmanager
def nginx() -> Iterator[str]:
    """Yields the base URL of an unprivileged nginx that lives as long as the block."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        raise SystemExit("found no nginx, which the benchmarks ask: apt-get install nginx-light wrk")
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as folder:
        port = free_port()
        config = Path(folder, "nginx.conf")
        config.write_text(CONFIG.format(folder=folder, port=port, completion=COMPLETION))
        process = subprocess.Popen([program, "-e", f"{folder}/error.log", "-c", str(config)])
        try:
            wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def ceiling(base_url: str, in_flight: int, seconds: int = 3) -> float | None:
    """Requests a second that the server answers wrk, posting a prompt of the usual size; None where wrk is missing."""
    if shutil.which("wrk") is None:
        return None
    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "x" * 300}], "max_tokens": 256})
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['content-type'] = 'application/json'\n")
        script.flush()
        command = ["wrk", "-t1", f"-c{in_flight}", f"-d{seconds}s", "-s", script.name, f"{base_url}/chat/completions"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(said.split("Requests/sec:")[1].split()[0])
