#!/usr/bin/env python3
"""Vectors of webhook signatures, made and judged by the provider's official library (PyPI `stripe`).

    make_vectors.py > vectors.json      makes the file that is committed
    make_vectors.py --judge < cases     for each JSON line {header, body, secrets, now}: `true` or `false`, by the library
    make_vectors.py --sign SECRET TIME  reads a body, writes the header that the library would want

Each case says what the library says (`library`) and what ours must say (`expected`); ours is stricter in the cases that
say so: a time ahead, and upper-case digits. The library's clock is set to the case's `now`.
"""

import json
import sys
import time

import stripe
from stripe import WebhookSignature

NOW = 1_767_225_600  # 2026-01-01T00:00:00Z
TOLERANCE = 300
FIRST, SECOND, RETIRED = "whsec_first_0123456789", "whsec_second_0123456789", "whsec_retired_0123456789"
BODY = json.dumps({
    "id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "livemode": False, "created": NOW,
    "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": 1999, "amount_received": 1999,
                        "currency": "usd", "livemode": False, "status": "succeeded", "metadata": {"order": "11" * 32},
                        "description": "Gr\u00fc\u00dfe \u2603"}},
}, ensure_ascii=False)


def mac(secret, body=BODY, at=NOW):
    return WebhookSignature._compute_signature(f"{at}.{body}", secret)


def accepts(header, body, secrets, now):
    """What the library says: it takes one secret at a time and reads the wall clock."""
    time.time = lambda: float(now)
    for secret in secrets:
        try:
            if WebhookSignature.verify_header(body, header, secret, TOLERANCE):
                return True
        except Exception:  # the library raises ValueError and IndexError for some malformed headers
            pass
    return False


def cases():
    ok = mac(FIRST)
    yield "the plain header", f"t={NOW},v1={ok}", BODY, [FIRST], NOW, "ok"
    yield "rotation: two signatures, the second is ours", f"t={NOW},v1={mac(SECOND)},v1={ok}", BODY, [FIRST], NOW, "ok"
    yield "rotation: two secrets, the second is the provider's", f"t={NOW},v1={ok}", BODY, [SECOND, FIRST], NOW, "ok"
    yield "other schemes beside v1", f"t={NOW},v0=00,v1={ok},v2=ff", BODY, [FIRST], NOW, "ok"
    yield "v1 before t", f"v1={ok},t={NOW}", BODY, [FIRST], NOW, "ok"
    yield "300 seconds old", f"t={NOW},v1={ok}", BODY, [FIRST], NOW + 300, "ok"
    yield "300 seconds ahead", f"t={NOW},v1={ok}", BODY, [FIRST], NOW - 300, "ok"
    yield "the first t counts", f"t={NOW},v1={ok},t={NOW - 9999}", BODY, [FIRST], NOW, "ok"
    yield "an empty body", f"t={NOW},v1={mac(FIRST, '')}", "", [FIRST], NOW, "ok"

    yield "301 seconds old", f"t={NOW},v1={ok}", BODY, [FIRST], NOW + 301, "old"
    yield "301 seconds ahead (the library accepts)", f"t={NOW},v1={ok}", BODY, [FIRST], NOW - 301, "ahead"
    yield "an hour ahead (the library accepts)", f"t={NOW},v1={ok}", BODY, [FIRST], NOW - 3600, "ahead"
    yield "a retired secret", f"t={NOW},v1={mac(RETIRED)}", BODY, [FIRST, SECOND], NOW, "mismatch"
    yield "another secret", f"t={NOW},v1={ok}", BODY, [SECOND], NOW, "mismatch"
    yield "no secret at all", f"t={NOW},v1={ok}", BODY, [], NOW, "no_secret"
    yield "a blank more in the body", f"t={NOW},v1={ok}", BODY.replace(": ", ":  ", 1), [FIRST], NOW, "mismatch"
    yield "a digit less in the body", f"t={NOW},v1={ok}", BODY.replace("1999", "199"), [FIRST], NOW, "mismatch"
    yield "a line end more", f"t={NOW},v1={ok}", BODY + "\n", [FIRST], NOW, "mismatch"
    yield "another time than the signed one", f"t={NOW - 1},v1={ok}", BODY, [FIRST], NOW, "mismatch"
    yield "the first t is not the signed one", f"t={NOW - 9},t={NOW},v1={ok}", BODY, [FIRST], NOW, "mismatch"
    yield "a zero before the time (the library accepts)", f"t=0{NOW},v1={ok}", BODY, [FIRST], NOW, "mismatch"
    yield "a plus before the time (the library accepts)", f"t=+{NOW},v1={ok}", BODY, [FIRST], NOW, "no_time"
    yield "upper-case digits", f"t={NOW},v1={ok.upper()}", BODY, [FIRST], NOW, "mismatch"
    yield "a truncated signature", f"t={NOW},v1={ok[:-1]}", BODY, [FIRST], NOW, "mismatch"
    yield "half a signature", f"t={NOW},v1={ok[:32]}", BODY, [FIRST], NOW, "mismatch"
    yield "a digit more", f"t={NOW},v1={ok}0", BODY, [FIRST], NOW, "mismatch"
    yield "an empty signature", f"t={NOW},v1=", BODY, [FIRST], NOW, "mismatch"
    yield "a blank before the signature", f"t={NOW},v1= {ok}", BODY, [FIRST], NOW, "mismatch"
    yield "v0 only", f"t={NOW},v0={ok}", BODY, [FIRST], NOW, "no_signature"
    yield "no signature", f"t={NOW}", BODY, [FIRST], NOW, "no_signature"
    yield "no time", f"v1={ok}", BODY, [FIRST], NOW, "no_time"
    yield "a time that is none", f"t=now,v1={ok}", BODY, [FIRST], NOW, "no_time"
    yield "an empty time", f"t=,v1={ok}", BODY, [FIRST], NOW, "no_time"
    yield "a negative time", f"t=-{NOW},v1={ok}", BODY, [FIRST], NOW, "no_time"
    yield "a blank after the comma", f"t={NOW}, v1={ok}", BODY, [FIRST], NOW, "no_signature"
    yield "an empty header", "", BODY, [FIRST], NOW, "header"
    yield "a word", "garbage", BODY, [FIRST], NOW, "header"
    yield "an item without a value (the library accepts)", f"t={NOW},v1={ok},", BODY, [FIRST], NOW, "header"


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--judge"]:
        for line in sys.stdin:
            case = json.loads(line)
            print(json.dumps(accepts(case["header"], case["body"], case["secrets"], case["now"])))
    elif arguments[:1] == ["--sign"]:
        _, secret, at = arguments
        print(f"t={at},v1={mac(secret, sys.stdin.buffer.read().decode(), int(at))}")
    else:
        made = [
            dict(name=name, header=header, body=body, secrets=secrets, now=now, expected=expected,
                 library=accepts(header, body, secrets, now))
            for name, header, body, secrets, now, expected in cases()
        ]
        json.dump({"library": f"stripe {stripe.VERSION}", "cases": made}, sys.stdout, indent=1, ensure_ascii=True)
        print()


main()
