"""Issuers of OpenID Connect, which sign tokens in the shapes of five products, and publish their keys."""

import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwt  # LocalStack depends on it
from joserfc.jwk import RSAKey

SCOPES = ["users/read", "users/write"]


class Issuer:
    """An issuer, and what its tokens have in them."""

    # What stands before the random part of a subject, in a token and in the userId.
    prefix = ("", "")
    claim_of_scopes = "scope"
    # Whether a client without a user gets scopes.
    clients_have_scopes = True

    def __init__(self):
        self.keys = [RSAKey.generate_key(2048, {"kid": f"{self.kind}-{at}", "use": "sig"}) for at in range(2)]

    @property
    def parameters(self):
        """Those of a stack that takes the tokens."""
        parameters = {"Gateway": "HTTP", "AuthMode": "JWT", "IssuerKind": self.kind}
        return parameters | {"JwtIssuer": self.url, "JwtAudience": f"another,{self.audience}"}

    def scoped(self, scopes):
        return {"scope": " ".join(scopes)}

    def claims(self, subject, groups=(), scopes=SCOPES):
        now = int(time.time())
        common = {"iss": self.url, "iat": now, "nbf": now, "exp": now + 3600, "jti": "1"}
        return common | self.scoped(scopes) | self.of_user(subject, list(groups))

    def of_client_alone(self, client):
        """The claims of a client without a user."""
        return self.claims(client)

    def sign(self, claims, key=None, **header):
        """A token. The second key is the one in use: the one before is published still."""
        key = key or self.keys[1]
        return jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "JWT"} | header, claims, key)

    def token(self, *arguments, **rest):
        return self.sign(self.claims(*arguments, **rest))


class Auth0(Issuer):
    kind = "auth0"
    url = "https://tenant.eu.auth0.com/"
    audience = "https://users.example.com"
    prefix = ("auth0|", "auth0~7C")

    def of_user(self, subject, groups):
        audience = [self.audience, f"{self.url}userinfo"]
        return {"sub": subject, "aud": audience, "azp": "client", "permissions": groups}

    def of_client_alone(self, client):
        claims = self.claims(f"{client}@clients")
        return claims | {"aud": self.audience, "gty": "client-credentials"}


class Cognito(Issuer):
    kind = "cognito"
    url = "https://cognito-idp.eu-north-1.amazonaws.com/eu-north-1_abc"
    audience = "3fg2abcd"

    def of_user(self, subject, groups):
        claims = {"sub": subject, "client_id": self.audience, "token_use": "access", "version": 2}
        return claims | ({"cognito:groups": groups} if groups else {}) | {"username": "login"}

    def of_client_alone(self, client):
        # Its id is the audience.
        claims = self.claims(self.audience)
        del claims["username"]
        return claims


class Entra(Issuer):
    kind = "entra"
    url = "https://login.microsoftonline.com/5f0c54ac-3b6e-4a1c-9a43-0f3a1b2c3d4e/v2.0"
    audience = "9c1a4c1e-0000-4000-8000-000000000000"
    claim_of_scopes = "scp"
    clients_have_scopes = False

    def scoped(self, scopes):
        return {"scp": " ".join(scopes)}

    def of_user(self, subject, groups):
        claims = {"sub": f"pairwise-{subject}", "oid": subject, "aud": self.audience, "ver": "2.0"}
        return claims | {"tid": "5f0c54ac-3b6e-4a1c-9a43-0f3a1b2c3d4e", "roles": groups}

    def of_client_alone(self, client):
        claims = self.claims(client, SCOPES) | {"idtyp": "app"}
        del claims["scp"]
        return claims


class Keycloak(Issuer):
    kind = "keycloak"
    url = "https://sso.example.com/realms/staff"
    audience = "users"

    def of_user(self, subject, groups):
        claims = {"sub": subject, "aud": [self.audience, "account"], "azp": "client", "typ": "Bearer"}
        roles = {"roles": ["offline_access", "admin"]}
        return claims | {"groups": groups, "realm_access": roles, "email_verified": True}

    def of_client_alone(self, client):
        own = {"client_id": client, "azp": client, "preferred_username": f"service-account-{client}"}
        return self.claims("5f0c54ac-3b6e-4a1c-9a43-0f3a1b2c3d4f") | own


class Okta(Issuer):
    kind = "okta"
    url = "https://tenant.okta.com/oauth2/default"
    audience = "api://default"
    prefix = ("00u", "00u")
    claim_of_scopes = "scp"

    def scoped(self, scopes):
        return {"scp": list(scopes)}

    def of_user(self, subject, groups):
        claims = {"sub": "ada@example.com", "uid": subject, "cid": "0oaclient", "aud": self.audience}
        return claims | {"groups": groups, "auth_time": int(time.time()), "ver": 1}

    def of_client_alone(self, client):
        claims = self.claims(client) | {"sub": client, "cid": client}
        del claims["uid"]
        return claims


KINDS = [Auth0, Cognito, Entra, Keycloak, Okta]


class Documents:
    """The discovery documents and the keys of issuers, over HTTP on this machine."""

    def __init__(self, issuers):
        documents = {}
        for issuer in issuers:
            base = issuer.url.removesuffix("/")
            jwks = f"{base}/keys"
            documents[f"{base}/.well-known/openid-configuration"] = {"issuer": issuer.url, "jwks_uri": jwks}
            documents[jwks] = {"keys": [key.as_dict(private=False) for key in issuer.keys]}

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                document = documents.get(f"https:/{self.path}")
                body = json.dumps(document).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fetch(self, url):
        """The document at a URL of an issuer, from this machine."""
        host = f"http://127.0.0.1:{self.server.server_port}/"
        with urllib.request.urlopen(url.replace("https://", host)) as answer:
            return json.load(answer)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
