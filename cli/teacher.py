"""`tutelage teacher serve`: the embedded teacher for whoever wants to point a config, or anything else, at it."""

from typing import Annotated

import typer

app = typer.Typer(help="The embedded teacher.", no_args_is_help=True)

SNIPPET = """
teachers:
  - name: smollm2
    protocol: openai-chat
    base_url: {base_url}
    model: {model}
    revision: {revision}
    channel: weights:local
    terms: smollm2-apache-2.0
    limits: {{max_in_flight: {parallel}}}
"""


@app.callback()
def _group() -> None:
    """Keeps `serve` a sub-command although it is the only one."""


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Requests answered at the same time.")] = 8,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what llama.cpp says.")] = False,
) -> None:
    """Serve SmolLM2-135M-Instruct, OpenAI-compatible, on 127.0.0.1 until Ctrl-C."""
    import contextlib
    import signal

    from tutelage.pipelines.embedded_teacher import serve as serve_teacher

    with (
        contextlib.suppress(KeyboardInterrupt),
        serve_teacher(port=port, parallel=parallel, verbose=verbose) as teacher,
    ):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        typer.echo(
            f"serving {teacher.model} ({teacher.weights.name}) at {teacher.base_url}; Ctrl-C ends it. In a config:"
        )
        typer.echo(
            SNIPPET.format(base_url=teacher.base_url, model=teacher.model, revision=teacher.revision, parallel=parallel)
        )
        while True:
            signal.pause()
