"""Keys and tokens: of AWS, of GitHub, of model providers and the services around them, and JWTs."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator

from tokenomics.policy.detectors.model import (
    AFTER,
    BEFORE,
    ENDS,
    STARTS,
    Detector,
    is_placeholder,
    sifted,
)

# Between a name and its value, in code, JSON, YAML, a shell or escaped JSON.
_ASSIGNED = r"(?:\\?[\"'])?\]?\s{0,3}(?::=|=>|=|:)\s{0,3}(?:\\?[\"'`])?"

# --- AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html

_AWS_ID = r"(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ABIA|ACCA)[A-Z0-9]{16}"
# The secret itself has no mark but its name.
_AWS_SECRET = (
    r"(?:[Ss]ecret_?[Aa]ccess_?[Kk]ey|SECRET_ACCESS_KEY|aws_secret_key|AWS_SECRET_KEY|AWSSecretKey)"
    rf"{_ASSIGNED}"
)
_AWS_SECRET_VALUE = r"[A-Za-z0-9/+]{40}"


def _is_aws(text: str) -> bool:
    return not is_placeholder(text[4:])


AWS_KEY = Detector(
    "aws_key",
    rf"{BEFORE}{_AWS_ID}{AFTER}|{_AWS_SECRET}{_AWS_SECRET_VALUE}[A-Za-z0-9/+=]?",
    sifted(
        rf"{STARTS}{_AWS_ID}{ENDS}|{_AWS_SECRET}({_AWS_SECRET_VALUE})(?![A-Za-z0-9/+=])", _is_aws
    ),
    hint=(
        *("AKIA", "ASIA", "AROA", "AIDA", "AGPA", "ANPA", "ABIA", "ACCA"),
        *("ecret", "SECRET"),
    ),
    longest=85,
)

# --- GitHub
# https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
# https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/

_GITHUB = (
    # The newer installation tokens hold a JWT: dots, and some 520 characters.
    r"(?:ghs_[A-Za-z0-9_.-]{36,1000}|gh[pour]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{50,255})"
)
# Until 2021 they were 40 hexadecimal digits, which only a name tells from a commit's.
_GITHUB_OLD = (
    r"(?:[Gg]it[Hh]ub|GITHUB|gh|GH)(?:[_-]?[A-Za-z]{2,12}){0,2}[_-]?(?:[Tt]oken|TOKEN|[Pp]at|PAT)"
    rf"{_ASSIGNED}"
)


def _is_github(text: str) -> bool:
    return not is_placeholder(text.rpartition("_")[2])


_github = sifted(
    rf"{STARTS}{_GITHUB}(?<![.-]){ENDS}|{_GITHUB_OLD}([0-9a-f]{{40}}){ENDS}", _is_github
)

GITHUB_TOKEN = Detector(
    "github_token",
    rf"{BEFORE}{_GITHUB}|{_GITHUB_OLD}[0-9a-f]{{40}}{AFTER}",
    _github,
    hint=("gh", "GH", "itHub", "ithub", "ITHUB"),
    longest=1006,
)

# --- Model providers and the services around them

# One row per format: what tells it, then what may follow. The providers' documentation, and
# https://docs.github.com/code-security/secret-scanning/introduction/supported-secret-scanning-patterns
_FORMATS = (
    # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek and those who copy them:
    # https://platform.openai.com/docs/api-reference/authentication
    # https://docs.anthropic.com/en/api/overview
    r"sk-[A-Za-z0-9_-]{20,255}",
    r"AIza[A-Za-z0-9_-]{35,36}",  # https://cloud.google.com/docs/authentication/api-keys
    r"gsk_[A-Za-z0-9]{20,100}",  # https://console.groq.com/docs/quickstart
    r"xai-[A-Za-z0-9_-]{20,120}",  # https://docs.x.ai/docs/overview
    r"hf_[A-Za-z0-9]{30,41}",  # https://huggingface.co/docs/hub/security-tokens
    r"api_org_[A-Za-z0-9]{34}",
    r"r8_[A-Za-z0-9]{20,100}",  # https://replicate.com/docs/topics/security/api-tokens
    r"pplx-[A-Za-z0-9_-]{20,100}",  # https://docs.perplexity.ai/guides/api-key-management
    r"nvapi-[A-Za-z0-9_-]{20,120}",  # https://docs.nvidia.com/ngc/latest/ngc-user-guide.html
    r"csk-[a-z0-9]{40,60}",  # https://inference-docs.cerebras.ai
    r"fw_[A-Za-z0-9]{20,40}",  # https://docs.fireworks.ai
    r"tgp_v1_[A-Za-z0-9_-]{40,60}",  # https://docs.together.ai
    r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",  # https://docs.smith.langchain.com
    r"tvly-[A-Za-z0-9-]{20,60}",  # https://docs.tavily.com
    r"jina_[A-Za-z0-9]{50,80}",
    # Azure's keys carry a mark at one place: https://github.com/microsoft/security-utilities
    r"[A-Za-z0-9]{52}JQQJ9[9DH][A-Za-z0-9]{26,28}",
    # https://docs.stripe.com/keys
    r"(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{16,247}",
    r"whsec_[A-Za-z0-9+/]{24,80}={0,2}",
    # https://api.slack.com/authentication/token-types
    r"xox[bceops]-[0-9]{6,14}-[A-Za-z0-9-]{10,200}",
    r"xox[ar]-(?:[0-9]-)?[A-Za-z0-9-]{10,200}",
    r"xoxe(?:\.xox[bp])?-[0-9]-[A-Za-z0-9]{100,200}",
    r"xapp-[0-9]-[A-Za-z0-9]{6,20}-[0-9]{6,20}-[A-Za-z0-9]{30,80}",
    r"hooks\.slack\.com/services/T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{18,32}",
    r"SK[0-9a-f]{32}",  # https://www.twilio.com/docs/iam/api-keys
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}",  # https://www.twilio.com/docs/sendgrid
    # https://docs.gitlab.com/security/tokens/#token-prefixes
    r"gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[A-Za-z0-9_.=-]{20,255}",
    r"GR1348941[A-Za-z0-9_-]{20}",
    r"npm_[A-Za-z0-9]{36}",  # https://docs.npmjs.com/about-access-tokens
    r"pypi-AgE[A-Za-z0-9_-]{50,250}",  # https://pypi.org/help/#apitoken
    r"do[opr]_v1_[0-9a-f]{64}",  # https://docs.digitalocean.com/reference/api
    r"dapi[0-9a-f]{32}(?:-[0-9])?",  # https://docs.databricks.com/dev-tools/auth/pat.html
    r"hvs\.[A-Za-z0-9_-]{24,250}",  # https://developer.hashicorp.com/vault/docs/concepts/tokens
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # https://shopify.dev/docs/apps/build/authentication
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,40}",  # https://docs.docker.com/security/access-tokens
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",  # https://learning.postman.com/docs/developer
    r"lin_(?:api|oauth)_[A-Za-z0-9]{40,64}",  # https://linear.app/developers
    r"ntn_[A-Za-z0-9]{40,60}",  # https://developers.notion.com
    r"gl(?:sa|c)_[A-Za-z0-9_=+/]{32,250}",  # https://grafana.com/docs/grafana/latest/administration
    r"figd_[A-Za-z0-9_-]{40,60}",  # https://www.figma.com/developers/api
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",  # https://age-encryption.org/v1
    # A token of this gateway.
    r"tkn_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
)
_FORMAT = "(?:" + "|".join(_FORMATS) + ")"
# Of a key without a form of its own (Mistral, Cohere, Azure, anybody's), only its name tells.
_NAMED = (
    r"(?i:api[ _-]?(?:key|token|secret)|secret[_-]?key|client[_-]?secret|subscription[_-]?key)"
    rf"{_ASSIGNED}"
)
_NAMED_VALUE = r"[A-Za-z0-9_+/=~-]{16,250}"
_DIGIT = re.compile(r"[0-9]")
_LETTER = re.compile(r"[A-Za-z]")
# Words in a row, and a Slack token whose secret part is cut off.
_WORDS = re.compile(
    r"hf_[a-z]+|sk-[a-z]+(?:[_-][a-z]+)+|(?:xai|pplx|nvapi|tvly)-[a-z]+(?:-[a-z]+)+"
    r"|xox[a-z]-[0-9-]+"
)
# What has a last place: one more character is read, and tells that it is something else.
_FULL = {"AIza": 39, "hf_": 43}
_LAST = re.compile(r"[A-Za-z0-9]+$")
_FEWEST = 5  # different characters, or it stands for a key and is none


def _is_key(text: str) -> bool:
    """Not words in a row (`sk-folding-cube-container` is a CSS class), not `sk-xxxx...`."""
    if any(text.startswith(mark) and len(text) > full for mark, full in _FULL.items()):
        return False
    last = _LAST.search(text.removeprefix("GR1348941"))
    return not (last and is_placeholder(last[0])) and not _WORDS.fullmatch(text)


def _is_named_key(text: str) -> bool:
    """A value of letters and digits mixed; names of functions and settings seldom are."""
    return len(set(text)) >= _FEWEST and bool(_DIGIT.search(text) and _LETTER.search(text))


_formatted = sifted(rf"{STARTS}{_FORMAT}", _is_key)
_named = sifted(rf"{_NAMED}({_NAMED_VALUE}+)(?![A-Za-z0-9_+/=~(\[.-])", _is_named_key)


def _api_keys(text: str) -> Iterator[tuple[int, int]]:
    found = False
    for span in _formatted(text):
        yield span
        found = True
    if not found:
        yield from _named(text)


API_KEY = Detector(
    "api_key",
    rf"{BEFORE}{_FORMAT}|{_NAMED}{_NAMED_VALUE}[(\[.]?",
    _api_keys,
    longest=300,
)

# --- JSON Web Tokens (RFC 7519; signed RFC 7515, encrypted RFC 7516)

_JWT = re.compile(
    r"(eyJ[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]*)(?:\.[A-Za-z0-9_-]+){0,2}"
)


def _is_jwt(header: str, payload: str, last: str) -> bool:
    """Its header is JSON and names an algorithm. Only with `none` may the signature be missing."""
    try:
        found = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    if not isinstance(found, dict) or not isinstance(found.get("alg"), str):
        return False
    return len(payload) > 1 and (bool(last) or found["alg"].lower() == "none")


def _jwts(text: str) -> Iterator[tuple[int, int]]:
    place = 0
    while found := _JWT.search(text, place):
        if _is_jwt(found[1], found[2], found[3]):
            yield found.span()
            place = found.end()
        else:
            # A dot further there may be another: eyJa.eyJb.eyJc.d
            place = found.end(1)


JWT = Detector(
    "jwt",
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){2,9}",
    _jwts,
    hint=("eyJ",),
)
