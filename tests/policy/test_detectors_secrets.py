"""Secrets: what is found, and what only looks alike.

Keys are put together here, so that none stands in the source.
"""

from __future__ import annotations

import base64
import json

import pytest

from tests.policy.detector_cases import Table, each, marked, plain


def mixed(length: int) -> str:
    """Letters of both cases and digits, as random as these tests need."""
    return ("a1B2c3D4e5F6g7H8i9J0" * (length // 20 + 1))[:length]


def hexed(length: int) -> str:
    return ("0123456789abcdef" * (length // 16 + 1))[:length]


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def block(label: str, end: str = "\n", body: str = "MIIE" + mixed(60)) -> str:
    dashes = "-" * 5
    return end.join((f"{dashes}BEGIN {label}{dashes}", body, body, f"{dashes}END {label}{dashes}"))


TOKEN = "tkn_0b8f3c52-7f1e-4d2a-9c3b-1234567890ab"
HEADER = encoded({"alg": "HS256", "typ": "JWT"})
JWT = f"{HEADER}.{encoded({'sub': '1234567890'})}.{mixed(43)}"
PEM = block("RSA PRIVATE KEY")
AWS_SECRET = mixed(36) + "/+aB"

FOUND: Table = {
    "aws_key": [
        "«AKIAIOSFODNN7EXAMPLE»",
        'id="«ASIAIOSFODNN7EXAMPLE»"',
        r"key:\n«AKIAIOSFODNN7EXAMPLE»\n",
        f"aws_secret_access_key = «{AWS_SECRET}»",
        f'"SecretAccessKey": "«{AWS_SECRET}»"',
        f"export AWS_SECRET_ACCESS_KEY='«{AWS_SECRET}»'",
    ],
    "api_key": [
        *(
            f"«{key}»"
            for key in (
                "sk-" + mixed(48),
                "sk-" + "abcdefghijklmnopqrstuvwx",
                "sk-proj-" + mixed(74) + "T3BlbkFJ" + mixed(74),
                "sk-svcacct-" + mixed(58),
                "sk-ant-api03-" + mixed(60) + "_-" + mixed(31) + "AA",
                "sk-or-v1-" + hexed(64),
                "gsk_" + mixed(52),
                "xai-" + mixed(80),
                "AIza" + mixed(33) + "_-",
                "hf_" + mixed(34),
                "r8_" + mixed(37),
                "pplx-" + mixed(48),
                "nvapi-" + mixed(64),
                "sk_live_" + mixed(24),
                "rk_test_" + mixed(24),
                "xoxb-" + "123456789012-" + "1234567890123-" + mixed(24),
                "xapp-1-A052FGTS2DL-" + "5171572773297-" + hexed(64),
                "SK" + hexed(32),
                "SG." + mixed(22) + "." + mixed(43),
                "glpat-" + mixed(20),
                "npm_" + mixed(36),
                "pypi-AgEIcHlwaS5vcmc" + mixed(100),
                "dop_v1_" + hexed(64),
                "hvs." + mixed(95),
                "dapi" + hexed(32),
                mixed(52) + "JQQJ99" + mixed(26),
                TOKEN,
            )
        ),
        f"{{'key': '«sk-{mixed(48)}»'}}",
        rf"key:\n«sk-{mixed(48)}»\n",
        f"OPENAI_API_KEY=«sk-{mixed(48)}»",
        '"api_key": "«0123456789abcdef»"',
        r"{\"apiKey\": \"«0123456789abcdef»\"}",
        "API-KEY = «abcdefgh12345678»",
        "apikey:«abcdefgh12345678»",
        f"x-api-key: «{hexed(32)}»",
        f"MISTRAL_API_KEY=«{mixed(32)}»",
        f"client_secret: '«{mixed(40)}»'",
    ],
    "jwt": [
        f"«{JWT}»",
        f"Bearer «{JWT}»",
        rf"token\n«{JWT}»\n",
        f"?token=«{JWT}»&x=1",
        f"«{JWT}».",
        f"«{encoded({'alg': 'none'})}.{encoded({'sub': 1})}.» ",
        f"«{encoded({'alg': 'dir'})}.{mixed(40)}.{mixed(16)}.{mixed(30)}.{mixed(22)}»",
        f"eyJhbGciOiJIUzI1NiJ9x.«{JWT}»",
    ],
    "private_key": [
        f"«{PEM}»\nmore",
        f"«{PEM}» and «{PEM}»",
        f"«{PEM}»\n«{block('EC PRIVATE KEY')}»",
        f"«{block('PRIVATE KEY')}»",
        f"«{block('ENCRYPTED PRIVATE KEY')}»",
        f"«{block('DSA PRIVATE KEY')}»",
        f"«{block('OPENSSH PRIVATE KEY')}»",
        f"«{block('PGP PRIVATE KEY BLOCK')}»",
        f"«{block('RSA PRIVATE KEY', body='Proc-Type: 4,ENCRYPTED')}»",
        f"«{block('RSA PRIVATE KEY', body='DEK-Info: AES-128-CBC,' + hexed(32))}»",
        f'{{"key": "«{block("PRIVATE KEY", end=chr(92) + "n")}»"}}',
        f'{{"a": "{{"key": "«{block("PRIVATE KEY", end=chr(92) * 2 + "n")}»"}}"}}',
        "«" + block("RSA PRIVATE KEY", end='\\n" +\n  "') + "»\\n",
        # Cut off: what has come of it.
        "«-----BEGIN PRIVATE KEY-----\n" + mixed(64) + "\n" + mixed(40) + "»",
        "«-----BEGIN PRIVATE KEY-----»",
        f"no '-----BEGIN PRIVATE KEY-----' here, but «{PEM}»",
    ],
    "connection_string": [
        "«postgres://user:pass@host:5432/db»",
        'url = "«postgresql+asyncpg://u:p@h/db?ssl=1»"',
        "«mongodb+srv://u:p@cluster.example»",
        "«redis://:secret@cache:6379/0»",
        "«MYSQL://root:x@localhost»",
        "«amqps://u:p@mq.example/vhost», «rediss://u:p@cache»",
        "«postgres://user:p@ss@host/db»",
        "«jdbc:postgresql://host/db?user=u&password=hunter2»",
        "«jdbc:sqlserver://host:1433;user=sa;password=hunter2;encrypt=true»",
        "«jdbc:oracle:thin:scott/tiger@host:1521/x»",
        "«Server=db.example;Database=app;User Id=sa;Password=hunter2»;Encrypt=True",
        "«Data Source=db;Initial Catalog=app;UID=sa;PWD=hunter2»",
        f"«DefaultEndpointsProtocol=https;AccountName=a;AccountKey={mixed(86)}==»;EndpointSuffix=x",
        f"«Endpoint=sb://x.example/;SharedAccessKeyName=Root;SharedAccessKey={mixed(43)}=»",
        r'"url":"«postgres://u:p@h/db»"',
    ],
    "github_token": [
        *(f"«gh{letter}_{mixed(36)}»" for letter in "pousr"),
        f"«github_pat_11{mixed(20)}_{mixed(59)}»",
        f"https://x:«ghp_{mixed(36)}»@github.com/a/b",
        rf"token\n«ghp_{mixed(36)}»\n",
        f"«ghs_12345_{JWT}».",
        f"GITHUB_TOKEN={'«' + hexed(40) + '»'}",
        f'"github_token": "«{hexed(40)}»"',
    ],
}

CLEAN: Table = {
    "aws_key": [
        "AKIAIOSFODNN7EXAMPL",
        "AKIAIOSFODNN7EXAMPLEX",
        "akiaiosfodnn7example",
        "XAKIAIOSFODNN7EXAMPLE",
        "AKIAXXXXXXXXXXXXXXXX",
        "TODAYINASIAASACKOFRICEFELLOVER",
        "aws_secret_access_key = os.environ['AWS_SECRET_ACCESS_KEY']",
        hexed(40),
    ],
    "api_key": [
        "sk-short",
        "risk-abcdefghijklmnopqrstuvwx",
        "sk-folding-cube-container-inner",
        "sk-" + "x" * 40,
        "api_key = short",
        "api key",
        "api_key = your_api_key_goes_here",
        "api_key=get_settings_value_from_environment",
        "api_key = base64_decode_string(value)",
        "api_key: process.env.OPENAI_API_KEY_2_BACKUP",
        "tkn_0b8f3c52-7f1e-1d2a-9c3b-1234567890ab",
        "AIzaShort",
        "sk_test_short",
        "xoxb-xxxxxxxxx-xxxxxxxxxx-xxxxxxxxxxxx",
        "xoxp-572370529330-573807301142-572331691188-####",
        "https://example.com/2018-250-xoxo-indieweb-1.jpg",
        "(id)hf_requiredCharacteristicTypesForDisplayMetadata;",
        "&hf_servingcellpriorityparametersdescription_h_prio",
        "AIza" + mixed(40),
        "glpat-" + "X" * 11 + "-" + "X" * 8,
        hexed(40),
        "123e4567-e89b-12d3-a456-426614174000",
    ],
    "jwt": [
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGci.eyJzdWI.x",
        "a.b.c",
        JWT.rpartition(".")[0],
        f"{encoded({'typ': 'JWT'})}.{encoded({'sub': 1})}.{mixed(43)}",
        f"{HEADER}.{encoded({'sub': 1})}.",
        "eyJ" + mixed(40) + ".eyJ" + mixed(40) + "." + mixed(40),
    ],
    "private_key": [
        block("PUBLIC KEY"),
        "PRIVATE KEY",
        "-----BEGIN CERTIFICATE-----",
        'if "-----BEGIN PRIVATE KEY-----" in text: fail()',
        "the line -----BEGIN RSA PRIVATE KEY----- comes first in it",
    ],
    "connection_string": [
        "postgres://host/db",
        "postgres://user@host/db",
        "https://u:p@host/",
        "postgres is at host:5432",
        "redis://localhost:6379",
        "postgres://user:${DB_PASSWORD}@host/db",
        "postgres://user:<password>@host/db",
        "postgres://user:{password}@host/db",
        "mongodb://user:****@host/db",
        "Server=db;Database=app;Integrated Security=true",
        "Server=db;User Id=sa;Password={your_password};",
        "password=hunter2",
    ],
    "github_token": [
        "ghp_short",
        "ghx_" + mixed(36),
        "github_pat_short",
        "ghp_" + "x" * 36,
        "xghp_" + mixed(36),
        f"github commit {hexed(40)}",
    ],
}


@pytest.mark.parametrize(("kind", "text"), each(FOUND))
def test_what_is_found(kind: str, text: str) -> None:
    assert marked(kind, plain(text)) == text


@pytest.mark.parametrize(("kind", "text"), each(CLEAN))
def test_what_only_looks_alike(kind: str, text: str) -> None:
    assert marked(kind, text) == text
