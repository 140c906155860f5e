#!/usr/bin/env python3
"""Verifies a flat proof with nothing of ours: hashlib, base64 and PyPI `cryptography`.

    verify_proof.py PUBLIC_KEY_HEX < proof.json     prints the order that the message names, or fails
"""

import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

proof = json.load(sys.stdin)
message = proof["canonical_message"].encode()
assert hashlib.sha256(message).hexdigest() == proof["hash"], "hash"
Ed25519PublicKey.from_public_bytes(bytes.fromhex(sys.argv[1])).verify(base64.b64decode(proof["signature"]), message)
said = json.loads(message)
assert said["ts"] == proof["ts"] and said["signer_kid"] == proof["signer_kid"], "ts or signer_kid"
canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
assert canonical == message, "canonical"
print(said["order"])
