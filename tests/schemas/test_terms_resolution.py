"""The rules of docs/decisions/0010-terms-resolution.md, each as a table of cases."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_entry import TRAIN_USES, TermsEntry
from tutelage.schemas.terms_register import Origin, Register
from tutelage.schemas.terms_resolution import Override, Policy, SealedUse, TeacherFacts, TermsDecision, decide

TODAY = date(2026, 11, 24)
LOCAL = "http://127.0.0.1:8080/v1"
OPENAI = "https://api.openai.com/v1"
TOGETHER = "https://api.together.xyz/v1"
SHIPPED = Register.load()

STRICT = Policy(distributed=True, competes_with_teacher=True)
HARMLESS = Policy(distributed=False, competes_with_teacher=False)


def teacher(**facts: Any) -> TeacherFacts:
    plain = TeacherFacts(name="t", model="SmolLM2-135M-Instruct", channel="weights:local", base_url=LOCAL)
    return replace(plain, **facts)


def gate(
    facts: TeacherFacts,
    *licenses: str,
    policy: Policy = STRICT,
    overrides: Sequence[Override] = (),
    register: Register = SHIPPED,
) -> TermsDecision:
    return decide(register, facts, licenses or ["CC0-1.0"], policy, overrides, TODAY)


def said(terms_id: str, train_use: str, *obligations: str, **changes: Any) -> TermsEntry:
    """A licence that holds when named, for weights and, under the same id in upper case, for prompts."""
    return TermsEntry.model_validate(
        {
            "id": terms_id,
            "version": "1",
            "kind": "model",
            "title": "A licence",
            "models": ["*"],
            "channels": ["weights:*"],
            "url": "https://example.com/terms",
            "effective": None,
            "seen": TODAY,
            "train_use": train_use,
            "obligations": obligations,
            "reason": "It says so.",
            **changes,
        }
    )


def register_of(*entries: TermsEntry, shipped: bool = False) -> Register:
    return Register.of((entry, Origin("test.yaml", shipped)) for entry in entries)


def as_prompts(terms_id: str, train_use: str, *obligations: str) -> TermsEntry:
    return said(terms_id, train_use, *obligations, kind="prompt_license", channels=["prompts"])


def obligation_for(train_use: str) -> tuple[str, ...]:
    return ("attribution",) if train_use == "allow_with" else ()


# The most restrictive wins


@pytest.mark.parametrize("one", TRAIN_USES)
@pytest.mark.parametrize("other", TRAIN_USES)
@pytest.mark.parametrize("place", ["terms", "base_model", "base_of_an_entry", "prompts"])
def test_the_most_restrictive_wins_wherever_it_stands(one: str, other: str, place: str) -> None:
    first = said("one", one, *obligation_for(one), base_terms=["other"] if place == "base_of_an_entry" else [])
    second = (as_prompts if place == "prompts" else said)("other", other, *obligation_for(other))
    facts = teacher(
        model="m",
        terms_ids=("one", "other") if place == "terms" else ("one",),
        base_models=("other",) if place == "base_model" else (),
    )
    free = as_prompts("free", "allow")
    licenses = ["free", "other"] if place == "prompts" else ["free"]
    found = decide(register_of(first, second, free), facts, licenses, STRICT, [], TODAY)
    assert found.train_use == max(one, other, key=TRAIN_USES.index)
    assert found.permitted is (found.train_use in ("allow", "allow_with"))


def test_unknown_stands_between_what_a_policy_can_lift_and_what_is_forbidden() -> None:
    assert TRAIN_USES == ("allow", "allow_with", "deny_competing", "unknown", "deny")


@pytest.mark.parametrize(
    ("train_use", "competes", "permitted"),
    [
        ("allow", True, True),
        ("allow_with", True, True),
        ("deny_competing", True, False),
        ("deny_competing", False, True),
        ("unknown", True, False),
        ("unknown", False, False),
        ("deny", True, False),
        ("deny", False, False),
    ],
)
def test_only_deny_competing_asks_whether_the_student_competes(train_use: str, competes: bool, permitted: bool) -> None:
    register = register_of(said("one", train_use, *obligation_for(train_use)), as_prompts("free", "allow"))
    policy = Policy(distributed=True, competes_with_teacher=competes)
    found = decide(register, teacher(model="m", terms_ids=("one",)), ["free"], policy, [], TODAY)
    assert found.permitted is permitted


def test_a_policy_is_taken_at_its_strictest_unless_it_says_otherwise() -> None:
    assert Policy() == STRICT


def test_a_base_of_a_base_counts() -> None:
    entries = [said("a", "allow", base_terms=["b"]), said("b", "allow", base_terms=["c", "a"]), said("c", "deny")]
    found = decide(register_of(*entries), teacher(model="m", terms_ids=("a",)), [], STRICT, [], TODAY)
    assert (found.train_use, found.permitted) == ("deny", False)


# Hosts


@pytest.mark.parametrize(
    ("facts", "train_use", "obligations"),
    [
        ({"model": "Qwen3-8B"}, "deny_competing", ()),
        ({"model": "Llama-3.1-8B"}, "deny_competing", ("display_text", "name_prefix", "user_cap")),
        ({"model": "Llama-2-7b"}, "deny", ()),
        ({"model": "mine", "terms_ids": ("weights-mit",)}, "deny_competing", ()),
        ({"model": "mine"}, "unknown", ()),
    ],
)
def test_a_host_adds_its_own_ban_on_competing_models_to_the_models_licence(
    facts: dict[str, Any], train_use: str, obligations: tuple[str, ...]
) -> None:
    found = gate(teacher(channel="host:together", base_url=TOGETHER, **facts), policy=HARMLESS)
    assert (found.train_use, found.obligations) == (train_use, obligations)
    assert found.permitted is (train_use == "deny_competing")


@pytest.mark.parametrize(
    ("base_url", "channel", "entry"),
    [
        (OPENAI, "api:openai", "openai-api"),
        ("https://eu.api.openai.com/v1", "api:openai", "openai-api"),
        ("https://API.OPENAI.COM./v1", "api:openai", "openai-api"),
        (TOGETHER, "host:together", "together"),
    ],
)
def test_a_known_host_brings_its_entry_in_though_the_config_does_not_name_it(
    base_url: str, channel: str, entry: str
) -> None:
    assert entry in dict(gate(teacher(base_url=base_url, channel=channel, terms_ids=())).entries)


def test_a_channel_brings_its_entry_in_behind_a_proxy_of_ones_own() -> None:
    found = gate(teacher(base_url="http://localhost:4000", channel="api:openai"))
    assert (found.train_use, found.permitted) == ("deny_competing", False)


@pytest.mark.parametrize(
    "base_url", [LOCAL, "http://localhost:8080/v1", "http://10.0.0.5:8000/v1", "http://vllm:8000/v1", "http://[::1]/v1"]
)
def test_weights_on_a_machine_of_the_users_own_network_need_no_entry_for_it(base_url: str) -> None:
    assert gate(teacher(base_url=base_url)).permitted


@pytest.mark.parametrize(
    ("base_url", "channel"),
    [
        ("https://gpu.example.com/v1", "weights:local"),
        ("https://openrouter.example/api/v1", "api:deepseek"),
        ("https://chat.deepseek.com/v1", "api:deepseek"),
        ("https://8.8.8.8/v1", "weights:local"),
    ],
)
def test_a_public_host_that_nobody_listed_is_unknown(base_url: str, channel: str) -> None:
    found = gate(teacher(base_url=base_url, channel=channel), policy=HARMLESS)
    assert (found.train_use, found.permitted) == ("unknown", False)
    assert any("no entry says whose machine" in reason for reason in found.reasons)


def test_an_entry_of_ones_own_makes_a_public_host_known() -> None:
    ours = said("gpu", "allow", kind="channel", hosts=["gpu.example.com"])
    register = Register.of([*((e, Origin("shipped", True)) for e in SHIPPED.entries), (ours, Origin("ours.yaml"))])
    assert gate(teacher(base_url="https://gpu.example.com/v1"), register=register).permitted
    assert not gate(teacher(base_url="https://gpu.example.com/v1", model="mine"), register=register).permitted


# The user's declaration


@pytest.mark.parametrize(
    ("facts", "train_use", "permitted"),
    [
        ({}, "allow", True),
        ({"base_url": "https://models.example.com/v1"}, "allow", True),
        ({"base_models": ("weights-apache-2.0",)}, "allow", True),
        ({"base_models": ("llama-3.1",)}, "allow_with", True),
        ({"base_models": ("llama-2",)}, "deny", False),
        ({"base_models": ("nobody-knows",)}, "unknown", False),
        ({"model": "Meta-Llama-3-8B-mine"}, "deny", False),
    ],
)
def test_own_weights_are_allowed_on_the_users_word_and_never_more_than_their_bases(
    facts: dict[str, Any], train_use: str, permitted: bool
) -> None:
    found = gate(teacher(**{"model": "mine", "terms_ids": ("own-model",), **facts}))
    assert (found.train_use, found.permitted, found.declaration) == (train_use, permitted, True)


def test_what_rests_on_a_licence_is_no_declaration() -> None:
    assert not gate(teacher()).declaration
    assert gate(teacher(), "own-prompts").declaration


# Contradictions


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"base_url": OPENAI}, "base_url is on api.openai.com, the host of openai-api"),
        ({"base_url": OPENAI, "terms_ids": ("own-model",), "model": "mine"}, "the host of openai-api"),
        ({"base_url": "http://localhost@api.openai.com/v1"}, "the host of openai-api"),
        ({"base_url": TOGETHER}, "the host of together"),
        ({"base_url": TOGETHER, "channel": "api:openai"}, "the host of together"),
        ({"base_url": TOGETHER, "channel": "host:fireworks"}, "the host of together"),
        ({"base_url": OPENAI, "channel": "api:opanai"}, "the host of openai-api"),
        ({"model": "gpt-2"} | {"terms_ids": ("smollm2-apache-2.0",)}, "'smollm2-apache-2.0' covers smollm2*"),
        ({"model": "Qwen2.5-72B", "terms_ids": ("qwen-apache-2.0",)}, "name that model's terms"),
        ({"model": "DeepSeek-R1-Distill-Llama-8B", "terms_ids": ("deepseek-r1-mit",)}, "name that model's terms"),
        ({"terms_ids": ("openai-api",)}, "'openai-api' covers the channels api:openai; the config says"),
        ({"terms_ids": ("Apache-2.0",)}, "'Apache-2.0' covers the channels prompts; the config says"),
        ({"terms_ids": ("own-prompts",)}, "'own-prompts' covers the channels prompts"),
        ({"channel": "host:together", "terms_ids": ("own-model",)}, "'own-model' covers the channels weights:*"),
        ({"channel": "api:openai", "base_url": OPENAI, "terms_ids": ("own-model",)}, "'own-model' covers the channels"),
    ],
)
def test_a_config_that_contradicts_the_register_is_an_error(facts: dict[str, Any], message: str) -> None:
    signed = Override(approver="Ann", reason="she said so", scope="t", expires=TODAY)
    with pytest.raises(ConfigError, match="contradicts the terms register") as caught:
        gate(teacher(**facts), policy=HARMLESS, overrides=[signed])
    assert message in str(caught.value)


def test_every_contradiction_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        gate(teacher(base_url=OPENAI, terms_ids=("openai-api", "llama-2")))
    assert str(caught.value).count("\n- ") == 3


def test_a_terms_id_that_nobody_knows_is_refused_with_its_neighbours() -> None:
    found = gate(teacher(model="mine", terms_ids=("own-modle",)), policy=HARMLESS)
    assert (found.train_use, found.permitted) == ("unknown", False)
    assert any("'own-modle' is not in the register; nearest known: own-model" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("licenses", "distributed", "contradicts"),
    [
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], True, True),
        (["CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"], True, True),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], False, False),
        (["CC-BY-NC-SA-4.0"], True, False),
        (["CC-BY-NC-SA-4.0", "CC-BY-NC-4.0"], True, False),
        (["CC-BY-SA-4.0", "CC-BY-4.0"], True, False),
    ],
)
def test_share_alike_and_noncommercial_do_not_meet_in_one_distributed_student(
    licenses: list[str], distributed: bool, contradicts: bool
) -> None:
    policy = Policy(distributed=distributed, competes_with_teacher=False)
    if contradicts:
        with pytest.raises(ConfigError, match="harvest them as two jobs"):
            gate(teacher(), *licenses, policy=policy)
    else:
        assert gate(teacher(), *licenses, policy=policy).permitted


# Obligations against the policy


@pytest.mark.parametrize(
    ("obligation", "distributed", "competes", "permitted"),
    [
        ("attribution", True, True, True),
        ("notice_text", True, True, True),
        ("name_prefix", True, True, True),
        ("display_text", True, True, True),
        ("use_restrictions_flowdown", True, True, True),
        ("share_alike", True, True, True),
        ("user_cap", True, True, True),
        ("noncommercial", True, True, False),
        ("noncommercial", True, False, True),
        ("noncommercial", False, True, True),
        ("internal_only", True, False, False),
        ("internal_only", False, True, True),
        ("no_redistribution", True, False, False),
        ("no_redistribution", False, True, True),
    ],
)
def test_an_obligation_that_the_policy_breaks_is_refused(
    obligation: str, distributed: bool, competes: bool, permitted: bool
) -> None:
    policy = Policy(distributed=distributed, competes_with_teacher=competes)
    facts = teacher(model="m", terms_ids=("one",))
    found = decide(register_of(said("one", "allow_with", obligation)), facts, [], policy, [], TODAY)
    assert (found.permitted, found.train_use, found.obligations) == (permitted, "allow_with", (obligation,))


def test_obligations_of_all_sources_add_up_once_each_and_sorted() -> None:
    llama = teacher(model="Llama-3.1-8B", base_models=("gemma-terms",))
    found = gate(llama, "CC-BY-SA-4.0", "CC-BY-4.0", "MIT")
    assert found.obligations == (
        "attribution",
        "display_text",
        "name_prefix",
        "notice_text",
        "share_alike",
        "use_restrictions_flowdown",
        "user_cap",
    )


# Overrides

GPT = {"model": "gpt-5.2", "channel": "api:openai", "base_url": OPENAI}


@pytest.mark.parametrize(
    ("scope", "days_left", "licenses", "permitted", "why"),
    [
        ("t", 30, ["CC0-1.0"], True, ""),
        ("t", 0, ["CC0-1.0"], True, ""),
        ("t", -1, ["CC0-1.0"], False, "expired on 2026-11-23 and today is 2026-11-24"),
        ("openai-api", 30, ["CC0-1.0"], True, ""),
        ("OpenAI-API", 30, ["CC0-1.0"], True, ""),
        ("openai-api", -1, ["CC0-1.0"], False, "expired on"),
        ("anthropic-api", 30, ["CC0-1.0"], False, "does not reach all of this; the scope 't' would"),
        ("another-teacher", 30, ["CC0-1.0"], False, "does not reach all of this"),
        ("T", 30, ["CC0-1.0"], False, "does not reach all of this"),
        ("*", 30, ["CC0-1.0"], False, "does not reach all of this"),
        ("openai-api", 30, ["secret"], False, "does not reach all of this"),
        ("secret", 30, ["secret"], False, "does not reach all of this"),
        ("t", 30, ["secret"], True, ""),
    ],
)
def test_an_override_permits_what_it_names_until_it_expires(
    scope: str, days_left: int, licenses: list[str], permitted: bool, why: str
) -> None:
    signed = Override(approver="Ann", reason="letter of 3 May", scope=scope, expires=TODAY + timedelta(days_left))
    found = gate(teacher(**GPT), *licenses, overrides=[signed])
    assert found.permitted is permitted
    assert found.override == (signed if permitted else None)
    assert found.train_use == ("unknown" if "secret" in licenses else "deny_competing")
    (line,) = [reason for reason in found.reasons if reason.startswith("override by Ann for ")]
    assert "letter of 3 May" in line
    assert line.endswith(" applies") if permitted else why in line


@pytest.mark.parametrize("train_use", ["deny_competing", "unknown", "deny"])
def test_a_signed_override_lifts_every_kind_of_refusal_but_no_obligation(train_use: str) -> None:
    signed = Override(approver="Ann", reason="written permission", scope="one", expires=TODAY)
    register = register_of(said("one", train_use, "attribution"))
    found = decide(register, teacher(model="m", terms_ids=("one",)), [], STRICT, [signed], TODAY)
    assert (found.permitted, found.train_use, found.obligations) == (True, train_use, ("attribution",))


def test_two_overrides_that_each_reach_half_do_not_add_up() -> None:
    halves = [
        Override(approver="Ann", reason="r", scope=scope, expires=TODAY) for scope in ("openai-api", "CC-BY-NC-4.0")
    ]
    found = gate(teacher(**GPT), "CC-BY-NC-4.0", overrides=halves)
    assert not found.permitted
    assert sum("does not reach all of this" in reason for reason in found.reasons) == 2


def test_an_override_that_nothing_needs_is_not_sealed() -> None:
    signed = Override(approver="Ann", reason="r", scope="t", expires=TODAY)
    found = gate(teacher(), overrides=[signed])
    assert (found.permitted, found.override) == (True, None)


def test_one_teachers_override_does_not_reach_another() -> None:
    signed = Override(approver="Ann", reason="r", scope="first", expires=TODAY)
    assert gate(teacher(**GPT, name="first"), overrides=[signed]).permitted
    assert not gate(teacher(**GPT, name="second"), overrides=[signed]).permitted


def test_a_teacher_named_like_a_terms_id_can_not_carry_its_override_to_others() -> None:
    signed = Override(approver="Ann", reason="r", scope="openai-api", expires=TODAY)
    with pytest.raises(ConfigError, match="rename the teacher"):
        gate(teacher(**GPT, name="openai-api"), overrides=[signed])


@pytest.mark.parametrize("missing", ["approver", "reason", "scope", "expires"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_override_without_a_name_reason_scope_or_expiry_is_no_override(missing: str, value: str | None) -> None:
    fields: dict[str, Any] = {"approver": "Ann", "reason": "r", "scope": "t", "expires": "2026-12-31"}
    with pytest.raises(ValidationError, match=missing):
        Override.model_validate({**fields, missing: value})


# What the decision rests on


def test_a_decision_names_the_entries_and_digests_that_it_rests_on() -> None:
    found = gate(teacher())
    assert [terms_id for terms_id, _ in found.entries] == ["CC0-1.0", "smollm2-apache-2.0"]
    for terms_id, sha256 in found.entries:
        entry = SHIPPED.get(terms_id)
        assert entry is not None
        assert SHIPPED.sealed_text(sha256) == entry.canonical_text()


def test_a_users_version_is_never_used_without_a_word() -> None:
    kinder = said("xai-api", "allow", kind="channel", channels=["api:xai"], version="9", effective=TODAY)
    register = Register.of(
        [*((entry, SHIPPED.origins[entry.key]) for entry in SHIPPED.entries), (kinder, Origin("ours/xai.yaml"))]
    )
    found = gate(teacher(model="grok", channel="api:xai", base_url=None), register=register)
    assert found.permitted
    assert any("[ours/xai.yaml, in place of the shipped version 2026-05-12: deny]" in line for line in found.reasons)


def test_an_entry_under_another_id_does_not_push_the_shipped_one_aside() -> None:
    kinder = said("our-openai", "allow", kind="channel", channels=["api:openai", "weights:*"], hosts=["api.openai.com"])
    register = Register.of([*((entry, Origin("s", True)) for entry in SHIPPED.entries), (kinder, Origin("ours.yaml"))])
    found = gate(teacher(**GPT, terms_ids=("our-openai",)), register=register)
    assert (found.train_use, found.permitted) == ("deny_competing", False)
    with pytest.raises(ConfigError, match="the host of openai-api"):
        gate(teacher(base_url=OPENAI), register=register)


def test_terms_that_are_still_to_come_do_not_count_yet() -> None:
    coming = said("one", "allow", effective=TODAY + timedelta(1))
    found = decide(register_of(coming), teacher(model="m", terms_ids=("one",)), [], HARMLESS, [], TODAY)
    assert (found.train_use, found.permitted) == ("unknown", False)


# Properties

OBLIGATIONS = ("attribution", "notice_text", "noncommercial", "share_alike", "internal_only", "user_cap")


@st.composite
def licences(draw: st.DrawFn) -> list[TermsEntry]:
    """Up to five licences of weights (w0, w1, …) and of prompts (p0, p1, …)."""
    entries = []
    for number in range(draw(st.integers(1, 5))):
        for prefix, build in (("w", said), ("p", as_prompts)):
            obligations = draw(st.lists(st.sampled_from(OBLIGATIONS), max_size=3))
            uses = [use for use in TRAIN_USES if use not in ("allow", "allow_with")]
            train_use = draw(st.sampled_from([*uses, "allow_with"] if obligations else [*uses, "allow"]))
            entries.append(build(f"{prefix}{number}", train_use, *obligations))
    return entries


POLICIES = st.builds(Policy, distributed=st.booleans(), competes_with_teacher=st.booleans())


def decided(
    entries: Sequence[TermsEntry], ids: Sequence[str], policy: Policy, overrides: Sequence[Override] = ()
) -> TermsDecision | None:
    """The first w-id is named in terms, the rest are base models; None for a contradiction, which permits nothing."""
    weights = tuple(terms_id for terms_id in ids if terms_id.startswith("w"))
    facts = teacher(model="m", terms_ids=weights[:1], base_models=weights[1:])
    try:
        prompts = [terms_id for terms_id in ids if terms_id.startswith("p")]
        return decide(register_of(*entries), facts, prompts, policy, overrides, TODAY)
    except ConfigError:
        return None


@settings(max_examples=200)
@given(licences(), POLICIES, st.data())
def test_one_more_licence_never_permits_more(entries: list[TermsEntry], policy: Policy, data: st.DataObject) -> None:
    ids = [entry.id for entry in entries] + ["w-unlisted", "p-unlisted"]
    more = ["w0", *data.draw(st.lists(st.sampled_from(ids), unique=True))]
    fewer = ["w0", *data.draw(st.lists(st.sampled_from(more), unique=True))]
    less, greater = decided(entries, fewer, policy), decided(entries, more, policy)
    if greater is None:
        return
    assert less is not None
    assert TRAIN_USES.index(less.train_use) <= TRAIN_USES.index(greater.train_use)
    assert set(less.obligations) <= set(greater.obligations)
    assert less.permitted or not greater.permitted


@settings(max_examples=100)
@given(licences(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_entries_licences_and_bases_does_not_matter(
    entries: list[TermsEntry], policy: Policy, random: Any
) -> None:
    ids = [entry.id for entry in entries]
    expected = decided(entries, ids, policy)
    shuffled, mixed = list(entries), ids[1:]
    random.shuffle(shuffled)
    random.shuffle(mixed)
    assert decided(shuffled, [ids[0], *mixed], policy) == expected


@settings(max_examples=100)
@given(licences(), POLICIES)
def test_obligations_are_the_union_and_the_use_is_the_maximum(entries: list[TermsEntry], policy: Policy) -> None:
    found = decided(entries, [entry.id for entry in entries], policy)
    if found is not None:
        assert set(found.obligations) == {name for entry in entries for name in entry.obligations}
        assert found.train_use == max((entry.train_use for entry in entries), key=TRAIN_USES.index)


@settings(max_examples=100)
@given(licences(), POLICIES, st.sampled_from(["t", "w0", "p0", "other"]), st.integers(-2, 2))
def test_an_override_changes_nothing_but_the_permission(
    entries: list[TermsEntry], policy: Policy, scope: str, days_left: int
) -> None:
    ids = [entry.id for entry in entries]
    signed = Override(approver="Ann", reason="r", scope=scope, expires=TODAY + timedelta(days_left))
    without, with_it = decided(entries, ids, policy), decided(entries, ids, policy, [signed])
    if without is None or with_it is None:
        assert without == with_it
        return
    unchanged = {"teacher", "train_use", "obligations", "entries", "declaration"}
    assert without.model_dump(include=unchanged) == with_it.model_dump(include=unchanged)
    assert with_it.permitted or not without.permitted
    if with_it.permitted and not without.permitted:
        assert days_left >= 0
        assert scope in ("t", "w0", "p0")


SEALS = st.builds(
    SealedUse,
    st.sampled_from([*TRAIN_USES, "allow_on_mondays"]),
    st.lists(st.sampled_from([*OBLIGATIONS, "sing"]), max_size=3, unique=True).map(tuple),
)


@settings(max_examples=200)
@given(licences(), POLICIES, SEALS, st.sampled_from([None, "t", "w0"]))
def test_a_seal_only_ever_makes_a_decision_stricter(
    entries: list[TermsEntry], policy: Policy, sealed: SealedUse, scope: str | None
) -> None:
    facts = teacher(model="m", terms_ids=("w0",))
    signed = [Override(approver="Ann", reason="r", scope=scope, expires=TODAY)] if scope else []
    register = register_of(*entries)
    try:
        plain = decide(register, facts, ["p0"], policy, signed, TODAY)
    except ConfigError:
        return
    found = decide(register, facts, ["p0"], policy, signed, TODAY, sealed)
    assert TRAIN_USES.index(found.train_use) >= TRAIN_USES.index(plain.train_use)
    assert set(found.obligations) >= set(plain.obligations)
    assert plain.permitted or not found.permitted
    assert found.entries == plain.entries
    if sealed.train_use not in TRAIN_USES or "sing" in sealed.obligations:
        assert found.train_use in ("unknown", "deny")


@settings(max_examples=100)
@given(licences(), POLICIES, st.sampled_from([None, "t", "w0"]))
def test_a_seal_that_says_what_the_entries_say_changes_nothing(
    entries: list[TermsEntry], policy: Policy, scope: str | None
) -> None:
    facts = teacher(model="m", terms_ids=("w0",))
    signed = [Override(approver="Ann", reason="r", scope=scope, expires=TODAY)] if scope else []
    register = register_of(*entries)
    try:
        plain = decide(register, facts, ["p0"], policy, signed, TODAY)
    except ConfigError:
        return
    sealed = SealedUse(plain.train_use, plain.obligations)
    assert decide(register, facts, ["p0"], policy, signed, TODAY, sealed) == plain
