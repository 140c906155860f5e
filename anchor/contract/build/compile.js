// Compiles one contract with npm's solc through its standard JSON, with the settings of settings.json beside this file.
//
// Takes the folder of the solc package, the folder of the sources (in which imports are resolved), a source file in it and
// the contract's name. Gives on standard output one JSON record: contract, compiler, settings, digests of the sources,
// selectors, ABI, creation and runtime bytecode with their SHA-256. Same input, same bytes.
// Fails with the compiler's own message on a warning as on an error.
"use strict";

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const [solcFolder, folder, main, name] = process.argv.slice(2);
if (!name) {
  process.stderr.write("usage: node compile.js SOLC_PACKAGE FOLDER SOURCE CONTRACT\n");
  process.exit(2);
}

const solc = require(path.resolve(solcFolder));
const settings = JSON.parse(fs.readFileSync(path.join(__dirname, "settings.json"), "utf8"));
const sha256 = (bytes) => "0x" + createHash("sha256").update(bytes).digest("hex");

// The source and what it imports, under their paths in the folder: the names are part of no byte of the code.
const texts = {};
function read(file) {
  if (texts[file] !== undefined) return;
  texts[file] = fs.readFileSync(path.join(folder, file), "utf8");
  for (const [, target] of texts[file].matchAll(/^import .*"(\.[^"]+)";$/gm)) {
    read(path.posix.join(path.posix.dirname(file), target));
  }
}
read(main);
const sorted = Object.keys(texts).sort();
const input = {
  language: "Solidity",
  sources: Object.fromEntries(sorted.map((file) => [file, { content: texts[file] }])),
  settings: {
    ...settings,
    outputSelection: {
      [main]: {
        [name]: [
          "abi",
          "evm.methodIdentifiers",
          "evm.bytecode.object",
          "evm.deployedBytecode.object",
          "evm.deployedBytecode.immutableReferences",
        ],
      },
    },
  },
};

const output = JSON.parse(solc.compile(JSON.stringify(input)));
const complaints = (output.errors ?? []).filter((entry) => entry.severity !== "info");
if (complaints.length > 0) {
  process.stderr.write(complaints.map((entry) => entry.formattedMessage).join("\n"));
  process.exit(1);
}

const made = output.contracts[main][name];
const creation = "0x" + made.evm.bytecode.object;
const runtime = "0x" + made.evm.deployedBytecode.object;
const digest = (hex) => sha256(Buffer.from(hex.slice(2), "hex"));
const record = {
  contract: name,
  compiler: solc.version(),
  settings,
  sources: Object.fromEntries(sorted.map((file) => [file, sha256(texts[file])])),
  bytecodeSha256: digest(creation),
  runtimeSha256: digest(runtime),
  runtimeBytes: (runtime.length - 2) / 2,
  // Where the runtime holds immutables (zero here): mask these before comparing with the code of a deployed contract.
  immutableReferences: Object.values(made.evm.deployedBytecode.immutableReferences).flat().sort((a, b) => a.start - b.start),
  // The functions that change something: each has a row in the tests' matrix of roles.
  writing: made.abi.filter((one) => one.type === "function" && one.stateMutability === "nonpayable").map((one) => one.name).sort(),
  methods: made.evm.methodIdentifiers,
  abi: made.abi,
  bytecode: creation,
  runtime,
};
process.stdout.write(JSON.stringify(record, null, 1) + "\n");
