"""Chat templates in the manner of four families, written for the tests. None has a `{% generation %}` block.

They differ in what makes masks go wrong: text after the end of turn (ChatML, Gemma), two line breaks before the answer
(Llama 3), a role of another name, trimming and no system role (Gemma), no header before the answer and eos as the end
of turn (Mistral).
"""

from typing import NamedTuple


class ChatTemplate(NamedTuple):
    """`lead` is what the template puts between the generation prompt and the answer; `eos` and `bos` are those of its
    tokenizer; `system` is whether it takes such a role."""

    text: str
    end_of_turn: str
    eos: str
    bos: str | None = None
    lead: str = ""
    trims: bool = False
    system: bool = True


CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

LLAMA_3 = """\
{{- bos_token }}
{%- for message in messages -%}
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}
"""

GEMMA = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('System role not supported') }}{%- endif -%}
{%- for message in messages -%}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""

MISTRAL = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' -%}
{%- set system, turns = messages[0]['content'] + '\\n\\n', messages[1:] -%}
{%- else -%}{%- set system, turns = '', messages -%}{%- endif -%}
{%- for message in turns -%}
{%- if message['role'] == 'user' -%}
{{ '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}
{%- elif message['role'] == 'assistant' -%}
{{ ' ' + message['content'] + eos_token }}
{%- else -%}{{ raise_exception('Only user and assistant roles are supported, after an optional system message') }}
{%- endif -%}
{%- endfor -%}
"""

THINKING = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}
{{- message['content'].split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}
{%- else -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

NO_ASSISTANT = """\
{%- for message in messages if message['role'] != 'assistant' -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

TEMPLATES = {
    "chatml": ChatTemplate(CHATML, "<|im_end|>", "<|im_end|>"),
    "llama-3": ChatTemplate(LLAMA_3, "<|eot_id|>", "<|endoftext|>", "<|begin_of_text|>", trims=True),
    "gemma": ChatTemplate(GEMMA, "<end_of_turn>", "<eos>", "<bos>", trims=True, system=False),
    "mistral": ChatTemplate(MISTRAL, "</s>", "</s>", "<s>", lead=" "),
    "thinking": ChatTemplate(THINKING, "<|im_end|>", "<|endoftext|>", lead="<think>\n\n</think>\n\n"),
}
