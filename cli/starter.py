"""`tutelage init`: a config and prompts that run as they are on the embedded teacher, with a comment at each choice."""

from pathlib import Path

from tutelage.schemas.errors import ConfigError

CONFIG_NAME, PROMPTS_NAME = "tutelage.yaml", "prompts.jsonl"

CONFIG = """\
# A harvest. `tutelage plan tutelage.yaml` shows what it would ask and cost; `tutelage harvest tutelage.yaml` runs it.
version: 1
prompts:
  # jsonl, csv or parquet; one file, a list or a glob; any fsspec URI. A row has `prompt`, or `messages`.
  # text_field, id_field, system and template (Jinja) say otherwise. An unknown licence is refused.
  - {uri: prompts.jsonl, license: CC0-1.0}
teachers:
  - name: smollm2
    protocol: openai-chat              # openai-chat | openai-completions | anthropic-messages
    base_url: http://127.0.0.1:8080/v1 # `tutelage teacher serve --port 8080`; or vLLM, SGLang, Ollama, a provider
    model: SmolLM2-135M-Instruct
    revision: b179c952
    channel: weights:local             # weights:local | api:openai | host:together | … (`tutelage terms list`)
    api_key_env: null                  # the NAME of the environment variable that holds the key
    terms: smollm2-apache-2.0          # the entry that permits this use; `own-model` for weights of your own
    limits: {max_in_flight: 8, requests_per_minute: null, tokens_per_minute: null}
    price_usd_per_million_tokens: {input: 0, output: 0}
sampling: {temperature: 0.7, max_tokens: 128, samples: 1, seed: 7, top_logprobs: 5}
policy: {distributed: true, competes_with_teacher: true}   # what the student is for; it decides what is permitted
budget: {max_usd: 1.00}                # hard, over all runs of this dataset
output: {uri: harvests/first, shards: 4}
"""

PROMPTS = """\
{"id": "hi-1", "prompt": "Explain in two sentences why the sky is blue."}
{"id": "hi-2", "prompt": "List three uses of a paper clip."}
{"id": "hi-3", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]}
"""


def write_starter(directory: Path) -> list[Path]:
    """Writes both files; raises ConfigError, and writes neither, where one is there already."""
    wanted = {directory / CONFIG_NAME: CONFIG, directory / PROMPTS_NAME: PROMPTS}
    there = [path for path in wanted if path.exists()]
    if there:
        raise ConfigError(f"{there[0]} is there already and is not overwritten; name another folder")
    directory.mkdir(parents=True, exist_ok=True)
    for path, content in wanted.items():
        path.write_text(content, encoding="utf-8")
    return list(wanted)
