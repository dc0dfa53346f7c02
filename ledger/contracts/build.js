// Compiles src/ into artifacts, one JSON file per contract, byte for byte the same on every machine.
//
//     npm ci && node build.js artifacts
//
// Python never needs a compiler: the artifacts are committed, and a test rebuilds and compares them.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const solc = require("solc");

const SETTINGS = {
  evmVersion: "cancun", // the oldest that OpenZeppelin 5.7 allows; Besu and py-evm both have it
  metadata: { bytecodeHash: "none" },
  optimizer: { enabled: true, runs: 1000 },
};

function read(file) {
  const found = file.startsWith("@")
    ? path.join(__dirname, "node_modules", file)
    : path.join(__dirname, "src", file);
  return fs.readFileSync(found, "utf8");
}

/** The same object with its keys in order, so that equal content is equal bytes. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

function compile(files) {
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(files.map((file) => [file, { content: read(file) }])),
    settings: {
      ...SETTINGS,
      outputSelection: {
        "*": {
          "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode"],
          "": [],
        },
      },
    },
  };
  const output = JSON.parse(
    solc.compile(JSON.stringify(input), { import: (file) => ({ contents: read(file) }) }),
  );
  const complaints = output.errors ?? [];
  for (const complaint of complaints) process.stderr.write(complaint.formattedMessage);
  if (complaints.length > 0) throw new Error("the compiler complained; nothing was written");
  return output.contracts;
}

function main(folder) {
  const files = fs
    .readdirSync(path.join(__dirname, "src"))
    .filter((file) => file.endsWith(".sol"))
    .sort();
  const contracts = compile(files);
  fs.mkdirSync(folder, { recursive: true });
  for (const file of files) {
    const name = path.basename(file, ".sol");
    const { abi, evm } = contracts[file][name];
    const artifact = {
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
      immutableReferences: Object.values(evm.deployedBytecode.immutableReferences ?? {})
        .flat()
        .sort((a, b) => a.start - b.start),
      settings: SETTINGS,
      solcVersion: solc.version(),
      sourceSha256: crypto.createHash("sha256").update(read(file)).digest("hex"),
    };
    fs.writeFileSync(
      path.join(folder, `${name}.json`),
      `${JSON.stringify(sorted(artifact), null, 1)}\n`,
    );
  }
}

main(process.argv[2] ?? path.join(__dirname, "artifacts"));
