#!/usr/bin/env python3
"""Audits a running node with code that is not Tally's: pymerkle for the tree, cryptography for Ed25519.

It trusts one thing, the ledger id, and is written from docs/formats/ alone. From the node's C2SP log (`/log/`) it
downloads the published checkpoint and every entry, finds the keys in the genesis entry, and checks: the ledger id, the
checkpoint's signatures, the root over all entries, every hash tile, every agent's signature. Then it checks what
agents kept (`--answer`): VES receipts and proven receipts. `--older` is an earlier checkpoint, whose root must be the
root of a prefix; `--save` keeps this one for the next audit. Prints one JSON object of what it checked; the first claim
that does not hold ends it with status 1.
"""

import argparse
import base64
import hashlib
import json
import struct
import sys
import time
import urllib.error
import urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree, verify_inclusion

TILE = 256
PATIENCE_SECONDS = 60


class Broken(Exception):
    """A claim that does not hold."""


def need(holds, what):
    if not holds:
        raise Broken(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def signed_by(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


class Node:
    """The node's HTTP surface."""

    def __init__(self, url, api_key):
        self.url, self.api_key = url.rstrip("/"), api_key

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"authorization": f"Bearer {self.api_key}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


class Reader:
    """Bytes that are read from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "bytes are cut short")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self):
        return self.take(self.number(">I")).decode()

    def end(self):
        need(self.at == len(self.data), "bytes are left over")


def read_genesis(entry):
    """docs/formats/entry.md, genesis entry."""
    r = Reader(entry)
    need(r.take(14) == b"TALLY_ENTRY_V1" and r.take(1) == b"\0", "index 0 is no genesis entry")
    genesis = {"origin": r.text(), "profile": r.text(), "created_at": r.number(">Q"), "nonce": r.take(16),
               "checkpoint_key": r.take(32), "receipt_key": r.take(32), "root_agent": r.take(16), "root_key": r.take(32)}
    r.end()
    return genesis


def read_event(entry):
    """docs/formats/entry.md, event entry."""
    r = Reader(entry)
    need(r.take(14) == b"TALLY_ENTRY_V1" and r.take(1) == b"\1", "not an event entry")
    event = {"tenant": r.take(16), "store": r.take(16), "sequence": r.number(">Q"), "signing_hash": r.take(32),
             "signature": r.take(64), "public_key": r.take(32), "sequenced_at": r.number(">Q")}
    r.end()
    return event


def read_note(note):
    """docs/formats/checkpoint-and-note.md: the checkpoint, the signed text, and the signatures by key id."""
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    need(lines.endswith("\n"), "the note does not end in a newline")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, blob = line.split(" ")
        need(dash == "\u2014", "malformed signature line")
        blob = base64.b64decode(blob, validate=True)
        signatures.append((name, blob[:4], blob[4:]))
    origin, size, root, rest = text.split("\n")
    need(rest == "", "the checkpoint has extension lines")
    return {"origin": origin, "size": int(size), "root": base64.b64decode(root, validate=True), "text": text,
            "signatures": signatures}


def open_note(note, genesis, keys):
    """The checkpoint of a note that all of these keys of the ledger signed."""
    checkpoint = read_note(note)
    need(checkpoint["origin"] == genesis["origin"], "the checkpoint is of another origin")
    for key in keys:
        key_id = sha256(checkpoint["origin"].encode(), b"\n\1", genesis[key])[:4]
        found = [blob for name, at, blob in checkpoint["signatures"] if (name, at) == (checkpoint["origin"], key_id)]
        need(found, f"the {key} did not sign the checkpoint")
        need(all(signed_by(genesis[key], checkpoint["text"].encode(), blob) for blob in found), f"a wrong signature of the {key}")
    return checkpoint


def tile_path(kind, index, width):
    """docs/formats/tiles.md: groups of three digits, all but the last behind an x; then a partial width."""
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"/log/tile/{kind}/{'/'.join(groups)}" + (f".p/{width}" if width < TILE else "")


def tiles_of(size):
    """Index and width of the tiles over so many hashes."""
    return [(index, min(TILE, size - index * TILE)) for index in range((size + TILE - 1) // TILE)]


def published_checkpoint(node, size):
    """The newest published checkpoint, once it covers so many entries."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            note = node.get("/log/checkpoint").decode()
            if read_note(note)["size"] >= size:
                return note
        except urllib.error.HTTPError as error:
            # A young node has published nothing yet.
            if error.code not in (404, 409, 503):
                raise
        need(time.monotonic() < deadline, f"no checkpoint of size {size} was published in {PATIENCE_SECONDS} s")
        time.sleep(0.1)


def download_entries(node, size):
    entries = []
    for index, width in tiles_of(size):
        r = Reader(node.get(tile_path("entries", index, width)))
        entries += [r.take(r.number(">H")) for _ in range(width)]
        r.end()
    return entries


def check_tiles(node, entries):
    """Every hash tile of the tree, by pymerkle's hashes of the entries below."""
    count, level, below = 0, 0, [[entry] for entry in entries]
    while below:
        for index, width in tiles_of(len(below)):
            served = node.get(tile_path(level, index, width))
            hashes = [root_of(group) for group in below[index * TILE:index * TILE + width]]
            need(served == b"".join(hashes), f"tile {index} of level {level} is not the entries'")
            count += 1
        full = len(below) // TILE
        below = [sum(below[at * TILE:(at + 1) * TILE], []) for at in range(full)]
        level += 1
    return count


def root_of(entries):
    return InmemoryTree.init_from_entries(entries, algorithm="sha256").get_root()


def check_agents(entries):
    """Every agent's signature, and that log time never falls and sequences have no gap."""
    last_time, heads = 0, {}
    for index, entry in enumerate(entries[1:], 1):
        event = read_event(entry)
        need(signed_by(event["public_key"], event["signing_hash"], event["signature"]), f"index {index}: wrong agent signature")
        need(event["sequenced_at"] >= last_time, f"index {index}: log time falls")
        stream = event["tenant"] + event["store"]
        need(event["sequence"] == heads.get(stream, 0) + 1, f"index {index}: sequence gap")
        last_time, heads[stream] = event["sequenced_at"], event["sequence"]
    return len(entries) - 1


def ves_receipt_hash(event, event_id, sequence):
    return sha256(b"VES_RECEIPT_V1", event["tenant"], event["store"], event_id, struct.pack(">Q", sequence), event["signing_hash"])


def check_ves_receipt(receipt, entries, genesis, ledger_id):
    event = read_event(entries[receipt["logIndex"]])
    need(event["sequence"] == receipt["sequenceNumber"], "a VES receipt names another sequence than the log")
    expected = ves_receipt_hash(event, bytes.fromhex(receipt["eventId"].replace("-", "")), receipt["sequenceNumber"])
    need(receipt["receiptHash"] == expected.hex(), "a VES receipt's hash is not the event's")
    need(receipt["signatureAlg"] == "ed25519", "a VES receipt of another algorithm")
    need(receipt["sequencerId"].replace("-", "") == ledger_id.hex()[:32], "a VES receipt of another sequencer")
    signature = bytes.fromhex(receipt["sequencerSignature"])
    need(signed_by(genesis["receipt_key"], expected, signature), "a VES receipt's signature is wrong")


def check_proven_receipt(receipt, checkpoints, tree, entries, genesis):
    entry = entries[receipt["index"]]
    event = read_event(entry)
    need(receipt["leaf_hash"] == sha256(b"\0", entry).hex(), "a receipt's leaf is not the log's")
    need(receipt["signing_hash"] == event["signing_hash"].hex(), "a receipt's signing hash is not the log's")
    need(receipt["sequence"] == event["sequence"], "a receipt names another sequence than the log")
    checkpoint = open_note(checkpoints[receipt["checkpoint"]], genesis, ["receipt_key"])
    need(tree.get_root(checkpoint["size"]) == checkpoint["root"], "a receipt's checkpoint is not of this log")
    proof = tree.prove_inclusion(receipt["index"] + 1, checkpoint["size"])
    # pymerkle's path begins with the leaf itself.
    need([node.hex() for node in proof.path[1:]] == receipt["path"], "a receipt's path is not the tree's")
    verify_inclusion(sha256(b"\0", entry), checkpoint["root"], proof)


def check_answer(answer, tree, entries, genesis, ledger_id):
    """An ingest answer of the VES surface or of the native one, as an agent kept it."""
    for receipt in answer.get("receipts", []):
        check_ves_receipt(receipt, entries, genesis, ledger_id)
    proven = [result["receipt"] for result in answer.get("results", []) if "receipt" in result]
    for receipt in proven:
        check_proven_receipt(receipt, answer["checkpoints"], tree, entries, genesis)
    return len(answer.get("receipts", [])), len(proven)


def audit(options):
    ledger_id = bytes.fromhex(options.ledger_id)
    with open(options.api_key_file) as file:
        node = Node(options.url, file.read().strip())
    published = published_checkpoint(node, options.wait_for)
    entries = download_entries(node, read_note(published)["size"])
    need(sha256(b"\0", entries[0]) == ledger_id, "this is another ledger")
    genesis = read_genesis(entries[0])
    checkpoint = open_note(published, genesis, ["checkpoint_key", "receipt_key"])
    tree = InmemoryTree.init_from_entries(entries, algorithm="sha256")
    need(tree.get_root() == checkpoint["root"], "the entries do not give the checkpoint's root")
    for name in options.older:
        with open(name, encoding="utf-8") as file:
            older = open_note(file.read(), genesis, ["checkpoint_key"])
        need(tree.get_root(older["size"]) == older["root"], "an older checkpoint is not of a prefix")
    report = {"origin": genesis["origin"], "size": checkpoint["size"], "root": checkpoint["root"].hex(),
              "older": len(options.older), "tiles": check_tiles(node, entries), "agent_signatures": check_agents(entries),
              "ves_receipts": 0, "proven_receipts": 0}
    for name in options.answer:
        with open(name, encoding="utf-8") as file:
            for answer in json.load(file):
                ves, proven = check_answer(answer, tree, entries, genesis, ledger_id)
                report["ves_receipts"] += ves
                report["proven_receipts"] += proven
    if options.save:
        with open(options.save, "w", encoding="utf-8", newline="") as file:
            file.write(published)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the node's base URL")
    parser.add_argument("--api-key-file", required=True, help="file with an API key that may read entry bundles")
    parser.add_argument("--ledger-id", required=True, help="the trusted ledger id, 64 hexadecimal digits")
    parser.add_argument("--wait-for", type=int, default=1, metavar="SIZE", help="wait until so many entries are published")
    parser.add_argument("--save", metavar="FILE", help="keep the published checkpoint in this file")
    parser.add_argument("--older", action="append", default=[], metavar="FILE", help="an earlier published checkpoint")
    parser.add_argument("--answer", action="append", default=[], metavar="FILE", help="a JSON array of ingest answers")
    try:
        print(json.dumps(audit(parser.parse_args())))
    except Broken as broken:
        sys.exit(f"broken: {broken}")


if __name__ == "__main__":
    main()
