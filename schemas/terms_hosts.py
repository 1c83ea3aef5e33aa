"""Whose machine a base_url points at, as far as its text can tell."""

import ipaddress
import re
from urllib.parse import urlsplit

from tutelage.schemas.errors import ConfigError

PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_HOST = re.compile(r"[a-z0-9_.:-]+")


def host_of(base_url: str) -> str:
    """The lower-case host of an http(s) URL, without its port, user or final dot.

    Spellings that two URL parsers could read as two hosts (backslashes, blanks, percent signs, letters beyond ASCII)
    are refused: the gate must see the very host that the client will call.
    """
    try:
        if not base_url.isascii() or not base_url.isprintable() or any(mark in base_url for mark in " \\"):
            raise ValueError("it holds blanks, backslashes or letters beyond ASCII")
        parts = urlsplit(base_url)
        host = (parts.hostname or "").rstrip(".")
        if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise ValueError("it has no plain http or https host")
    except ValueError as error:
        raise ConfigError(
            f"base_url is {base_url!r}: {error}; write it like https://api.example.com/v1 "
            "(a host with other letters in its punycode form)"
        ) from error
    return host


def is_private(host: str) -> bool:
    """True for loopback, private ranges and names that no public DNS serves: a machine of the user's own network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name of one label is a neighbour (a container, a machine in /etc/hosts), unless it is a number: resolvers
        # read 134744072 and 0x8080808 as the public address 8.8.8.8.
        one_label = "." not in host and host[0].isalpha()
        return one_label or host.endswith(PRIVATE_SUFFIXES)
    return not address.is_global
