"""The floor: one aiohttp session, IN_FLIGHT workers, nothing kept but the text.

No retries, no limits, no journal, no Parquet: what any harvester on aiohttp pays before it does something useful.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import orjson


async def ask_all(
    url: str, prompts: list[str], in_flight: int, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]
) -> int:
    answered = 0
    queue: Iterator[str] = iter(prompts)  # shared by the workers: an iterator is a queue within one thread

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        headers = {"content-type": "application/json", "authorization": "Bearer none"}
        for prompt in queue:
            body = dumps({"model": "bench", "messages": [{"role": "user", "content": prompt}], "max_tokens": 256})
            async with session.post(url, data=body, headers=headers) as response:
                reply = loads(await response.read())
            answered += bool(reply["choices"][0]["message"]["content"])

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))
    return answered


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--codec", choices=("json", "orjson"), required=True)
    args = parser.parse_args()
    with open(args.prompts, "rb") as lines:
        prompts = [orjson.loads(line)["prompt"] for line in lines]
    dumps, loads = (
        (orjson.dumps, orjson.loads) if args.codec == "orjson" else (lambda o: json.dumps(o).encode(), json.loads)
    )
    started = time.monotonic()
    answered = asyncio.run(ask_all(f"{args.base_url}/chat/completions", prompts, args.in_flight, dumps, loads))
    json.dump({"answered": answered, "elapsed_s": time.monotonic() - started}, sys.stdout)


if __name__ == "__main__":
    main()
