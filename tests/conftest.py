"""What holds for every test: hypothesis draws the same examples on every run and machine, and keeps no clock."""

import itertools
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings

from tutelage.schemas.identity import leaf_sha256, row_id
from tutelage.schemas.rows import Completion

# Read by numpy when it is first imported: the tests' matrices are small, and two processes of them have two cores.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A loaded two-core machine misses any deadline now and then, and a red build has to mean the same thing to everybody.
settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("reproducible")


@pytest.fixture(name="completion", scope="session")
def _completion() -> Callable[..., Completion]:
    """Builds rows of completions, each of another request; a test names only the columns that it is about."""
    numbers = itertools.count()

    def build(**columns: Any) -> Completion:
        number = next(numbers)
        request = columns.pop("request_id", f"{number:064x}")
        row = Completion(
            row_id=row_id(request),
            request_id=request,
            prompt_id=f"p{number}",
            messages=[("user", f"question {number}")],
            response=f"answer {number}",
            reasoning=None,
            tool_calls=None,
            outcome="ok",
            outcome_cause=None,
            finish_reason="stop",
            teacher="smollm2",
            model_requested="SmolLM2-135M-Instruct",
            model_reported="smollm2.gguf",
            revision="b179c952",
            channel="weights:local",
            provider_request_id=f"chatcmpl-{number}",
            system_fingerprint=None,
            sampling='{"max_tokens":64}',
            sample_index=0,
            prompt_tokens=12,
            completion_tokens=5,
            cached_tokens=None,
            reasoning_tokens=None,
            cost_usd=Decimal("0.000001500000"),
            latency_ms=120,
            attempts=1,
            created_at=datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=number),
            run_id="20261123T120000Z-abcdef",
            prompt_source="prompts.jsonl",
            prompt_source_row=number,
            prompt_license="CC0-1.0",
            terms_id="CC0-1.0;smollm2-apache-2.0",
            train_use="allow",
            obligations=[],
            code_version="tutelage 0.1.0",
            tokens=None,
            top_logprobs=None,
            salt=secrets.token_hex(16),
            leaf_sha256="",
        )._replace(**columns)
        return row if row.leaf_sha256 else row._replace(leaf_sha256=leaf_sha256(row))

    return build
