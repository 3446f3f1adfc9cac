"""What counts as personal data or a secret: `DETECTORS` has a row per kind that policies name."""

from __future__ import annotations

from tokenomics.policy.detectors.addresses import EMAIL, IP_ADDRESS
from tokenomics.policy.detectors.blocks import CONNECTION_STRING, PRIVATE_KEY
from tokenomics.policy.detectors.fold import fold
from tokenomics.policy.detectors.keys import API_KEY, AWS_KEY, GITHUB_TOKEN, JWT
from tokenomics.policy.detectors.model import Detector
from tokenomics.policy.detectors.numbers import CREDIT_CARD, IBAN, SSN, luhn
from tokenomics.policy.detectors.phones import PHONE

__all__ = ["DETECTORS", "KINDS", "Detector", "fold", "luhn"]

DETECTORS: dict[str, Detector] = {
    detector.kind: detector
    for detector in (
        SSN,
        CREDIT_CARD,
        EMAIL,
        PHONE,
        IP_ADDRESS,
        AWS_KEY,
        API_KEY,
        JWT,
        PRIVATE_KEY,
        CONNECTION_STRING,
        GITHUB_TOKEN,
        IBAN,
    )
}
KINDS = tuple(DETECTORS)
