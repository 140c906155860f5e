"""Frames with an encrypted payload (VES-ENC-1 as the reference's code does it)."""

import base64
import hashlib
import json

import ed25519
from common import CHAIN, PAYLOAD, SEED, aad, frame, plain_hash, preimage, sha, text, u32, with_field
from jcs import canonical


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def encrypted():
    cases = []
    fill = lambda label, count: hashlib.shake_128(label.encode()).digest(count)
    event = with_field(CHAIN, payload_kind=1, payload_plain_hash=plain_hash(bytes(range(1, 17)) + PAYLOAD).hex())
    base = {
        "enc_version": 1, "aead": "AES-256-GCM", "nonce_b64u": b64(fill("nonce", 12)),
        "ciphertext_b64u": b64(fill("ciphertext", 45)), "tag_b64u": b64(fill("tag", 16)),
        "hpke": {"mode": "base", "kem": "X25519-HKDF-SHA256", "kdf": "HKDF-SHA256", "aead": "AES-256-GCM"},
        "recipients": [{"recipient_kid": kid, "enc_b64u": b64(fill(f"enc {kid}", 32)), "ct_b64u": b64(fill(f"ct {kid}", 48))}
                       for kid in (1, 7, 4_000_000_000)],
    }

    def raw(value):
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))

    def cipher_hash(value, event=event, version=True, recipients=None):
        entries = b"".join(u32(r["recipient_kid"]) + text(raw(r["enc_b64u"])) + text(raw(r["ct_b64u"]))
                           for r in value["recipients"])
        return sha(b"VES_PAYLOAD_CIPHER_V1", u32(1) if version else b"", raw(value["nonce_b64u"]), aad(event),
                   text(raw(value["ciphertext_b64u"])), raw(value["tag_b64u"]),
                   recipients or sha(b"VES_RECIPIENTS_V1", entries))

    good_hash = cipher_hash(base)

    def case(name, value, check="ok", hashed=None, fields=None):
        """A whole frame; `value` is the payload slot's JSON, or its bytes."""
        data = value if isinstance(value, bytes) else canonical(value)
        e = with_field(fields or event, payload_cipher_hash=(hashed or good_hash).hex())
        cases.append({"name": name, "frame": frame(e, data, ed25519.sign(SEED, sha(preimage(e)))).hex(), "check": check})

    changed = lambda **fields: {**base, **fields}
    hpke = lambda **fields: changed(hpke={**base["hpke"], **fields})
    without = lambda value, field: {k: v for k, v in value.items() if k != field}
    one = changed(recipients=base["recipients"][:1])
    case("three recipients", base)
    case("one recipient", one, hashed=cipher_hash(one))
    shortest = changed(ciphertext_b64u=b64(fill("short", 17)))
    case("shortest ciphertext", shortest, hashed=cipher_hash(shortest))
    for field in ("event_id", "agent_id", "tenant_id", "store_id"):
        case(f"moved to another {field}", base, "CipherHash",
             fields=with_field(event, **{field: "00000000-0000-0000-0000-000000000009"}))
    for field, value in (("key_id", 2), ("entity_type", "x"), ("entity_id", "x"), ("event_type", "x"), ("created_at", "x"),
                         ("payload_plain_hash", "00" * 32)):
        case(f"moved to another {field}", base, "CipherHash", fields=with_field(event, **{field: value}))
    case("hash without the version (as one VES document says)", base, "CipherHash", cipher_hash(base, version=False))
    case("recipients hashed as JSON (as one VES document says)", base, "CipherHash",
         cipher_hash(base, recipients=sha(b"VES_RECIPIENTS_V1", canonical(base["recipients"]))))
    case("hash zero", base, "CipherHash", bytes(32))
    case("another nonce", changed(nonce_b64u=b64(bytes(12))), "CipherHash")
    case("another ciphertext", changed(ciphertext_b64u=b64(bytes(45))), "CipherHash")
    case("another tag", changed(tag_b64u=b64(bytes(16))), "CipherHash")
    case("a recipient fewer", changed(recipients=base["recipients"][:2]), "CipherHash")
    case("recipients out of order", changed(recipients=base["recipients"][::-1]), "Encrypted")
    case("a recipient twice", changed(recipients=base["recipients"][:1] * 2), "Encrypted")
    case("no recipients", changed(recipients=[]), "Encrypted")
    case("recipients no array", changed(recipients={}), "Encrypted")
    for field in base:
        case(f"without {field}", without(base, field), "Encrypted")
        case(f"{field} null", changed(**{field: None}), "Encrypted")
    for field in base["hpke"]:
        case(f"without hpke.{field}", changed(hpke=without(base["hpke"], field)), "Encrypted")
    for field in base["recipients"][0]:
        case(f"recipient without {field}", changed(recipients=[without(base["recipients"][0], field)]), "Encrypted")
    for version in (0, 2, 3, "1", 1.5):
        case(f"enc_version {version!r}", changed(enc_version=version), "Encrypted")
    case("another cipher", changed(aead="ChaCha20-Poly1305"), "Encrypted")
    case("cipher in lower case", changed(aead="aes-256-gcm"), "Encrypted")
    for field, name in (("mode", "hybrid-base"), ("mode", "pqc-base"), ("kem", "mlkem768"), ("kem", "x25519+mlkem768"),
                        ("kdf", "HKDF-SHA512"), ("aead", "AES-128-GCM")):
        case(f"hpke.{field} {name}", hpke(**{field: name}), "Encrypted")
    case("a field more", changed(note="x"), "Encrypted")
    case("a field more in hpke", hpke(note="x"), "Encrypted")
    case("a field more in a recipient", changed(recipients=[{**base["recipients"][0], "note": "x"}]), "Encrypted")
    case("nonce of 11 bytes", changed(nonce_b64u=b64(bytes(11))), "Encrypted")
    case("nonce of 13 bytes", changed(nonce_b64u=b64(bytes(13))), "Encrypted")
    case("tag of 15 bytes", changed(tag_b64u=b64(bytes(15))), "Encrypted")
    case("ciphertext too short", changed(ciphertext_b64u=b64(bytes(16))), "Encrypted")
    case("enc of 31 bytes", changed(recipients=[{**base["recipients"][0], "enc_b64u": b64(bytes(31))}]), "Encrypted")
    case("ct of 49 bytes", changed(recipients=[{**base["recipients"][0], "ct_b64u": b64(bytes(49))}]), "Encrypted")
    case("kid beyond 32 bits", changed(recipients=[{**base["recipients"][0], "recipient_kid": 2**32}]), "Encrypted")
    case("kid negative", changed(recipients=[{**base["recipients"][0], "recipient_kid": -1}]), "Encrypted")
    case("base64 with padding", changed(tag_b64u=base["tag_b64u"] + "=="), "Encrypted")
    case("base64 of the other alphabet", changed(nonce_b64u="+/+/+/+/+/+/+/+/"), "Encrypted")
    case("base64 with loose bits", changed(tag_b64u="A" * 21 + "B"), "Encrypted")
    case("base64 with a line end", changed(nonce_b64u=base["nonce_b64u"] + "\n"), "Encrypted")
    case("not canonical: a blank", canonical(base).replace(b":", b": ", 1), "Encrypted")
    case("not canonical: order", json.dumps(base, separators=(",", ":")).encode(), "Encrypted")
    case("not an object", [base], "Encrypted")
    case("not JSON", b"{", "Encrypted")
    return cases
