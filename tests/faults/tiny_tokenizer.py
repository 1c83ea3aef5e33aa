"""A byte-level BPE tokenizer of 448 tokens, trained in a moment and always the same, and a Llama of that vocabulary.

It takes any text there is (all 256 bytes are tokens), and it has the special tokens of every template in
chat_templates.py.
"""

from functools import cache
from typing import Any

from chat_templates import CHATML
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 448
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>"),
)
_CORPUS = (
    "user assistant system model The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "What is the average of 4, 8, 15 and 17? The average of these numbers is 11. One, two, three: four!",
    "Write a haiku about a bicycle. In the lane of the bicycle, a silent journey begins, a silent journey.",
    "Translate into Spanish: The bread is still warm. El pan todavía está caliente. Ja, natürlich, très bien.",
    "def answer(question):\n    return 'forty two'\n\nfor number in range(10):\n    print(number, answer(number))\n",
)


def tiny_tokenizer(
    chat_template: str | None = CHATML,
    *,
    pad_is_eos: bool = False,
    eos: str = "<|im_end|>",
    bos: str | None = None,
) -> Any:
    """A fast tokenizer of transformers. `eos` and `bos` name two of SPECIAL."""
    from transformers import PreTrainedTokenizerFast

    names = {"eos_token": eos, "pad_token": eos if pad_is_eos else "<pad>"} | ({"bos_token": bos} if bos else {})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_trained()), **names)
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_llama_config(tokenizer: Any, **changes: Any) -> Any:
    """Hidden 32, 2 layers, 2 heads, tied embeddings: 32,928 parameters."""
    from transformers import LlamaConfig

    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return LlamaConfig(**{**sizes, **changes})


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    return str(tokenizer.to_str())
