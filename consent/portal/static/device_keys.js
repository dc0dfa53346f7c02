// Signing on the patient's own device: the key is made here, sealed here, used here and forgotten.
//
// What leaves this device: the signed value, its signature, and the key sealed under a passphrase
// and the letter's code. The passphrase does not. The two types that can be signed, and the name of
// the signing domain, stand here and not in the page, so no page can have something else signed.
// Typed data: https://eips.ethereum.org/EIPS/eip-712. Argon2id: RFC 9106, second recommendation
// but for one lane. Cryptography: noble (vendored) and the browser's own AES-GCM and SHA-256.
"use strict";
(() => {
  const { argon2idAsync, keccak_256: keccak, secp256k1 } = noble;

  const TYPES = {
    Grant: [
      ["bytes32", "network"], ["bytes32", "study"], ["address", "subject"],
      ["uint128", "purposes"], ["bytes32", "purposeTable"], ["bytes32", "scope"],
      ["bytes32", "termsShown"], ["uint64", "notBefore"], ["uint64", "expiry"],
      ["uint32", "nonce"], ["uint64", "submitBy"],
    ],
    Withdrawal: [
      ["bytes32", "network"], ["bytes32", "study"], ["address", "subject"],
      ["uint32", "nonce"], ["uint64", "signedAt"],
    ],
  };
  const DOMAIN =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)";
  const COST = { t: 3, m: 65536, p: 1 }; // passes, KiB, lanes
  const MOST_KIB = 1 << 20;
  const PURPOSE = bytes("twinward/sealed-key/v1");

  function bytes(text) {
    return new TextEncoder().encode(text);
  }

  function hex(data) {
    return Array.from(data, (one) => one.toString(16).padStart(2, "0")).join("");
  }

  function unhex(text) {
    if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error("not hex");
    return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  }

  function joined(...parts) {
    const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    return all;
  }

  function word(kind, value) {
    const digits = kind.startsWith("uint")
      ? (kind === "uint128" ? value : BigInt(value).toString(16))
      : value;
    return unhex(digits.padStart(64, "0"));
  }

  function digestOf(name, value, domain) {
    const fields = TYPES[name];
    if (Object.keys(value).length !== fields.length || value.network !== domain.genesis) {
      throw new Error("not what this page may sign");
    }
    const type = `${name}(${fields.map((field) => field.join(" ")).join(",")})`;
    const separator = keccak(joined(
      keccak(bytes(DOMAIN)), keccak(bytes("Twinward Consent")), keccak(bytes("1")),
      word("uint256", domain.chain_id), word("address", domain.contract),
      word("bytes32", domain.genesis),
    ));
    const words = fields.map(([kind, field]) => word(kind, value[field]));
    const struct = keccak(joined(keccak(bytes(type)), ...words));
    return keccak(joined(Uint8Array.of(0x19, 0x01), separator, struct));
  }

  function signed(name, value, domain, key) {
    const digest = digestOf(name, value, domain);
    const made = secp256k1.sign(digest, key, { prehash: false, format: "recovered" });
    return hex(joined(made.slice(1), Uint8Array.of(made[0] + 27))); // r, s, v
  }

  function addressOf(key) {
    return hex(keccak(secp256k1.getPublicKey(key, false).slice(1)).slice(12));
  }

  async function wrapping(passphrase, secret, kdf, onProgress) {
    if (kdf.m > MOST_KIB) throw new Error("too costly");
    const stretched = await argon2idAsync(bytes(passphrase.normalize("NFKC")), unhex(kdf.salt), {
      t: kdf.t, m: kdf.m, p: kdf.p, dkLen: 32, key: unhex(secret), personalization: PURPOSE,
      onProgress,
    });
    const made = await crypto.subtle.importKey("raw", stretched, "AES-GCM", false, [
      "encrypt", "decrypt",
    ]);
    stretched.fill(0);
    return made;
  }

  async function sealed(key, passphrase, secret, onProgress) {
    const kdf = { ...COST, salt: hex(crypto.getRandomValues(new Uint8Array(16))) };
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const subject = addressOf(key);
    const box = await crypto.subtle.encrypt(
      { name: "AES-GCM", iv, additionalData: unhex(subject) },
      await wrapping(passphrase, secret, kdf, onProgress),
      key,
    );
    return { v: 1, subject, kdf, iv: hex(iv), box: hex(new Uint8Array(box)) };
  }

  async function opened(held, passphrase, secret, onProgress) {
    const key = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: unhex(held.iv), additionalData: unhex(held.subject) },
      await wrapping(passphrase, secret, held.kdf, onProgress),
      unhex(held.box),
    );
    return new Uint8Array(key);
  }

  // SHA-256 with length-prefixed parts, as the whole network does it.
  async function taggedHash(...parts) {
    const prefixed = parts.map(bytes).flatMap((part) => {
      const size = new DataView(new ArrayBuffer(8));
      size.setBigUint64(0, BigInt(part.length), true);
      return [new Uint8Array(size.buffer), part];
    });
    return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...prefixed))));
  }

  // The text on this page is the text that the signature is for.
  async function requireSameTerms(asked) {
    const shown = document.getElementById("terms").textContent;
    const { language, version } = asked.terms;
    const digest = await taggedHash("twinward/terms/v1", language, String(version), shown);
    if (digest !== asked.value.termsShown) throw new Error("the text is another one");
  }

  async function sign(form, asked) {
    const bar = form.querySelector("progress");
    const field = form.querySelector("[data-passphrase]");
    const progress = (share) => { bar.value = share; };
    const held = asked.sealed;
    let key;
    let box = held;
    try {
      if (held) {
        key = await opened(held, field.value, asked.secret, progress);
      } else {
        key = secp256k1.utils.randomSecretKey();
        box = await sealed(key, field.value, asked.secret, progress);
      }
      const value = { ...asked.value, subject: box.subject };
      if (addressOf(key) !== box.subject) throw new Error("another key");
      form.elements.value.value = JSON.stringify(value);
      form.elements.signature.value = signed(asked.type, value, asked.domain, key);
      if (form.elements.sealed) form.elements.sealed.value = JSON.stringify(box);
    } finally {
      key?.fill(0);
      field.value = "";
    }
  }

  function prepare(form) {
    const asked = JSON.parse(form.dataset.asked);
    const field = form.querySelector("[data-passphrase]");
    const wrong = form.querySelector("[role=alert]");
    const working = form.querySelector("[data-working]");
    const button = form.querySelector("button");
    let busy = false;
    form.addEventListener("submit", async (event) => {
      if (!field.value && !field.required) return; // stopping needs no key
      event.preventDefault();
      if (busy) return;
      busy = true;
      wrong.hidden = true;
      working.hidden = false;
      button.setAttribute("aria-disabled", "true");
      try {
        if (asked.type === "Grant") await requireSameTerms(asked);
        await sign(form, asked);
      } catch (error) {
        busy = false;
        working.hidden = true;
        button.removeAttribute("aria-disabled");
        // AES-GCM says no more than this about a wrong passphrase (W3C Web Cryptography, 26.4).
        wrong.textContent =
          error.name === "OperationError" ? form.dataset.wrong : form.dataset.failed;
        wrong.hidden = false;
        field.focus();
        return;
      }
      form.submit();
    });
    form.querySelector("[data-show]").addEventListener("change", (event) => {
      field.type = event.target.checked ? "text" : "password";
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (!globalThis.crypto?.subtle) return; // no safe connection: the page stays as it is
    document.querySelectorAll("[data-with-script]").forEach((one) => { one.hidden = false; });
    document.querySelectorAll("[data-without-script]").forEach((one) => { one.hidden = true; });
    document.querySelectorAll("form[data-asked]").forEach(prepare);
  });
})();
