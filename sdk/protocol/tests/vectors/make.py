#!/usr/bin/env python3
"""Writes the protocol's vectors (`*.json` beside this file), or with `--check` says whether they differ.

An implementation of its own, in nothing but Python's standard library, so that the vectors check the Rust code and
not themselves. Values published elsewhere (RFC 8032, RFC 8785, the VES yellow paper and what the reference server
answered) are asserted here. Most vectors are one mutation that must fail or must change the hash.
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

from chapter_anchor import anchors
from chapter_control import control
from chapter_encrypted import encrypted
from chapter_entries import entries
from chapter_frames import frames
from chapter_jcs import jcs_vectors
from chapter_log import log
from chapter_outcome import outcome
from chapter_plugins import plugins
from chapter_signatures import keys, signatures
from chapter_state import state
from chapter_ves import ves

HERE = pathlib.Path(__file__).parent
FILES = {
    "anchor": anchors,
    "control": control, "encrypted": encrypted, "entries": entries, "frames": frames, "jcs": jcs_vectors, "keys": keys,
    "log": log, "outcome": outcome, "plugins": plugins, "signatures": signatures, "state": state, "ves": ves,
}


def dump(value):
    """One case a line, so that a changed vector is a changed line."""
    line = lambda item: json.dumps(item, ensure_ascii=True)
    if isinstance(value, list):
        return "[\n" + ",\n".join("  " + line(item) for item in value) + "\n]\n"
    parts = []
    for name, cases in value.items():
        body = "[\n" + ",\n".join("    " + line(item) for item in cases) + "\n  ]" if isinstance(cases, list) else line(cases)
        parts.append(f"  {line(name)}: {body}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: make.py [--check]")
    changed = []
    for name, make in FILES.items():
        path, content = HERE / f"{name}.json", dump(make())
        if not path.exists() or path.read_text() != content:
            changed.append(path.name)
            if not check:
                path.write_text(content)
    print("changed: " + ", ".join(changed) if changed else "vectors are up to date")
    sys.exit(1 if check and changed else 0)


if __name__ == "__main__":
    main()
