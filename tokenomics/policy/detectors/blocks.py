"""Secrets of many parts: the block of a private key, and what connects to a database."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenomics.policy.detectors.model import Detector, is_placeholder

# --- Private keys (RFC 7468, RFC 1421, RFC 9580)

_LABEL = r"(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?"
_HEAD = re.compile(rf"-----BEGIN {_LABEL}-----")
_WHOLE = re.compile(rf"-----BEGIN {_LABEL}-----(?:-?[^-])*?-----END {_LABEL}-----")
# Lines of base64 and of headers, however their ends are written: as such, as `\n`, in a list of
# strings.
_BODY = re.compile(
    r"(?:(?:\\+[nr]|[\s\"'+,>#*])*(?:[A-Za-z0-9+/]{16,}={0,2}|[A-Z][A-Za-z-]+: [^\\\n]*))+"
)
# A header that is only spoken of is quoted, or followed by words.
_SPOKEN_OF = re.compile(r"[\"'`)\],;]|\.\s|\s(?:[a-z]+\s){2}")


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    whole = _WHOLE.match(text)
    if whole:
        yield whole.span()
        return
    head = _HEAD.match(text)
    if not head:
        return
    # Cut off: what has come of it.
    body = _BODY.match(text, head.end())
    if body:
        yield 0, body.end()
    elif not _SPOKEN_OF.match(text, head.end()):
        yield head.span()


PRIVATE_KEY = Detector(
    "private_key",
    rf"-----BEGIN {_LABEL}-----(?:-?[^-])*(?:-----END {_LABEL}-----)?",
    _private_keys,
    hint=("-----BEGIN",),
    longest=16 << 10,  # of real ones; RE2 cannot count that far
)

# --- Connection strings with a password in them

_SCHEMES = (
    r"(?i:postgres(?:ql)?|mysqlx?|mariadb|mongodb|rediss?|valkeys?|amqps?|mssql|sqlserver|oracle|db2"
    r"|cockroachdb|clickhouse|cassandra|couchbases?|neo4js?|bolt|nats|snowflake|redshift|ldaps?"
    r"|kafka|memcached|influxdb|teradata|vertica|jdbc:[a-z0-9]+)(?:\+[a-z0-9]+){0,2}"
)
_PASSWORD_NAME = r"(?:[Pp]assword|PASSWORD|[Pp]wd|PWD)"
_AZURE_NAME = r"(?:AccountKey|SharedAccessKey|SharedAccessSignature)"
_URL = re.compile(
    # The user may be missing; the password may hold an @ that should have been written %40.
    rf"{_SCHEMES}:(?://|thin:)[^\s\"'<>@/]*?[:/]([^\s\"'<>/]+)@[^\s\"'<>]+"
    rf"|{_SCHEMES}:[^\s\"'<>]*?[?&;]{_PASSWORD_NAME}=([^\s\"'<>&;]+)[^\s\"'<>]*"
)
_PAIRS = re.compile(
    rf"[A-Za-z][A-Za-z ]{{1,40}}=[^\"'\n]*?\b(?:{_PASSWORD_NAME}|{_AZURE_NAME})\s*=\s*([^;\"'\s]+)"
)
# What stands where the password will: shells', templates' and formats' ways to say so.
_LATER = re.compile(r"\$|%[sdv(]|<|\{|\[|\(")


_NOT_AT_END = ",.;:)]}`\\"


def _is_password(value: str) -> bool:
    return not (_LATER.match(value) or is_placeholder(value))


def _connections(text: str) -> Iterator[tuple[int, int]]:
    shapes = (_URL, _PAIRS) if "@" in text or "=" in text else ()
    for shape in shapes:
        found = shape.match(text)
        if found and found.lastindex and _is_password(found[found.lastindex]):
            yield 0, len(found[0].rstrip(_NOT_AT_END))
            return


# The name of the first pair, of ADO, ODBC and Azure Storage.
_FIRST = (
    r"(?i:server|data source|host|hostname|addr|address|network address|driver|dsn|user id|uid"
    r"|defaultendpointsprotocol|endpoint|accountname|blobendpoint)"
)

CONNECTION_STRING = Detector(
    "connection_string",
    rf"\b{_SCHEMES}:(?://|thin:|[^\s\"'<>]{{1,4}})[^\s\"'<>]{{3,500}}"
    rf"|\b{_FIRST}\s?=[^\"'\n]{{1,400}}?\b(?:{_PASSWORD_NAME}|{_AZURE_NAME})\s?=\s?[^;\"'\s]{{1,256}}",
    _connections,
    hint=("://", ":thin:", "assword", "ASSWORD", "wd", "WD", "AccountKey", "SharedAccess"),
    longest=1024,
)
