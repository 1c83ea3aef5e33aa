"""bespokelabs-curator, whole: its request files, its calls, its response files and the Arrow dataset at the end.

Limits are set so high that they never bind; display, telemetry and viewer are off; the cache is a fresh folder.
"""

import argparse
import json
import os
import sys
import time

for name, value in {
    "TELEMETRY_ENABLED": "false",
    "CURATOR_VIEWER": "0",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}.items():
    os.environ[name] = value

import tiktoken  # noqa: E402


class _QuarterTokens:
    """Stands in for cl100k_base, which tiktoken downloads: one token per four characters, and next to no CPU."""

    def encode(self, text: str, **_options: object) -> range:
        return range(len(text) // 4)


tiktoken.get_encoding = lambda _name: _QuarterTokens()

from bespokelabs import curator  # noqa: E402

UNBOUND = 1_000_000_000


class Asker(curator.LLM):
    def prompt(self, row: dict[str, str]) -> str:
        return row["prompt"]

    def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
        return {"id": row["id"], "response": response}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--cache", required=True)
    args = parser.parse_args()
    with open(args.prompts, encoding="utf-8") as lines:
        prompts = [json.loads(line) for line in lines]
    asker = Asker(
        model_name="gpt-4o-mini",  # a name its price table knows: an unknown one costs it an exception a response
        backend="openai",
        generation_params={"max_tokens": 256},
        backend_params={
            "base_url": args.base_url,
            "api_key": "none",
            "max_requests_per_minute": UNBOUND,
            "max_tokens_per_minute": UNBOUND,
            "max_concurrent_requests": args.in_flight,
        },
    )
    started = time.monotonic()
    dataset = asker(prompts, working_dir=args.cache).dataset
    answered = sum(1 for row in dataset if row["response"])
    json.dump({"answered": answered, "elapsed_s": time.monotonic() - started}, sys.stdout)


if __name__ == "__main__":
    main()
