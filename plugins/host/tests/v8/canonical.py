"""python3 canonical.py VECTORS FILE: as canonical.mjs, with the Python verifier's routine, which lies in VECTORS."""

import json
import sys

sys.path.insert(0, sys.argv[1])
import jcs  # noqa: E402

with open(sys.argv[2], encoding="ascii") as file:
    for text in json.load(file):
        data = bytes.fromhex(text)
        form = jcs.canonical(json.loads(data))
        print(form.hex(), "true" if form == data else "false")
