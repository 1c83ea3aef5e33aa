"""Trains students from every kind of base, loads each in vLLM as it is, and holds what it says to transformers'.

python benchmarks/vllm_drill.py [--prompts 40] [--tokens 48]

vLLM runs on a CPU, in an environment of its own (3.4 GB). Held to: the same prompt ids by the saved chat template, the
same greedy tokens, their logprobs within a rounding, and an end wherever the trained end of turn is said. Exits 1 if a
check fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ours import tutelage
from peers import HERE, python_of
from report import end_of_drill, table
from train_drill import curated
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

sys.path.insert(0, str(HERE.parent / "tests" / "faults"))
from base_folders import write_folder
from tiny_tokenizer import tiny_tokenizer

TIE = 1e-3
"""Nats between two tokens within which either may be the greedy one."""
LIMITS = {"float32": 1e-3, "auto": 0.15}
"""Of the largest difference of a token's logprob, nats. `auto` is bf16 for a student in fp32, by vLLM's own rule."""


class Student(NamedTuple):
    name: str
    student: dict[str, Any]
    training: dict[str, Any]
    dtypes: tuple[str, ...] = ("float32",)


class Comparison(NamedTuple):
    answers: int
    tokens: int
    other_prompts: int
    other_tokens: int
    ended: int
    wrongly_ended: int
    off_by: float


def students(folder: Path) -> list[Student]:
    """Small enough for a CPU; the ends of all but the adapters' turns are learned by heart."""
    words = tiny_tokenizer()
    shape = {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 256}
    torch.manual_seed(0)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    config = Qwen2Config(vocab_size=len(words), num_hidden_layers=2, tie_word_embeddings=False, **shape, **ids)
    qwen = write_folder(folder / "qwen", Qwen2ForCausalLM(config), words)
    llama = {"fresh": {"hidden_size": 256, "layers": 4, "heads": 4, "tokenizer": "embedded"}}
    lora = {"base": {"gguf": "embedded"}, "lora": {"rank": 8}}
    return [
        Student("fresh Llama, SmolLM2's tokens", {"base": llama}, {"epochs": 30}, ("float32", "auto")),
        Student("Qwen2 from a folder, untied", {"base": {"folder": str(qwen)}}, {"epochs": 30}),
        Student("SmolLM2-135M from its gguf, LoRA merged", lora, {"max_steps": 4}),
    ]


def train(folder: Path, dataset: Path, student: Student, number: int) -> Path:
    output = folder / f"student-{number}"
    config = {
        "version": 1,
        "dataset": str(dataset),
        "student": {"name": f"student-{number}", **student.student},
        "data": {"max_tokens": 512},
        "optimizer": {"learning_rate": 0.003},
        "training": {"pack_tokens": 512, "packs_per_step": 2, **student.training},
        "policy": {"distributed": False, "competes_with_teacher": False},
        "output": {"folder": str(output)},
    }
    path = folder / f"{output.name}.yaml"  # JSON is YAML too
    path.write_text(json.dumps(config))
    subprocess.run([tutelage(), "train", path, "--json"], check=True, stdout=subprocess.DEVNULL)
    return output


def said_by_vllm(python: Path, student: Path, prompts: Path, tokens: int, dtype: str) -> list[dict[str, Any]]:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GB
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": str(student.parent / "vllm"),
        "VLLM_CONFIG_ROOT": str(student.parent / "vllm"),
    }
    command = [python, HERE / "peers" / "vllm_chat.py", student, prompts, str(tokens), dtype]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"vLLM ended with {run.returncode} on {student}:\n{run.stderr[-3000:]}")
    found: list[dict[str, Any]] = json.loads(run.stdout.splitlines()[-1])
    return found


def compared(student: Path, prompts: list[str], said: list[dict[str, Any]]) -> Comparison:
    """vLLM's answers, token by token, beside what transformers makes of the same folder in fp32."""
    words = AutoTokenizer.from_pretrained(student)
    model = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32).eval()
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    other_prompts = other_tokens = wrongly_ended = 0
    off_by = 0.0
    for prompt, answer in zip(prompts, said, strict=True):
        ids = words.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)["input_ids"]
        other_prompts += ids != answer["prompt_ids"]
        new = torch.tensor(answer["ids"])
        with torch.no_grad():
            logits = model(torch.cat([torch.tensor(answer["prompt_ids"]), new])[None]).logits[0]
        logprobs = logits[len(answer["prompt_ids"]) - 1 : -1].log_softmax(-1)
        chosen = logprobs.gather(1, new[:, None])[:, 0]
        off_by = max(off_by, float((chosen - torch.tensor(answer["logprobs"])).abs().max()))
        other_tokens += int((logprobs.amax(-1) - chosen > TIE).sum())
        wrongly_ended += (answer["ids"][-1] in ends) != answer["ended"] or bool(ends & set(answer["ids"][:-1]))
    ended = sum(answer["ended"] for answer in said)
    tokens = sum(len(answer["ids"]) for answer in said)
    return Comparison(len(said), tokens, other_prompts, other_tokens, ended, wrongly_ended, off_by)


def broken(found: Comparison, dtype: str) -> list[str]:
    checks = {
        f"{found.other_prompts} prompts have other ids": bool(found.other_prompts),
        f"{found.other_tokens} tokens are not transformers' greedy ones": dtype == "float32" and found.other_tokens > 0,
        f"{found.wrongly_ended} answers ended where they should not, or went on": bool(found.wrongly_ended),
        f"a logprob is off by {found.off_by:.4f} nats": not found.off_by <= LIMITS[dtype],
    }
    return [promise for promise, is_broken in checks.items() if is_broken]


def run(folder: Path, *, prompts: int, tokens: int) -> list[str]:
    python = python_of("vllm")
    dataset = curated(folder, prompts)
    asked = [json.loads(line)["prompt"] for line in (folder / "prompts.jsonl").read_text().splitlines()][:16]
    file = folder / "asked.json"
    file.write_text(json.dumps(asked))
    lines, failures, ended = [], [], 0
    for number, student in enumerate(students(folder), 1):
        print(f"{student.name} ...", file=sys.stderr, flush=True)
        output = train(folder, dataset, student, number)
        for dtype in student.dtypes:
            found = compared(output, asked, said_by_vllm(python, output, file, tokens, dtype))
            ended += found.ended
            failures += [f"{student.name}, {dtype}: {promise}" for promise in broken(found, dtype)]
            same = found.tokens - found.other_tokens
            lines.append(
                [
                    student.name,
                    dtype,
                    f"{found.answers - found.other_prompts} of {found.answers}",
                    f"{same} of {found.tokens}",
                    f"{found.off_by:.1e}",
                    f"{found.ended} ({found.wrongly_ended} wrong)",
                ]
            )
    if not ended:
        failures.append("no student said its end of turn: whether vLLM stops there was not seen")
    head = ["student", "dtype", "same prompt ids", "same greedy tokens", "logprobs off by", "ended"]
    print(table(head, lines))
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=48, help="of an answer, at most")
    with tempfile.TemporaryDirectory(prefix="vllm-drill-") as folder:
        failures = run(Path(folder), **vars(parser.parse_args()))
    end_of_drill(failures)


if __name__ == "__main__":
    main()
