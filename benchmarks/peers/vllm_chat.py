"""A student's folder in vLLM, as it is: what it says to some prompts, greedily, and how likely each token was.

python vllm_chat.py FOLDER PROMPTS.json TOKENS DTYPE   prints JSON; DTYPE auto leaves the choice to vLLM
"""

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams


def main(folder: str, prompts: str, tokens: int, dtype: str) -> None:
    model = LLM(folder, dtype=dtype, max_model_len=512, enforce_eager=True)
    conversations = [[{"role": "user", "content": text}] for text in json.loads(Path(prompts).read_text())]
    said = model.chat(conversations, SamplingParams(temperature=0, max_tokens=tokens, logprobs=0), use_tqdm=False)
    found = []
    for answer in said:
        [output] = answer.outputs
        assert output.logprobs is not None
        logprobs = [of[token].logprob for token, of in zip(output.token_ids, output.logprobs, strict=True)]
        found.append(
            {
                "prompt_ids": list(answer.prompt_token_ids),
                "ids": list(output.token_ids),
                "logprobs": logprobs,
                "text": output.text,
                "ended": output.finish_reason == "stop",
            }
        )
    print(json.dumps(found))


if __name__ == "__main__":  # vLLM starts processes that import this
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
