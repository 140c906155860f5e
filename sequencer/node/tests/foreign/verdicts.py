#!/usr/bin/env python3
"""The verdicts of `cryptography` (OpenSSL) on the golden signature vectors: the rule of RFC 8032's reference code.

    python3 verdicts.py sdk/protocol/tests/vectors/signatures.json

Prints one JSON array with a boolean per vector.
"""

import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verdict(vector):
    key, signature, message = (bytes.fromhex(vector[name]) for name in ("public_key", "signature", "message"))
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(json.dumps([verdict(vector) for vector in json.load(file)]))
