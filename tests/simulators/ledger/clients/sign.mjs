// Signs consents as any wallet built on ethers would; prints a JSON list of signatures.
// node sign.mjs < {"key": HEX, "asked": [{"type", "domain", "value"}, ...]}
import { readFileSync } from "node:fs";
import { ethers } from "ethers";

const TYPES = {
  Grant: [
    ["bytes32", "network"], ["bytes32", "study"], ["address", "subject"], ["uint128", "purposes"],
    ["bytes32", "purposeTable"], ["bytes32", "scope"], ["bytes32", "termsShown"],
    ["uint64", "notBefore"], ["uint64", "expiry"], ["uint32", "nonce"], ["uint64", "submitBy"],
  ],
  Withdrawal: [
    ["bytes32", "network"], ["bytes32", "study"], ["address", "subject"], ["uint32", "nonce"],
    ["uint64", "signedAt"],
  ],
};
const { key, asked } = JSON.parse(readFileSync(0, "utf8"));
const wallet = new ethers.Wallet(`0x${key}`);
const spelled = (kind, value) => (kind.startsWith("uint") && kind !== "uint128" ? value : `0x${value}`);
const made = asked.map(({ type, domain, value }) =>
  wallet.signTypedData(
    {
      name: "Twinward Consent",
      version: "1",
      chainId: domain.chain_id,
      verifyingContract: `0x${domain.contract}`,
      salt: `0x${domain.genesis}`,
    },
    { [type]: TYPES[type].map(([kind, name]) => ({ type: kind, name })) },
    Object.fromEntries(TYPES[type].map(([kind, name]) => [name, spelled(kind, value[name])])),
  ),
);
console.log(JSON.stringify((await Promise.all(made)).map((each) => each.slice(2))));
