"""A student's folder as a page reads it: run.json, metrics.jsonl and evaluation.json, with no model behind them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

DIGEST = "3f" * 32


def run_record(**changed: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "contract": "student-run/1",
        "student": {
            "name": "tides-16m",
            "files": {"model.safetensors": DIGEST, "config.json": "ab" * 32},
            "exported_step": 180,
        },
        "dataset": {
            "uri": "harvests/demo-curated",
            "merkle_root": "0d" * 32,
            "manifest_sha256": "1e" * 32,
            "tombstone_head": None,
            "policy_sha256": "2c" * 32,
            "parents": [],
        },
        "config": {"version": 1, "student": {"name": "tides-16m"}, "training": {"epochs": 3.0, "seed": 7}},
        "config_sha256": "4b" * 32,
        "code_version": "tutelage 0.1.0",
        "base": {"kind": "fresh", "source": "embedded", "sha256": "5a" * 32, "description": "a fresh Llama, 16M"},
        "tokenizer": {"sha256": "6a" * 32, "chat_template_sha256": "7a" * 32},
        "parts": {"torch": "2.13.0", "transformers": "5.23.0"},
        "seeds": {"training": 7},
        "started_at": "2026-11-25T10:00:00+00:00",
        "ended_at": "2026-11-25T10:04:30+00:00",
        "steps": 200,
        "tokens": 400_000,
        "trained_tokens": 200_000,
        "losses": [],
        "evaluations": [],
        "teachers": [
            _teacher("smollm2", 900, 150_000, "allow", []),
            _teacher("aurora-large", 300, 50_000, "allow_with", ["notice_text", "name_prefix"]),
        ],
        "duties": [
            {
                "obligation": "notice_text",
                "detail": "Built with Aurora. Copyright the Aurora makers.",
                "teachers": ["aurora-large"],
                "terms_ids": ["aurora-terms/2"],
                "urls": [],
            }
        ],
        "training_rows": {"rows": 3600, "merkle_root": "8a" * 32, "sha256": "9a" * 32},
        "device": "cpu",
        "notes": [],
    }
    return {**record, **changed}


def metric_lines(steps: int = 200, every: int = 20) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [_tested(0, 5.6)]
    for step in range(1, steps + 1):
        loss = 2.1 + 3.4 * math.exp(-step / 40) + 0.05 * math.sin(step)
        lines.append(
            {
                "kind": "step",
                "step": step,
                "epoch": step * 3 // steps,
                "loss": loss,
                "trained_tokens": 1000,
                "tokens": 2000,
                "rows": 18,
                "fill": 0.98,
                "learning_rate": 3e-4,
                "gradient_norm": 1.2,
                "seconds": 1.3,
                "tokens_per_s": 1540.0,
                "memory_bytes": 10**9,
            }
        )
        if step % every == 0:
            lines.append(_tested(step, 2.4 + 3.2 * math.exp(-step / 40)))
    return lines


def evaluation(**changed: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "contract": "evaluation/1",
        "code_version": "tutelage 0.1.0",
        "config": {"version": 1, "student": "students/tides"},
        "student": {"name": "tides-16m", "files": run_record()["student"]["files"], "run_sha256": "cc" * 32},
        "base": {"description": "a fresh Llama, 16M", "sha256": "5a" * 32},
        "teacher": {"kind": "harvested", "description": "logprobs of its own tokens, as they were harvested"},
        "held_out": {
            "rows": 120,
            "of_rows": 120,
            "groups": 60,
            "grouped_by": "prompt_cluster",
            "columns": {
                "teacher": _column(118, 9_000, 0.8, 0.22),
                "student": _column(120, 9_400, 2.4, 0.66),
                "base": _column(120, 9_400, 5.6, 1.54),
            },
            "student_minus": {"base": {"bits_per_byte": _figure(-0.88, 0.04), "loss_per_token": _figure(-3.2, 0.1)}},
            "student_wins_over_base": {"rows": _wins(120, 118, 1), "groups": _wins(60, 60, 0)},
            "agreement": {
                "positions": 9_280,
                "with": "harvested",
                "columns": {
                    "student": {"same_top": _figure(0.61, 0.02), "kl_nats": _figure(1.1, 0.05)},
                    "base": {"same_top": _figure(0.02, 0.01), "kl_nats": _figure(4.9, 0.1)},
                },
            },
            "by_teacher": {
                name: {"student": _column(60, 4_700, 2.4, 0.66), "base": _column(60, 4_700, 5.6, 1.54)}
                for name in ("aurora-large", "smollm2")
            },
        },
        "tasks": [
            {
                "name": "sums",
                "scorer": "gsm8k",
                "questions": 50,
                "of_questions": 1319,
                "columns": {"student": {"score": _figure(0.3, 0.1)}, "base": {"score": _figure(0.02, 0.02)}},
                "student_against_base": {"better": 15, "worse": 1, "same": 34, "p_value": 0.0005},
            }
        ],
        "notes": ["the teacher's column is what it thought of the tokens that it had just drawn itself"],
    }
    return {**content, **changed}


def write_student(
    folder: Path,
    run: dict[str, Any] | None = None,
    metrics: list[dict[str, Any]] | None = None,
    evaluated: dict[str, Any] | None = None,
) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run_record() if run is None else run))
    lines = metric_lines() if metrics is None else metrics
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if evaluated is not None:
        (folder / "evaluation.json").write_text(json.dumps(evaluated))
    return str(folder)


def with_strings(content: Any, text: str) -> Any:
    """The same JSON with every string in it, but for those that say what kind of thing it is, replaced."""
    kept = {"kind", "contract", "grouped_by", "with"}
    if isinstance(content, dict):
        return {key: value if key in kept else with_strings(value, text) for key, value in content.items()}
    if isinstance(content, list):
        return [with_strings(value, text) for value in content]
    return text if isinstance(content, str) else content


def _teacher(name: str, rows: int, tokens: int, use: str, obligations: list[str]) -> dict[str, Any]:
    return {
        "teacher": name,
        "rows": rows,
        "tokens_trained": tokens,
        "terms_ids": ["CC0-1.0", f"{name}-terms/2"],
        "train_use": use,
        "obligations": obligations,
        "override": {"approver": "J. Doe", "reason": "asked", "expires": "2027-01-01"} if obligations else None,
    }


def _tested(step: int, loss: float) -> dict[str, Any]:
    return {
        "kind": "evaluation",
        "step": step,
        "loss": loss,
        "bits_per_byte": loss / math.log(2) / 5.2,
        "trained_tokens": 9_400,
    }


def _figure(value: float, half: float) -> dict[str, Any]:
    return {"value": value, "interval": [value - half, value + half], "rows": 120, "groups": 60}


def _column(rows: int, tokens: int, loss: float, bits: float) -> dict[str, Any]:
    return {
        "rows": rows,
        "tokens": tokens,
        "text_bytes": 5 * tokens,
        "loss_per_token": _figure(loss, 0.05),
        "bits_per_byte": _figure(bits, 0.02),
    }


def _wins(of: int, won: int, lost: int) -> dict[str, Any]:
    share = {"value": won / (won + lost), "interval": [0.95, 0.999], "rows": won + lost}
    return {"of": of, "won": won, "lost": lost, "tied": of - won - lost, "share": share, "p_value": 1e-30}
