"""Which sampling a protocol can express: found out at plan time, before a call is paid for."""

from collections.abc import Mapping
from typing import Any

from tutelage.pipelines.teachers.protocol import TeacherProtocol
from tutelage.pipelines.teachers.response_format import problems_of

OURS = frozenset({"model", "messages", "prompt", "system", "stream", "n", "best_of", "echo"})
"""Body fields that a reply is read by: one request is one whole answer to the planned messages."""


def check_sampling(protocol: TeacherProtocol, sampling: Mapping[str, Any]) -> list[str]:
    """What is wrong, one sentence each; an empty list where all of it can be asked."""
    given = {key for key, value in sampling.items() if value is not None}
    problems = [
        f"{protocol.name} has no {key!r}; take it out of sampling for this teacher"
        for key in sorted(given - protocol.accepts)
    ]
    extra = sampling.get("extra") or {}
    problems += [
        f"extra sets {key!r}, which tutelage sets itself from the plan; take it out of extra"
        for key in sorted(OURS & extra.keys())
    ]
    problems += [
        f"extra sets {key!r}, which is a sampling key of its own; move it out of extra"
        for key in sorted((protocol.accepts - {"extra"}) & extra.keys())
    ]
    limit = extra.get("max_completion_tokens")
    if limit is not None and limit != sampling.get("max_tokens"):
        problems.append(
            f"extra.max_completion_tokens is {limit}, max_tokens is {sampling.get('max_tokens')}; "
            "give both the same number: max_tokens is the limit, sent under the other name"
        )
    if "response_format" in given and "response_format" in protocol.accepts:
        problems += problems_of(sampling["response_format"])
    if protocol.name == "anthropic-messages" and "max_tokens" not in given:
        problems.append("anthropic-messages needs max_tokens; set it in sampling")
    return problems
