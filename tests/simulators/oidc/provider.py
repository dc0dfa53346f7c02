"""An OpenID provider of our own making: a process, over TLS, that can be told to lie.

It keeps the rules of RFC 6749, RFC 7636 and OpenID Connect Core 1.0 by itself: registered client
and redirect URI, one-time codes, PKCE, client authentication. It signs with `cryptography` alone,
so that the library that verifies does not also make what is verified. Nobody types a password:
`/told` says who sits before it, and what is to be wrong with the next statement.

    provider.py FOLDER NOW [REDIRECT]     prints its port; ends with its standard input

Where people read pages, it shows one, so that the way back begins at this site as in life.
"""

import base64
import hashlib
import hmac
import html
import json
import secrets
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512

CLIENT, SECRET = "twinward", "s3cret/of+the client"
REDIRECT = "https://audit.example/sign-in/callback"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Signer:
    """Keys of one kind: the published one, and one that nobody published."""

    def __init__(self):
        make = lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)  # noqa: E731
        self.rsa, self.foreign = make(), make()
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def published(self):
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        x, y = (b64(value.to_bytes(32, "big")) for value in (e.x, e.y))
        return {
            "keys": [
                {"kty": "RSA", "kid": "r", "use": "sig", "n": number(r.n), "e": number(r.e)},
                {"kty": "EC", "kid": "e", "use": "sig", "crv": "P-256", "x": x, "y": y},
                {"kty": "oct", "kid": "o", "k": b64(b"everybody knows this")},
                {"kty": "AKP", "kid": "q", "alg": "ML-DSA-65", "pub": "AA"},
            ]
        }

    def public_pem(self):
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, claims, how):
        algorithm, kid = {
            "RS256": ("RS256", "r"),
            "ES256": ("ES256", "e"),
            "none": ("none", "r"),
            "hmac-public-key": ("HS256", "r"),
            "hmac-published": ("HS256", "o"),
            "foreign": ("RS256", "r"),
            "foreign-inside": ("RS256", "x"),
            "RS512": ("RS512", "r"),
        }[how]
        header = {"alg": algorithm, "kid": kid, "typ": "JWT"}
        if how == "foreign-inside":
            n = self.foreign.public_key().public_numbers()
            header["jwk"] = {"kty": "RSA", "kid": "x", "n": number(n.n), "e": number(n.e)}
        signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{b64(self._signature(signed.encode(), how))}"

    def _signature(self, data, how):
        if how == "none":
            return b""
        if how.startswith("hmac"):
            key = self.public_pem() if how == "hmac-public-key" else b"everybody knows this"
            return hmac.digest(key, data, "sha256")
        if how == "ES256":
            r, s = decode_dss_signature(self.ec.sign(data, ec.ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        key = self.foreign if how.startswith("foreign") else self.rsa
        return key.sign(data, padding.PKCS1v15(), SHA512() if how == "RS512" else SHA256())


class Provider(BaseHTTPRequestHandler):
    """One request; what is shared lies on the server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/.well-known/openid-configuration":
            self.answer(200, self.server.metadata() | self.server.told.get("metadata", {}))
        elif url.path == "/keys":
            self.answer(200, self.server.signer.published())
        elif url.path == "/authorize":
            self.authorize(query)
        else:
            self.answer(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/told":
            self.server.told = json.loads(body)
            self.answer(200, {})
        elif self.path == "/token":
            self.token({name: values[0] for name, values in parse_qs(body).items()})
        else:
            self.answer(404, {})

    def authorize(self, query):
        told = self.server.told
        if query.get("client_id") != CLIENT or query.get("redirect_uri") != self.server.redirect:
            self.answer(400, {"error": "invalid_request"})  # never redirect to an unknown place
            return
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.server.codes[code] = query | {"sub": told.get("sub", "sub-of-ada")}
        back = {"code": code, "state": query["state"], "iss": self.server.issuer}
        if told.get("deny"):
            back = {"error": "access_denied", "state": query["state"], "iss": self.server.issuer}
        back |= told.get("back", {})
        kept = {name: value for name, value in back.items() if value is not None}
        address = f"{self.server.redirect}?{urlencode(kept)}"
        if "text/html" in self.headers.get("accept", ""):
            self.show(f'<a href="{html.escape(address)}">I am Ada</a>')
            return
        self.send_response(302)
        self.send_header("location", address)
        self.send_header("content-length", "0")
        self.end_headers()

    def token(self, form):
        told = self.server.told
        pair = base64.b64decode(self.headers.get("authorization", "Basic ")[6:]).decode()
        if [unquote_plus(word) for word in pair.split(":")] != [CLIENT, SECRET]:
            self.answer(401, {"error": "invalid_client"})
            return
        asked = self.server.codes.pop(form.get("code"), None)  # a code works once
        verifier = form.get("code_verifier", "").encode()
        if (
            asked is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != asked["redirect_uri"]
            or b64(hashlib.sha256(verifier).digest()) != asked["code_challenge"]
        ):
            self.answer(400, {"error": "invalid_grant"})
            return
        now = self.server.now
        claims = {
            "iss": self.server.issuer, "sub": asked["sub"], "aud": CLIENT, "nonce": asked["nonce"],
            "iat": now, "exp": now + 300,
        } | told.get("claims", {})  # fmt: skip
        token = self.server.signer.token(claims, told.get("sign", "RS256"))
        self.answer(200, {"access_token": "x", "token_type": "Bearer", "id_token": token})

    def show(self, page):
        self.answer(200, page, kind="text/html")

    def answer(self, status, value, kind="application/json"):
        body = (value if kind == "text/html" else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder, now, redirect=REDIRECT):
        super().__init__(("127.0.0.1", 0), Provider)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "provider.pem", folder / "provider.key")
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.issuer = f"https://127.0.0.1:{self.server_port}"
        self.signer, self.codes, self.told = Signer(), {}, {}
        self.now, self.redirect = now, redirect

    def metadata(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }


if __name__ == "__main__":
    server = Server(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
