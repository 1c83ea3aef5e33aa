"""The stub teacher tells the truth when nothing else is asked of it, and each of its lies is the lie that it says."""

from __future__ import annotations

import gzip
import http.client
import json
import math
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import stub_teacher
from stub_answers import HONOURS
from stub_faults import Fault, Scheduled
from stub_teacher import StubTeacher, unused_port

KEY = "sk-planted-0123456789"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return str(self.document["choices"][0]["message"]["content"])

    @property
    def finish(self) -> str:
        return str(self.document["choices"][0]["finish_reason"])


def post(stub: StubTeacher, path: str, asked: dict[str, Any]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=5)
    try:
        connection.request("POST", f"/v1{path}", json.dumps(asked), {"authorization": f"Bearer {KEY}"})
        reply = connection.getresponse()
        headers = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, headers, reply.read())
    finally:
        connection.close()


def ask(stub: StubTeacher, prompt: str, **sampling: Any) -> Answer:
    return post(
        stub, "/chat/completions", {"model": "m", "messages": [{"role": "user", "content": prompt}], **sampling}
    )


def raw(stub: StubTeacher, prompt: str) -> socket.socket:
    """A connection on which the prompt has been asked, and nothing read."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]})
    connection = socket.create_connection(("127.0.0.1", stub.port), timeout=5)
    connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    return connection


def read_until(connection: socket.socket, ending: bytes) -> bytes:
    got = b""
    while not got.endswith(ending):
        more = connection.recv(1 << 16)
        if not more:
            break
        got += more
    return got


@pytest.fixture(scope="module")
def stub() -> Iterator[StubTeacher]:
    with StubTeacher() as running:
        yield running


def test_an_answer_is_a_function_of_the_prompt_and_the_seed(stub: StubTeacher) -> None:
    first = ask(stub, "What is a whale?", seed=7)
    assert first.text == ask(stub, "What is a whale?", seed=7).text
    assert len({first.text, ask(stub, "What is a whale?", seed=8).text, ask(stub, "What is a seal?", seed=7).text}) == 3


def test_a_chat_answer_has_every_field_that_openai_documents(stub: StubTeacher) -> None:
    answer = ask(stub, "one two three")
    assert answer.document["object"] == "chat.completion"
    assert answer.document["model"] == "m"
    assert answer.document["usage"]["prompt_tokens"] == 3
    assert answer.document["usage"]["completion_tokens"] == len(answer.text.split())
    assert answer.finish == "stop"
    assert answer.headers["x-request-id"].startswith("req_")


def test_completions_and_messages_have_their_own_shapes(stub: StubTeacher) -> None:
    completion = post(stub, "/completions", {"model": "m", "prompt": "Once", "logprobs": 2}).document
    assert completion["object"] == "text_completion"
    logprobs = completion["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == completion["choices"][0]["text"]
    assert [len(top) for top in logprobs["top_logprobs"]] == [2] * len(logprobs["tokens"])

    asked = {"model": "m", "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    message = post(stub, "/messages", asked)
    assert message.document["content"][0]["type"] == "text"
    assert message.document["stop_reason"] == "max_tokens"
    assert message.document["usage"]["output_tokens"] == 4
    assert message.headers["request-id"].startswith("req_")


def test_n_stop_max_tokens_and_logprobs_are_honoured_until_told_otherwise(stub: StubTeacher) -> None:
    whole = ask(stub, "count").text.split()
    answer = ask(stub, "count", n=3, stop=[whole[4]], logprobs=True, top_logprobs=2)
    assert [choice["index"] for choice in answer.document["choices"]] == [0, 1, 2]
    assert answer.text.split() == whole[:4]
    content = answer.document["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in content) == answer.text
    assert all(len(token["top_logprobs"]) == 2 and token["id"] == token["top_logprobs"][0]["id"] for token in content)
    assert all(sum(math.exp(top["logprob"]) for top in token["top_logprobs"]) < 1 for token in content)
    assert ask(stub, "count", max_tokens=2).text.split() == whole[:2]
    assert ask(stub, "count", max_tokens=2).finish == "length"


def test_what_is_not_honoured_is_ignored_with_status_200() -> None:
    with StubTeacher(honours=HONOURS - {"n", "stop", "logprobs", "seed"}) as deaf:
        first = ask(deaf, "count", n=3, stop=["a", "e", "i", "o"], logprobs=True, top_logprobs=2, seed=1)
        assert first.status == 200
        assert len(first.document["choices"]) == 1
        assert len(first.text.split()) == 8
        assert first.document["choices"][0]["logprobs"] is None
        assert first.text != ask(deaf, "count", seed=1).text


def test_say_puts_an_exact_text_in_the_answer(stub: StubTeacher) -> None:
    assert ask(stub, 'Give me JSON. [[say:{"a": [1, 2]}]]').text == '{"a": [1, 2]}'


def test_body_bytes_sets_the_length_of_an_answer() -> None:
    with StubTeacher(body_bytes=600) as long_winded:
        assert len(ask(long_winded, "hello").body) == pytest.approx(600, rel=0.1)


def test_counters_count_answers_and_not_lies() -> None:
    with StubTeacher() as counted:
        for prompt in ("a", "a", "b", "c [[fault:status=503]]", "d [[fault:html200]]", "e [[fault:cut_json]]"):
            ask(counted, prompt)
        stats = counted.stats()
    assert (stats["received"], stats["answered"], stats["in_flight"], stats["max_in_flight"]) == (6, 3, 0, 1)
    assert stats["by_status"] == {"200": 5, "503": 1}
    assert (stats["prompts_answered"], stats["most_answers_of_one_prompt"]) == (2, 2)
    assert counted.asked("[[fault:html200]]") == 1
    assert counted.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert counted.seen[0].json()["model"] == "m"
    assert counted.arrival_times == sorted(counted.arrival_times)


def test_an_answer_that_nobody_waited_for_is_not_counted() -> None:
    received = threading.Event()
    with StubTeacher(latency=30, on_request=lambda number: received.set()) as slow:
        connection = raw(slow, "hello")
        assert received.wait(5)
        connection.close()
        while slow.in_flight:  # ends when the server has seen the FIN
            time.sleep(0.001)
    assert (slow.received, slow.answered) == (1, 0)


def test_in_flight_is_what_waits_at_once() -> None:
    together = threading.Barrier(5)
    with StubTeacher(latency=0.1) as slow, ThreadPoolExecutor(5) as pool:

        def one(prompt: str) -> None:
            together.wait()
            ask(slow, prompt)

        list(pool.map(one, "abcde"))
    assert slow.max_in_flight == 5
    assert slow.in_flight == 0


def test_a_fault_with_times_ends_and_the_next_marker_takes_over(stub: StubTeacher) -> None:
    prompt = "flaky [[fault:status=503 times=2]] [[fault:html200 times=1]]"
    answers = [ask(stub, prompt) for _ in range(4)]
    assert [answer.status for answer in answers] == [503, 503, 200, 200]
    assert answers[2].headers["content-type"].startswith("text/html")
    assert answers[3].text


def test_a_misspelt_fault_is_answered_with_the_names_there_are(stub: StubTeacher) -> None:
    answer = ask(stub, "[[fault:html_200]]")
    assert answer.status == 400
    assert "html200" in answer.document["error"]["message"]
    with pytest.raises(ValueError, match="no fault is called"):
        Fault.parse("htlm200")
    with pytest.raises(ValueError, match="is no schedule"):
        Scheduled.parse("sometimes:html200")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("always:status=500", [500, 500, 500, 500]),
        ("at=2:status=500", [200, 500, 200, 200]),
        ("every=2:status=500", [200, 500, 200, 500]),
        ("after=2:status=500", [200, 200, 500, 500]),
    ],
)
def test_a_schedule_bites_by_the_number_of_the_request(schedule: str, expected: list[int]) -> None:
    with StubTeacher(faults=[schedule]) as scheduled:
        assert [ask(scheduled, "hello").status for _ in range(4)] == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 429, 500, 503, 529])
def test_every_status_comes_with_an_error_in_the_teachers_shape(stub: StubTeacher, status: int) -> None:
    openai = ask(stub, f"[[fault:status={status}]]")
    assert (openai.status, set(openai.document["error"])) == (status, {"type", "message", "param", "code"})
    asked = {"model": "m", "messages": [{"role": "user", "content": f"[[fault:status={status}]]"}]}
    assert post(stub, "/messages", asked).document["type"] == "error"


def test_retry_after_comes_in_both_forms(stub: StubTeacher) -> None:
    assert ask(stub, "[[fault:status=429 retry_after=3]]").headers["retry-after"] == "3"
    date = ask(stub, "[[fault:status=429 retry_after_date=60]]").headers["retry-after"]
    assert parsedate_to_datetime(date).timestamp() - time.time() == pytest.approx(60, abs=2)


def test_answers_that_are_no_good_are_what_their_names_say(stub: StubTeacher) -> None:
    assert ask(stub, "[[fault:html200]]").body.startswith(b"<!doctype html>")
    assert ask(stub, "[[fault:error_in_200]]").document["error"]["type"] == "server_error"
    assert ask(stub, "[[fault:empty_choices]]").document["choices"] == []
    assert ask(stub, "[[fault:empty_answer]]").text == ""
    assert ask(stub, "[[fault:filtered]]").finish == "content_filter"
    assert ask(stub, "[[fault:refused]]").document["choices"][0]["message"]["refusal"].startswith("I can't")
    assert ask(stub, "[[fault:wrong_model=other]]").document["model"] == "other"
    assert ask(stub, "[[fault:fingerprint=fp_2]]").document["system_fingerprint"] == "fp_2"
    assert ask(stub, "[[fault:truncated until=64]]", max_tokens=32).finish == "length"
    assert ask(stub, "[[fault:truncated until=64]]", max_tokens=64).finish == "stop"
    with pytest.raises(json.JSONDecodeError):
        _ = ask(stub, "[[fault:cut_json]]").document


def test_bytes_that_are_no_text_reach_the_wire(stub: StubTeacher) -> None:
    assert ask(stub, "[[fault:nul]]").text == "a zero byte: \0."
    assert ask(stub, "[[fault:lone_surrogate]]").text == "half a pair: \ud83d."
    with pytest.raises(UnicodeDecodeError):
        ask(stub, "[[fault:bad_utf8]]").body.decode()
    assert len(ask(stub, "[[fault:huge_body=2]]").body) > 2 << 20


def test_gzip_is_gzip_unless_it_is_told_to_lie(stub: StubTeacher) -> None:
    honest, broken = ask(stub, "[[fault:gzip]]"), ask(stub, "[[fault:gzip=broken]]")
    assert honest.headers["content-encoding"] == broken.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(honest.body))["model"] == "m"
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(broken.body)


@pytest.mark.parametrize("options", ["", " status=401"])
def test_the_key_is_echoed_in_the_body_and_in_two_headers(stub: StubTeacher, options: str) -> None:
    answer = ask(stub, f"[[fault:echo_key{options}]]")
    assert answer.status == (401 if options else 200)
    assert KEY in answer.body.decode()
    assert KEY in answer.headers["x-request-id"]
    assert KEY in answer.headers["x-echo"]


def test_a_redirect_names_a_place_on_the_stub_itself(stub: StubTeacher) -> None:
    answer = ask(stub, "[[fault:redirect]]")
    assert answer.status == 307
    assert answer.headers["location"] == f"{stub.base_url}/moved"
    assert post(stub, "/moved", {}).status == 404
    assert stub.seen[-1].path == "/v1/moved"


def test_a_content_length_that_is_too_long_ends_in_a_broken_body(stub: StubTeacher) -> None:
    with pytest.raises(http.client.IncompleteRead):
        ask(stub, "[[fault:wrong_content_length=longer]]")


def test_a_content_length_that_is_too_short_leaves_bytes_on_the_connection(stub: StubTeacher) -> None:
    with raw(stub, "[[fault:wrong_content_length=shorter]]") as connection:
        head, _, body = read_until(connection, b"}}}").partition(b"\r\n\r\n")
    declared = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) // 2 == declared


def test_a_stalled_body_is_a_head_and_then_nothing(stub: StubTeacher) -> None:
    with raw(stub, "[[fault:stalled_body]]") as connection:
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_slow_drip_comes_in_small_pieces_and_counts_once_whole() -> None:
    with StubTeacher() as slow:
        with raw(slow, "[[fault:slow_drip every_s=0.001 bytes=100]]") as connection:
            head = connection.recv(1 << 16)
            assert b'"usage"' not in head
            assert slow.answered == 0
            assert json.loads((head + read_until(connection, b"}}}")).partition(b"\r\n\r\n")[2])["model"] == "m"
        while slow.in_flight:
            time.sleep(0.001)
        assert slow.answered == 1


def test_an_infinite_body_never_ends_and_costs_the_stub_no_memory(stub: StubTeacher) -> None:
    with raw(stub, "[[fault:infinite_body]]") as connection:
        got = sum(len(connection.recv(1 << 20)) for _ in range(200))
    assert got > 1 << 20


@pytest.mark.parametrize("where", ["", "=headers"])
def test_a_reset_is_a_reset_and_no_orderly_end(stub: StubTeacher, where: str) -> None:
    with raw(stub, f"[[fault:reset{where}]]") as connection, pytest.raises(ConnectionResetError):
        read_until(connection, b"never said")


def test_connections_are_kept_alive_unless_told_otherwise(stub: StubTeacher) -> None:
    request = b"POST /v1/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s"
    plain, closing = b'{"prompt": "hello"}', b'{"prompt": "[[fault:no_keepalive]]"}'
    with socket.create_connection(("127.0.0.1", stub.port), timeout=5) as connection:
        for body in (plain, plain):
            connection.sendall(request % (len(body), body))
            assert read_until(connection, b"}}}").endswith(b"}}}")
        connection.sendall(request % (len(closing), closing) + request % (len(plain), plain))
        rest = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert rest.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in rest


def test_a_request_that_comes_in_pieces_is_answered_once_it_is_whole(stub: StubTeacher) -> None:
    body = b'{"model": "m", "prompt": "hello"}'
    whole = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_connection(("127.0.0.1", stub.port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), 5):
            connection.sendall(whole[start : start + 5])
        assert read_until(connection, b"}}}").startswith(b"HTTP/1.1 200")


def test_a_teacher_that_goes_down_refuses_and_comes_back_on_its_port() -> None:
    with StubTeacher(faults=["at=2:down=0.1"]) as falling:
        assert ask(falling, "a").status == 200
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            ask(falling, "b")
        with pytest.raises(ConnectionRefusedError):
            ask(falling, "c")
        for _ in range(500):
            try:
                assert ask(falling, "c").status == 200
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        else:
            pytest.fail("it did not come back in 5 s")


def test_the_rate_limit_is_a_sliding_window_with_retry_after() -> None:
    with StubTeacher(requests_per_minute=3, window_s=30) as limited:
        answers = [ask(limited, "a") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert 28 <= int(answers[3].headers["retry-after"]) <= 30


def test_the_window_slides() -> None:
    with StubTeacher(requests_per_minute=1, window_s=0.05) as limited:
        statuses = [ask(limited, "a").status]
        while statuses[-1] != 200 or len(statuses) == 1:
            statuses.append(ask(limited, "a").status)
        first, *_, last = (limited.arrival_times[i] for i, status in enumerate(statuses) if status == 200)
    assert last - first >= 0.05


def test_more_than_the_allowed_number_at_once_is_429() -> None:
    together = threading.Barrier(4)
    with StubTeacher(max_concurrent=2, latency=0.2) as limited, ThreadPoolExecutor(4) as pool:

        def one(prompt: str) -> int:
            together.wait()
            return ask(limited, prompt).status

        assert sorted(pool.map(one, "abcd")) == [200, 200, 429, 429]


def test_a_lognormal_latency_has_the_mean_that_was_asked_for() -> None:
    draw = stub_teacher.latency_source("lognormal:1.0:0.5", seed=1)
    drawn = [draw() for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(1.0, rel=0.02)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.5, rel=0.02)


def test_tls_is_self_signed_and_works_for_who_trusts_it() -> None:
    with StubTeacher(tls=True) as sealed:
        assert sealed.base_url.startswith("https://")
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            _https(sealed, ssl.create_default_context())
        assert sealed.certificate_pem is not None
        assert _https(sealed, ssl.create_default_context(cadata=sealed.certificate_pem.decode())) == 200


def _https(stub: StubTeacher, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", stub.port, timeout=5, context=context)
    try:
        connection.request("POST", "/v1/completions", '{"prompt": "hello"}')
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


def test_nobody_listens_on_an_unused_port() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unused_port()), timeout=5)


def test_a_port_that_is_taken_is_an_error_and_no_hang(stub: StubTeacher) -> None:
    with pytest.raises(OSError, match="address already in use"), StubTeacher(port=stub.port):
        pass


def test_as_a_process_it_prints_its_address_and_leaves_its_statistics(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(stub_teacher.__file__)), "--ignores", "seed", "--fault", "at=2:status=500"]
    stats_file = tmp_path / "stats.json"
    process = subprocess.Popen([*command, "--stats-file", str(stats_file)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline().removeprefix("http://127.0.0.1:").removesuffix("/v1\n"))
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("POST", "/v1/completions", '{"prompt": "hello"}')
            connection.getresponse().read()
            connection.request("GET", "/stats")
            live = json.loads(connection.getresponse().read())
            connection.close()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert json.loads(stats_file.read_text()) == live
    assert (live["received"], live["answered"], live["by_status"]) == (2, 1, {"200": 1, "500": 1})
