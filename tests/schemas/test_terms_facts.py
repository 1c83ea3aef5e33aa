"""Every fact that the register started from, as a decision: a line here fails if an entry or a pattern drifts."""

from datetime import date

import pytest

from tutelage.schemas.terms_entry import TRAIN_USES, TermsEntry
from tutelage.schemas.terms_register import Register
from tutelage.schemas.terms_resolution import Policy, TeacherFacts, TermsDecision, decide

REGISTER = Register.load()
TODAY = date(2026, 11, 24)
SEEN = date(2026, 11, 23)


def decision(model: str, channel: str, base_url: str | None, *terms: str) -> TermsDecision:
    teacher = TeacherFacts(name="t", model=model, channel=channel, base_url=base_url, terms_ids=terms)
    return decide(REGISTER, teacher, ["CC0-1.0"], Policy(), [], TODAY)


LOCAL = "http://127.0.0.1:8080/v1"
FLOWDOWN = ("use_restrictions_flowdown",)
LLAMA = ("display_text", "name_prefix", "user_cap")
QWEN = ("display_text",)

FACTS = [
    # model, channel, base_url, train_use, obligations, the entry that says so, its effective date
    ("gpt-5.2", "api:openai", "https://api.openai.com/v1", "deny_competing", (), "openai-api", "2026-01-01"),
    ("gpt-5.2", "consumer:chatgpt", "https://chatgpt.com", "deny_competing", (), "chatgpt-consumer", "2026-01-16"),
    ("claude-x", "api:anthropic", "https://api.anthropic.com/v1", "deny_competing", (), "anthropic-api", "2025-06-17"),
    ("claude-x", "consumer:claude", "https://claude.ai", "deny", (), "claude-consumer", "2025-10-08"),
    (
        "gemini-3-pro",
        "api:gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "deny_competing",
        (),
        "gemini-api",
        "2025-05-20",
    ),
    ("grok-5", "api:xai", "https://api.x.ai/v1", "deny", (), "xai-api", "2026-05-12"),
    ("deepseek-chat", "api:deepseek", "https://api.deepseek.com", "allow", (), "deepseek-api", "2026-04-29"),
    ("deepseek-ai/DeepSeek-R1", "weights:local", LOCAL, "allow", (), "deepseek-r1-mit", None),
    ("DeepSeek-R1-Distill-Llama-70B", "weights:local", LOCAL, "allow_with", LLAMA, "deepseek-r1-distill-llama", None),
    ("deepseek-ai/DeepSeek-V3", "weights:local", LOCAL, "allow_with", FLOWDOWN, "deepseek-licence-1.0", None),
    ("DeepSeek-V2.5", "weights:local", LOCAL, "allow_with", FLOWDOWN, "deepseek-licence-1.0", None),
    ("meta-llama/Llama-2-13b-chat-hf", "weights:local", LOCAL, "deny", (), "llama-2", None),
    ("meta-llama/Meta-Llama-3-8B-Instruct", "weights:local", LOCAL, "deny", (), "llama-3.0", None),
    ("llama3:70b", "weights:local", LOCAL, "deny", (), "llama-3.0", None),
    ("meta-llama/Llama-3.1-8B-Instruct", "weights:local", LOCAL, "allow_with", LLAMA, "llama-3.1", None),
    ("llama3.1:8b", "weights:local", LOCAL, "allow_with", LLAMA, "llama-3.1", None),
    ("Llama-3.3-70B-Instruct-Q4_K_M.gguf", "weights:local", LOCAL, "allow_with", LLAMA, "llama-3.3", None),
    ("google/gemma-7b-it", "weights:local", LOCAL, "allow_with", FLOWDOWN, "gemma-terms", "2025-03-24"),
    ("gemma-2-9b-it", "weights:local", LOCAL, "allow_with", FLOWDOWN, "gemma-terms", "2025-03-24"),
    ("gemma3:27b", "weights:local", LOCAL, "allow_with", FLOWDOWN, "gemma-terms", "2025-03-24"),
    ("google/gemma-4-12b-it", "weights:local", LOCAL, "allow", (), "gemma-4-apache-2.0", None),
    ("Qwen/Qwen2.5-72B-Instruct", "weights:local", LOCAL, "allow_with", QWEN, "qwen-licence-2024", None),
    ("qwen3-max", "consumer:qwen-chat", "https://chat.qwen.ai", "deny", (), "qwen-chat", "2025-03-01"),
    ("mistral-large-latest", "api:mistral", "https://api.mistral.ai/v1", "unknown", (), "mistral-api", "2025-10-28"),
    ("mistralai/Mistral-7B-Instruct-v0.3", "weights:local", LOCAL, "allow", (), "mistral-apache-2.0", None),
    ("Qwen/Qwen3-8B", "weights:local", LOCAL, "allow", (), "qwen-apache-2.0", None),
    ("SmolLM2-135M-Instruct", "weights:local", LOCAL, "allow", (), "smollm2-apache-2.0", None),
    ("kimi-k2", "consumer:kimi", "https://kimi.com", "deny_competing", (), "kimi-consumer", "2024-01-05"),
    ("Qwen/Qwen3-32B", "host:together", "https://api.together.xyz/v1", "deny_competing", (), "together", None),
    (
        "Qwen/Qwen3-32B",
        "host:fireworks",
        "https://api.fireworks.ai/inference/v1",
        "deny_competing",
        (),
        "fireworks",
        None,
    ),
]


