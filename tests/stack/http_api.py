"""An HTTP API on this machine, before the function of a stack. LocalStack has none.

It reads its routes, authorizers and integrations, the stage, and the permissions of the function from the expanded
template, as ../stack.py resolves it, and does what the documentation of AWS says of them:

- https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
- https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
- https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html

How the claims of a token stand in the event is not documented; this is how events show them. It takes any signature of
AWS for one of the account, and has no throttling, no logs and no custom domain.
"""

import base64
import fnmatch
import json
import re
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jws  # LocalStack depends on it
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

ANY = "x-amazon-apigateway-any-method"
# "Currently, API Gateway only supports RSA-based algorithms."
ALGORITHMS = ["RS256", "RS384", "RS512"]


class Refusal(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class HttpApi:
    """The HTTP API of a stack. `invoke` answers an event, and `fetch` gets a JSON document by its URL."""

    def __init__(self, stack, invoke, fetch):
        self.stack, self.invoke, self.fetch = stack, invoke, fetch
        self.document = stack.properties("UserHttpApi")["Body"]
        # The answers to a preflight request would come from here, and not from the function.
        assert "x-amazon-apigateway-cors" not in self.document
        stage = stack.properties("UserHttpStage")
        assert stage["ApiId"] == "{UserHttpApi}" and stage["AutoDeploy"] is True, stage
        self.stage = stage["StageName"]
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.api = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/{self.stage}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method, target, headers, body):
        """The status, the header fields and the body of the answer to a request."""
        try:
            return self.integrate(method, target, headers, body)
        except Refusal as refusal:
            fields = {"content-type": "application/json"}
            if refusal.status == 401:
                fields["www-authenticate"] = "Bearer"
            return refusal.status, fields, json.dumps({"message": str(refusal)}).encode()

    def integrate(self, method, target, headers, body):
        path, _, query = target.partition("?")
        path = urllib.parse.unquote(path)
        before = f"/{self.stage}/"
        if not path.startswith(before):
            raise Refusal(404, "Not Found")
        template, route, parameters = self.route(method, path.removeprefix(before[:-1]))
        operation = self.document["paths"][template][route]
        authorizer = self.authorize(operation, headers)
        integration = self.document
        for part in operation["x-amazon-apigateway-integration"]["$ref"].removeprefix("#/").split("/"):
            integration = integration[part]
        assert integration["type"] == "aws_proxy" and integration["payloadFormatVersion"] == "2.0", integration
        assert integration["uri"].endswith("/functions/{UserFunction.Arn}:live/invocations"), integration
        if not self.may_invoke(method, template):
            raise Refusal(500, "Internal Server Error")
        key = f"{'ANY' if route == ANY else method} {template}"
        event = self.event(method, path, query, headers, body, key, parameters, authorizer)
        return self.answered(self.invoke(event))

    def route(self, method, path):
        """The path template and the method of the route, and the parameters in the path."""
        for template, item in self.document["paths"].items():
            assert "+" not in template, "greedy paths"
            pattern = re.sub(r"\\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
            found = re.fullmatch(pattern, path)
            route = method.lower() if method.lower() in item else ANY
            if found and route in item:
                return template, route, found.groupdict()
        raise Refusal(404, "Not Found")

    def may_invoke(self, method, template):
        """Whether a permission of the function allows the route."""
        asked = f"{{UserHttpApi}}/{self.stage}/{method}{template}"
        for permission in self.stack.of_type("AWS::Lambda::Permission").values():
            permission = permission["Properties"]
            assert permission["Principal"] == "apigateway.amazonaws.com", permission
            api = permission["SourceArn"].split(":", 5)[5]
            if permission["FunctionName"] == "{UserFunctionAliaslive}" and fnmatch.fnmatchcase(asked, api):
                return True
        return False

    # Who calls.

    def authorize(self, operation, headers):
        """What the authorizer of a route tells the function."""
        if not operation["security"]:
            return None
        [requirement] = operation["security"]
        [(name, scopes)] = requirement.items()
        scheme = self.document["components"]["securitySchemes"][name]
        if scheme.get("x-amazon-apigateway-authtype") == "awsSigv4":
            assert not scopes
            return self.signer(headers)
        authorizer = scheme["x-amazon-apigateway-authorizer"]
        assert authorizer["type"] == "jwt" and scopes, authorizer
        assert authorizer["identitySource"] == "$request.header.Authorization", authorizer
        claims = self.verified(headers.get("authorization", ""), authorizer["jwtConfiguration"])
        granted = claims.get("scope", claims.get("scp", []))
        granted = granted.split(" ") if isinstance(granted, str) else granted
        if not set(scopes) & set(granted):
            raise Refusal(403, "Forbidden")
        claims = {name: written(value) for name, value in claims.items()}
        return {"jwt": {"claims": claims, "scopes": scopes}}

    def signer(self, headers):
        if not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            raise Refusal(403, "Forbidden")
        account = "123456789012"
        return {
            "iam": {
                "accessKey": "example",
                "accountId": account,
                "callerId": "example",
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": f"arn:aws:iam::{account}:user/caller",
                "userId": "example",
            }
        }

    def verified(self, authorization, configuration):
        """The claims of a token that the issuer has signed for the audience, and that is valid now."""
        token = re.sub("^Bearer ", "", authorization)
        issuer = configuration["issuer"]
        try:
            discovery = self.fetch(f"{issuer.removesuffix('/')}/.well-known/openid-configuration")
            keys = KeySet.import_key_set(self.fetch(discovery["jwks_uri"]))
            signed = jws.deserialize_compact(token, keys, algorithms=ALGORITHMS)
            claims = json.loads(signed.payload)
        except (JoseError, ValueError):
            raise Refusal(401, "Unauthorized") from None
        # "API Gateway validates client_id only if aud is not present."
        audience = claims.get("aud", claims.get("client_id"))
        audience = audience if isinstance(audience, list) else [audience]
        now = time.time()
        is_valid = (
            "kid" in signed.protected
            and claims.get("iss") == issuer
            and set(audience) & set(configuration["audience"])
            and claims.get("exp", 0) > now
            and claims.get("nbf", 0) <= now
            and claims.get("iat", 0) <= now
        )
        if not is_valid:
            raise Refusal(401, "Unauthorized")
        return claims

    # The function.

    def event(self, method, path, query, headers, body, key, parameters, authorizer):
        """An event of payload format 2.0."""
        host = "id.execute-api.eu-north-1.amazonaws.com"
        context = {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": host,
            "domainPrefix": "id",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": key,
            "stage": self.stage,
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
            "timeEpoch": int(time.time() * 1000),
        }
        if authorizer:
            context["authorizer"] = authorizer
        event = {
            "version": "2.0",
            "routeKey": key,
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers | {"host": host},
            "requestContext": context,
            "isBase64Encoded": False,
        }
        if query:
            pairs = urllib.parse.parse_qs(query, keep_blank_values=True)
            event["queryStringParameters"] = {name: ",".join(it) for name, it in pairs.items()}
        if parameters:
            event["pathParameters"] = parameters
        if body:
            try:
                event["body"] = body.decode()
            except UnicodeDecodeError:
                event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        return event

    def answered(self, answer):
        """An answer of format 2.0, which has one value for each header field."""
        if "statusCode" not in answer:
            raise Refusal(500, "Internal Server Error")
        body = answer.get("body", "")
        body = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        return answer["statusCode"], answer.get("headers", {}), body


def written(value):
    """A claim as it stands in an event: a string, lists in brackets with spaces."""
    if isinstance(value, list):
        return f"[{' '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{written(it)}' for name, it in value.items())}]"
    return value if isinstance(value, str) else json.dumps(value)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        # A method of HTTP.
        if name.startswith("do_"):
            return self.do
        raise AttributeError(name)

    def do(self):
        headers = {}
        for name, value in self.headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        body = self.rfile.read(int(headers.get("content-length", 0)))
        status, fields, body = self.server.api.answer(self.command, self.path, headers, body)
        body = b"" if self.command == "HEAD" else body
        self.send_response(status)
        for name, value in fields.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        if status not in [204, 304]:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
