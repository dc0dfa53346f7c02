// The whole of what the patients' pages use of others' cryptography (MIT, Paul Miller).
export { secp256k1 } from "@noble/curves/secp256k1.js";
export { argon2idAsync } from "@noble/hashes/argon2.js";
export { keccak_256 } from "@noble/hashes/sha3.js";