@pytest.mark.parametrize(("model", "channel", "base_url", "train_use", "obligations", "entry", "effective"), FACTS)
def test_the_register_says_what_was_read_in_the_terms(
    model: str,
    channel: str,
    base_url: str,
    train_use: str,
    obligations: tuple[str, ...],
    entry: str,
    effective: str | None,
) -> None:
    found = decision(model, channel, base_url)
    assert (found.train_use, found.obligations) == (train_use, obligations)
    assert entry in dict(found.entries)
    said = REGISTER.get(entry)
    assert said is not None
    assert said.effective == (effective and date.fromisoformat(effective))
    assert said.seen == SEEN


def test_every_teacher_entry_that_applies_unnamed_has_its_line_in_the_table() -> None:
    applying = {entry.id for entry in REGISTER.entries if not entry.holds_when_named}
    assert applying == {fact[5] for fact in FACTS}


def test_what_is_said_of_each_exception_and_condition_is_kept() -> None:
    said = {entry.id: entry for entry in REGISTER.entries}
    assert "not distributed" in said["openai-api"].competes_exceptions[0]
    assert "OpenAI" in said["openai-api"].competes_exceptions[1]
    assert "3.3(e)" in said["openai-api"].reason
    assert "approve" in said["anthropic-api"].competes_exceptions[0]
    assert "D.4" in said["anthropic-api"].reason
    assert "re-check" in said["gemini-api"].reason
    assert "distillation" in said["xai-api"].reason
    assert "4.2(3)" in said["deepseek-api"].reason
    assert "image generation and web search" in said["mistral-api"].reason
    assert said["llama-3.1"].obligation_details == {"display_text": "Built with Llama", "name_prefix": "Llama"}
    assert "Improved using Qwen" in said["qwen-licence-2024"].obligation_details["display_text"]


@pytest.mark.parametrize(
    ("license_id", "train_use", "obligations"),
    [
        ("CC0-1.0", "allow", ()),
        ("Unlicense", "allow", ()),
        ("own-prompts", "allow", ()),
        ("Apache-2.0", "allow_with", ("notice_text",)),
        ("MIT", "allow_with", ("notice_text",)),
        ("CDLA-Permissive-2.0", "allow_with", ("notice_text",)),
        ("CC-BY-3.0", "allow_with", ("attribution",)),
        ("CC-BY-4.0", "allow_with", ("attribution",)),
        ("cc-by-4.0", "allow_with", ("attribution",)),
        ("CC-BY-SA-3.0", "allow_with", ("attribution", "share_alike")),
        ("CC-BY-SA-4.0", "allow_with", ("attribution", "share_alike")),
        ("CC-BY-NC-4.0", "allow_with", ("attribution", "noncommercial")),
        ("CC-BY-NC-SA-4.0", "allow_with", ("attribution", "noncommercial", "share_alike")),
        ("CC-BY-ND-4.0", "allow_with", ("attribution", "no_redistribution")),
        ("ODC-By-1.0", "allow_with", ("attribution",)),
        ("ODbL-1.0", "allow_with", ("attribution", "share_alike")),
        ("unknown", "unknown", ()),
        ("proprietary", "unknown", ()),
        ("", "unknown", ()),
        ("smollm2-apache-2.0", "unknown", ()),
        ("weights-mit", "unknown", ()),
        ("openai-api", "unknown", ()),
    ],
)
def test_each_prompt_licence_is_told_apart_from_the_others(
    license_id: str, train_use: str, obligations: tuple[str, ...]
) -> None:
    teacher = TeacherFacts(name="t", model="SmolLM2-135M", channel="weights:local")
    found = decide(REGISTER, teacher, [license_id], Policy(), [], TODAY)
    assert (found.train_use, found.obligations) == (train_use, obligations)


@pytest.mark.parametrize(
    ("model", "channel", "why"),
    [
        ("gpt-5.2", "api:azure", "a provider that nobody looked up"),
        ("gpt-5.2", "api:openai-eu", "a channel that only looks like a known one"),
        ("DeepSeek-R1-Distill-Qwen-7B", "weights:local", "R1's licence is not its distillations'"),
        ("deepseek-r1:8b", "weights:local", "a tag that stands for a distillation"),
        ("DeepSeek-V3.1", "weights:local", "a later licence"),
        ("Llama-4-Scout", "weights:local", "a later licence"),
        ("Llama-3.2-1B", "weights:local", "a licence that was not looked up"),
        ("Qwen2.5-3B-Instruct", "weights:local", "a research licence among Apache ones"),
        ("Qwen3-Max", "weights:local", "no open weights"),
        ("Mistral-Large-Instruct-2411", "weights:local", "a research licence among Apache ones"),
        ("Qwen/Qwen3-8B", "host:groq", "a host that nobody looked up"),
        ("my-model", "host:together", "a model that nobody looked up"),
        ("my-model", "weights:local", "a model that nobody looked up"),
        ("my-model", "", "no channel"),
    ],
)
def test_what_is_not_listed_is_unknown_and_refused(model: str, channel: str, why: str) -> None:
    found = decision(model, channel, None)
    assert (found.train_use, found.permitted) == ("unknown", False), why


def test_no_entry_permits_by_accident() -> None:
    """A resolver whose last branch is always true answers every question alike: each answer here is given by some."""
    assert {entry.train_use for entry in REGISTER.entries} == {*TRAIN_USES, "intersect"}


@pytest.mark.parametrize("entry", REGISTER.entries, ids=lambda entry: entry.id)
def test_a_shipped_entry_cites_its_source(entry: TermsEntry) -> None:
    assert (entry.url is None) == (entry.kind == "declaration")
    assert REGISTER.is_shipped(entry)
    assert all(REGISTER.get(base) for base in entry.base_terms)
