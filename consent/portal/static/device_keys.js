// Signing on the patient's own device: the key is made here, sealed here, used here and forgotten.
//
// What leaves this device: the signed value, its signature, and the key sealed under the letter's
// code and a passphrase, or what a passkey gives. Neither of these does. The two types that can be signed, and the name of
// the signing domain, stand here and not in the page, so no page can have something else signed.
// Typed data: https://eips.ethereum.org/EIPS/eip-712. Argon2id: RFC 9106, second recommendation
// but for one lane. Passkeys: https://www.w3.org/TR/webauthn-3/#prf-extension. Cryptography: noble
// (vendored) and the browser's own AES-GCM, HKDF and SHA-256.
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
  const BY_PASSKEY = bytes("twinward/sealed-key/passkey/v1");

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

  function random(size) {
    return crypto.getRandomValues(new Uint8Array(size));
  }

  // A new passkey of this site; its id, if it can give bytes for a salt. It signs for nobody.
  async function newPasskey(name) {
    const made = await navigator.credentials.create({ publicKey: {
      rp: { name },
      user: { id: random(16), name, displayName: name },
      challenge: random(32),
      pubKeyCredParams: [{ type: "public-key", alg: -7 }, { type: "public-key", alg: -257 }],
      authenticatorSelection: { userVerification: "required", residentKey: "discouraged" },
      extensions: { prf: {} },
    } });
    if (!made.getClientExtensionResults().prf?.enabled) throw new Error("a passkey without PRF");
    return hex(new Uint8Array(made.rawId));
  }

  // Only this passkey gives these bytes, only to this site, once its owner was recognised. Nobody
  // looks at what it signs: that the box opens is the proof.
  async function wrappingByPasskey(passkey, secret) {
    const shown = await navigator.credentials.get({ publicKey: {
      challenge: random(32),
      allowCredentials: [{ type: "public-key", id: unhex(passkey.id) }],
      userVerification: "required",
      extensions: { prf: { eval: { first: unhex(passkey.salt) } } },
    } });
    const given = shown.getClientExtensionResults().prf?.results?.first;
    if (!given) throw new Error("a passkey without PRF");
    const whole = joined(new Uint8Array(given), unhex(secret));
    const base = await crypto.subtle.importKey("raw", whole, "HKDF", false, ["deriveKey"]);
    whole.fill(0);
    return crypto.subtle.deriveKey(
      { name: "HKDF", hash: "SHA-256", salt: unhex(passkey.salt), info: BY_PASSKEY },
      base, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"],
    );
  }

  async function sealed(key, lock, wrap) {
    const iv = random(12);
    const subject = addressOf(key);
    const box = await crypto.subtle.encrypt(
      { name: "AES-GCM", iv, additionalData: unhex(subject) }, wrap, key,
    );
    return { ...lock, subject, iv: hex(iv), box: hex(new Uint8Array(box)) };
  }

  async function opened(held, wrap) {
    const key = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: unhex(held.iv), additionalData: unhex(held.subject) },
      wrap,
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

  // How the key is locked, as it is kept, and what opens that.
  async function byPassphrase(form, asked) {
    const bar = form.querySelector("progress");
    const { value } = form.querySelector("[data-passphrase]");
    const kdf = asked.sealed?.kdf ?? { ...COST, salt: hex(random(16)) };
    const progress = (share) => { bar.value = share; };
    return [{ v: 1, kdf }, await wrapping(value, asked.secret, kdf, progress)];
  }

  async function byPasskey(form, asked) {
    const { name } = form.querySelector("[data-passkey]").dataset;
    const passkey = asked.sealed?.passkey ?? { id: await newPasskey(name), salt: hex(random(32)) };
    return [{ v: 2, passkey }, await wrappingByPasskey(passkey, asked.secret)];
  }

  async function sign(form, asked, unlocked) {
    const field = form.querySelector("[data-passphrase]");
    const held = asked.sealed;
    let key;
    let box = held;
    try {
      const [lock, wrap] = await unlocked(form, asked);
      if (held) {
        key = await opened(held, wrap);
      } else {
        key = secp256k1.utils.randomSecretKey();
        box = await sealed(key, lock, wrap);
      }
      const value = { ...asked.value, subject: box.subject };
      if (addressOf(key) !== box.subject) throw new Error("another key");
      form.elements.value.value = JSON.stringify(value);
      form.elements.signature.value = signed(asked.type, value, asked.domain, key);
      if (form.elements.sealed) form.elements.sealed.value = JSON.stringify(box);
    } finally {
      key?.fill(0);
      if (field) field.value = "";
    }
  }

  function prepare(form) {
    const asked = JSON.parse(form.dataset.asked);
    const field = form.querySelector("[data-passphrase]");
    const wrong = form.querySelector("[role=alert]");
    const working = form.querySelector("[data-working]");
    const button = form.querySelector("button:not([type])");
    const passkey = form.querySelector("[data-passkey]");
    let busy = false;

    async function signAndSend(unlocked) {
      if (busy) return;
      busy = true;
      wrong.hidden = true;
      working.hidden = false;
      button?.setAttribute("aria-disabled", "true");
      try {
        if (asked.type === "Grant") await requireSameTerms(asked);
        await sign(form, asked, unlocked);
      } catch (error) {
        busy = false;
        working.hidden = true;
        button?.removeAttribute("aria-disabled");
        // AES-GCM says no more than this about a wrong passphrase (W3C Web Cryptography, 26.4).
        const said = error.name === "OperationError" ? form.dataset.wrong : form.dataset.failed;
        wrong.textContent = unlocked === byPasskey ? passkey.dataset.failed : said;
        wrong.hidden = false;
        (unlocked === byPasskey ? passkey.querySelector("button") : field).focus();
        return;
      }
      form.submit();
    }

    form.addEventListener("submit", (event) => {
      if (!field || (!field.value && !field.required)) return; // stopping needs no key
      event.preventDefault();
      signAndSend(byPassphrase);
    });
    passkey?.querySelector("button").addEventListener("click", () => signAndSend(byPasskey));
    form.querySelector("[data-show]")?.addEventListener("change", (event) => {
      field.type = event.target.checked ? "text" : "password";
    });
  }

  // Shown only where this browser says that its passkeys can give bytes for a salt.
  async function offerPasskeys() {
    const can = await globalThis.PublicKeyCredential?.getClientCapabilities?.();
    if (!can?.["extension:prf"]) return;
    document.querySelectorAll("[data-passkey]").forEach((one) => { one.hidden = false; });
    document.querySelectorAll("[data-no-passkey]").forEach((one) => { one.hidden = true; });
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (!globalThis.crypto?.subtle) return; // no safe connection: the page stays as it is
    document.querySelectorAll("[data-with-script]").forEach((one) => { one.hidden = false; });
    document.querySelectorAll("[data-without-script]").forEach((one) => { one.hidden = true; });
    document.querySelectorAll("form[data-asked]").forEach(prepare);
    offerPasskeys();
  });
})();
