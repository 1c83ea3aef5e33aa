"""When models of the development data came out, by public announcements: only those that are certain to the month.

A family that came out after a model can't have taught it: a placebo. A month alone means its last day, so that an
uncertain date takes placebos away and never invents one. The panel of the development data has no dates.
"""

from pathlib import Path

from lineage_data import rows_of, write_panel

RELEASED = {
    "text_davinci_003": "2022-11-28",
    "gpt-3.5-turbo-0301": "2023-03-01",
    "gpt-3.5-turbo-0613": "2023-06-13",
    "gpt-3.5-turbo-1106": "2023-11-06",
    "gpt4": "2023-03-14",
    "gpt4_0314": "2023-03-14",
    "gpt4_0613": "2023-06-13",
    "gpt4_1106_preview": "2023-11-06",
    "gpt-4-0125-preview": "2024-01-25",
    "gpt-4-turbo-2024-04-09": "2024-04-09",
    "claude": "2023-03-14",
    "claude-2": "2023-07-11",
    "claude-instant-1.2": "2023-08-09",
    "llama-2-7b-chat-hf": "2023-07-18",
    "llama-2-13b-chat-hf": "2023-07-18",
    "llama-2-70b-chat-hf": "2023-07-18",
    "Meta-Llama-3-8B-Instruct": "2024-04-18",
    "Meta-Llama-3-70B-Instruct": "2024-04-18",
    "Mistral-7B-Instruct-v0.2": "2023-12-11",
    "Mixtral-8x7B-Instruct-v0.1": "2023-12-11",
    "alpaca-7b": "2023-03-13",
    "vicuna-7b": "2023-04",
    "vicuna-13b": "2023-04",
    "vicuna-7b-v1.3": "2023-06",
    "vicuna-13b-v1.3": "2023-06",
    "vicuna-33b-v1.3": "2023-06",
    "vicuna-7b-v1.5": "2023-08",
    "vicuna-13b-v1.5": "2023-08",
    "wizardlm-13b": "2023-05",
    "wizardlm-13b-v1.1": "2023-07",
    "wizardlm-13b-v1.2": "2023-07",
    "wizardlm-70b": "2023-08",
    "falcon-7b-instruct": "2023-05",
    "falcon-40b-instruct": "2023-05",
    "minotaur-13b": "2023-06",
    "openchat-13b": "2023-07",
    "openchat8192-13b": "2023-07",
    "opencoderplus-15b": "2023-07",
    "openchat-v2-13b": "2023-07",
    "openchat-v2-w-13b": "2023-07",
    "openchat-v3.1-13b": "2023-08",
    "nous-hermes-13b": "2023-06",
    "oasst-sft-pythia-12b": "2023-04",
    "guanaco-7b": "2023-05",
    "guanaco-13b": "2023-05",
    "humpback-llama-65b": "2023-08",
    "zephyr-7b-alpha": "2023-10",
    "zephyr-7b-beta": "2023-10",
    "xwinlm-7b-v0.1": "2023-09",
    "xwinlm-13b-v0.1": "2023-09",
    "xwinlm-70b-v0.1": "2023-09",
    "gemma-2b-it": "2024-02",
    "phi-2": "2023-12",
    "chatglm2-6b": "2023-06",
    "baichuan-13b-chat": "2023-07",
    "Qwen-14B-Chat": "2023-09",
    "Qwen1.5-1.8B-Chat": "2024-02",
    "Qwen1.5-7B-Chat": "2024-02",
    "Qwen1.5-14B-Chat": "2024-02",
    "Qwen1.5-72B-Chat": "2024-02",
    "Qwen1.5-110B-Chat": "2024-04",
    "Qwen2-72B-Instruct": "2024-06",
    "deepseek-llm-67b-chat": "2023-11",
    "dbrx-instruct": "2024-03",
    "mistral-medium": "2023-12",
    "mistral-large-2402": "2024-02",
    "Mixtral-8x22B-Instruct-v0.1": "2024-04",
    "claude-3-5-sonnet-20240620": "2024-06-20",
    "gpt-4o-mini-2024-07-18": "2024-07-18",
    "Meta-Llama-3.1-8B-Instruct-Turbo": "2024-07",
    "Meta-Llama-3.1-70B-Instruct-Turbo": "2024-07",
}


def write_dated(panel: Path, target: Path) -> Path:
    """The panel with a column `released`, empty where the date is not certain."""
    return write_panel(target, [row | {"released": RELEASED.get(row["model"], "")} for row in rows_of(panel)])


def is_later(family: tuple[str, ...], model: str) -> bool:
    """Did every teacher of the family come out after the model? False where a date is missing."""
    own, dates = RELEASED.get(model), [RELEASED.get(teacher) for teacher in family]
    return own is not None and all(date is not None and date > _last_day(own) for date in dates)


def _last_day(date: str) -> str:
    return date if len(date) > len("2023-04") else f"{date}-99"
