import pytest

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_hosts import host_of, is_private


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://api.openai.com/v1", "api.openai.com"),
        ("https://API.OpenAI.com:443/v1", "api.openai.com"),
        ("https://api.openai.com./v1", "api.openai.com"),
        ("http://localhost@api.openai.com/v1", "api.openai.com"),
        ("http://127.0.0.1:8080/v1?x=http://localhost", "127.0.0.1"),
        ("http://[::1]:8080/v1", "::1"),
    ],
)
def test_the_host_is_the_one_that_is_called(base_url: str, host: str) -> None:
    assert host_of(base_url) == host


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "127.0.0.1:8080",
        "localhost:8080/v1",
        "ftp://api.openai.com",
        "http://",
        "http://.",
        "http://localhost\\@api.openai.com/v1",
        "http://local host/v1",
        "http://api.openai.com\n.localhost/v1",
        "http://api%2Eopenai.com/v1",
        "https://ａｐｉ.openai.com/v1",
        "https://api。openai.com/v1",
        "http://[::1/v1",
    ],
)
def test_a_url_that_two_parsers_could_read_differently_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url is .*write it like"):
        host_of(base_url)


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("localhost", True),
        ("vllm", True),
        ("gpu-3.lan", True),
        ("vllm.default.svc.cluster.local", True),
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("192.168.0.9", True),
        ("172.16.0.1", True),
        ("100.64.0.7", True),
        ("0.0.0.0", True),
        ("::1", True),
        ("fe80::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("8.8.8.8", False),
        ("134744072", False),
        ("0x8080808", False),
        ("2001:4860:4860::8888", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("notlocal", True),
        ("evil-local.com", False),
    ],
)
def test_private_means_a_machine_of_the_users_own_network(host: str, private: bool) -> None:
    assert is_private(host) is private
