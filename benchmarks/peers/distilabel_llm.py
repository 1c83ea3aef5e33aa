"""distilabel's OpenAILLM alone, batch by batch: its pipeline around it, which would cost more, is left out.

A batch is gathered before the next begins: that is how AsyncLLM asks, so its batch size is what it has in flight.
"""

import argparse
import json
import sys
import time
import warnings

warnings.simplefilter("ignore")  # pydantic's remarks about distilabel's fields

from distilabel.models import OpenAILLM  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    args = parser.parse_args()
    with open(args.prompts, encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in lines]
    llm = OpenAILLM(model="bench", base_url=args.base_url, api_key="none", generation_kwargs={"max_new_tokens": 256})
    llm.load()
    started = time.monotonic()
    answered = 0
    for first in range(0, len(prompts), args.in_flight):
        batch = [[{"role": "user", "content": prompt}] for prompt in prompts[first : first + args.in_flight]]
        for output in llm.generate_outputs(inputs=batch, max_new_tokens=256):
            answered += bool(output["generations"][0])
    json.dump({"answered": answered, "elapsed_s": time.monotonic() - started}, sys.stdout)


if __name__ == "__main__":
    main()
