"""The stack, created, updated and deleted on an emulator of AWS, with the Lambda binary behind its
gateway. `.ci/deploy` starts the emulator (emulator.py) and runs this.

What is expected of an API comes from the document, as ../stack.py resolves it for the parameters; what
there is comes from the emulator's own CloudFormation and API Gateway. `python tests/stack.py` has the
rules for what the emulator does not do:

- It checks no signature, token, scope, resource policy or permission: it lets every request through.
  What each method asks of a caller is read back, and not tried.
- It makes the bodies and header fields of gateway responses without the document's templates. These
  are read back; their statuses are tried.
- It imports no authorization by signature and no gateway response, knows no `Mode: overwrite`, and
  updates neither an API nor its stage, nor a version or an alias of the function. emulator.py adds these:
  they show that document and template fit together, and not how AWS reads them. A merge keeps an old
  policy, authorizers and gateway responses here, and drops old paths, which AWS would keep too.
- It does not read `x-amazon-apigateway-auth`.
- It has no CodeDeploy, no web ACL, no pipe, no `AWS::ApiGateway::DocumentationVersion`, no dashboard, and takes any
  metric query of an alarm. The stream is real; ../stack.py fills in the template of its events. It has no stage settings, so no throttling, no access logs and no traces.
- It routes no custom domain name: the function gets the event that the gateway would make of one.
- It has no HTTP API: http_api.py makes one of the expanded template, which invokes the function here.
- It checks no `Rules` of the template, deletes what `RetainExceptOnCreate` keeps, and makes nothing in an
  update whose condition was false before.
"""

import argparse
import base64
import io
import itertools
import json
import re
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import stack as rules  # tests/stack.py
from http_api import HttpApi
from issuers import KINDS, Documents

RESPONSE = ["responseParameters", "responseTemplates"]
ANY = "x-amazon-apigateway-any-method"
ENVIRONMENT = argparse.Namespace()
SECONDS = itertools.count()


class Aws:
    """The emulator's services, in the account and region of ../stack.py."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        # The emulator takes the access key id for the account.
        self.session = boto3.Session(rules.ACCOUNT, "secret", region_name=rules.REGION)

    def __getattr__(self, service):
        client = self.session.client(
            service,
            endpoint_url=self.endpoint,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )
        setattr(self, service, client)
        return client


class Deployment:
    """The stack of that name, and what the template and the document say of it."""

    def __init__(self, name, **parameters):
        self.name = name
        self.aws = ENVIRONMENT.aws
        self.put("CREATE", parameters)

    def update(self, **parameters):
        self.put("UPDATE", parameters)

    def put(self, kind, parameters):
        """Creates or updates by a change set, as `sam deploy` does."""
        self.expected = self.expand(parameters)
        # It knows no web ACL, and an update looks for its ARN though there is none.
        template = self.expected.template
        template["Resources"] = {
            name: resource
            for name, resource in template["Resources"].items()
            if not resource["Type"].startswith("AWS::WAFv2::")
        }
        # The document makes the template too large for a request.
        key = f"{self.name}.json"
        self.aws.s3.put_object(Bucket="bucket", Key=key, Body=json.dumps(self.expected.template))
        change_set = self.aws.cloudformation.create_change_set(
            StackName=self.name,
            ChangeSetName=f"change-{time.monotonic_ns()}",
            ChangeSetType=kind,
            TemplateURL=f"{self.aws.endpoint}/bucket/{key}",
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": name, "ParameterValue": str(value)}
                for name, value in self.expected.parameters.items()
            ],
        )
        waiter = self.aws.cloudformation.get_waiter("change_set_create_complete")
        waiter.wait(ChangeSetName=change_set["Id"], WaiterConfig={"Delay": 1})
        self.aws.cloudformation.execute_change_set(ChangeSetName=change_set["Id"])
        stack = self.settled(f"{kind}_COMPLETE")
        if stack["StackStatus"] != f"{kind}_COMPLETE":
            events = self.aws.cloudformation.describe_stack_events(StackName=self.name)
            failed = [
                (event["LogicalResourceId"], event.get("ResourceStatusReason"))
                for event in events["StackEvents"]
                if event["ResourceStatus"].endswith("FAILED")
            ]
            reason = stack.get("StackStatusReason")
            raise AssertionError(f"{stack['StackStatus']}: {reason}: {failed}")
        self.outputs = {it["OutputKey"]: it["OutputValue"] for it in stack["Outputs"]}
        resources = self.aws.cloudformation.describe_stack_resources(StackName=self.name)
        self.resources = {
            it["LogicalResourceId"]: it["PhysicalResourceId"] for it in resources["StackResources"]
        }
        self.api = self.resources.get("UserRequestApi")

    def expand(self, parameters):
        with (
            mock.patch.dict(rules.PSEUDO, {"AWS::StackName": self.name}),
            # SAM names a deployment by the second: two updates in one would have the same.
            mock.patch("time.time", return_value=next(SECONDS)),
        ):
            return rules.Stack(**parameters)

    def settled(self, complete):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            (stack,) = self.aws.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
            status = stack["StackStatus"]
            # The emulator has the outputs a little later than the status.
            if not status.endswith("_IN_PROGRESS") and ("Outputs" in stack or status != complete):
                return stack
            time.sleep(0.1)
        raise AssertionError(f"still {status}")

    def delete(self):
        self.aws.cloudformation.delete_stack(StackName=self.name)
        waiter = self.aws.cloudformation.get_waiter("stack_delete_complete")
        waiter.wait(StackName=self.name, WaiterConfig={"Delay": 1})

    def named(self, value):
        """`value` of ../stack.py, with the resources' physical names for the logical ones in braces."""
        if isinstance(value, str):
            return re.sub(r"\{(\w+)}", lambda it: self.resources.get(it[1], it[0]), value)
        if isinstance(value, list):
            return [self.named(item) for item in value]
        if isinstance(value, dict):
            return {name: self.named(item) for name, item in value.items()}
        return value

    # The API as it was made.

    def authorizers(self):
        return {
            it["id"]: {"name": it["name"], "type": it["type"], "providerARNs": it["providerARNs"]}
            for it in self.aws.apigateway.get_authorizers(restApiId=self.api)["items"]
        }

    def methods(self):
        authorizers = self.authorizers()
        resources = self.aws.apigateway.get_resources(
            restApiId=self.api, limit=500, embed=["methods"]
        )
        methods = {}
        for resource in resources["items"]:
            for name, method in resource.get("resourceMethods", {}).items():
                integration = method["methodIntegration"]
                authorizer = authorizers.get(method.get("authorizerId"), {})
                methods[f"{name} {resource['path']}"] = {
                    "authorization": method["authorizationType"],
                    "authorizer": authorizer.get("name"),
                    "scopes": method.get("authorizationScopes", []),
                    "key": method["apiKeyRequired"],
                    "integration": integration["type"],
                    "uri": integration.get("uri"),
                    "requestTemplates": integration.get("requestTemplates") or {},
                    "passthrough": integration["passthroughBehavior"],
                    "responses": {
                        status: {field: response.get(field) or {} for field in RESPONSE}
                        for status, response in integration.get("integrationResponses", {}).items()
                    },
                }
        return methods

    def policy(self):
        policy = self.aws.apigateway.get_rest_api(restApiId=self.api).get("policy")
        # API Gateway gives it with its quotation marks escaped.
        return policy and json.loads(policy.replace('\\"', '"'))

    def gateway_responses(self):
        fields = ["statusCode", "responseParameters", "responseTemplates"]
        responses = self.aws.apigateway.get_gateway_responses(restApiId=self.api)["items"]
        return {
            it["responseType"]: {field: it[field] for field in fields}
            for it in responses
            if not it["defaultResponse"]
        }

    # The API as the document has it.

    def expected_authorizers(self):
        schemes = self.expected.document["components"]["securitySchemes"]
        return [
            {
                "name": name,
                "type": authorizer["type"].upper(),
                "providerARNs": authorizer["providerARNs"],
            }
            for name, scheme in sorted(schemes.items())
            if (authorizer := scheme.get("x-amazon-apigateway-authorizer"))
        ]

    def expected_methods(self):
        methods = {}
        for path, method, operation in self.expected.operations:
            authorization = self.expected.authorization(operation)
            scopes, authorizer = [], None
            if isinstance(authorization, tuple):
                scopes, authorization = list(authorization), "COGNITO_USER_POOLS"
                ((authorizer, _),) = operation["security"][0].items()
            integration = self.named(operation["x-amazon-apigateway-integration"])
            name = "ANY" if method == ANY else method.upper()
            methods[f"{name} {path}"] = {
                "authorization": authorization,
                "authorizer": authorizer,
                "scopes": scopes,
                "key": False,
                "integration": integration["type"].upper(),
                "uri": integration.get("uri"),
                "requestTemplates": integration.get("requestTemplates", {}),
                "passthrough": integration.get("passthroughBehavior", "when_no_match").upper(),
                "responses": {
                    response["statusCode"]: {field: response.get(field, {}) for field in RESPONSE}
                    for response in integration.get("responses", {}).values()
                },
            }
        return methods

    # Requests.

    @property
    def url(self):
        return f"{self.aws.endpoint}/_aws/execute-api/{self.api}/prod"

    def request(self, method, path, *, body=None, caller=None, **fields):
        """An answer of the stage: status, header fields, and the body, as JSON where it is."""
        url = f"{self.url}{path}"
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if body is not None:
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if caller == "signed":
            request = AWSRequest(method, url, headers, body)
            SigV4Auth(self.aws.session.get_credentials(), "execute-api", rules.REGION).add_auth(request)
            headers = dict(request.headers)
        elif isinstance(caller, str):
            headers["Authorization"] = f"Bearer {caller}"
        elif caller:
            claims = base64.urlsafe_b64encode(json.dumps(caller).encode()).decode().rstrip("=")
            headers["Authorization"] = f"Bearer e30.{claims}."
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.status, error.headers, error.read())

    def invoke(self, method, path, *, base_path="", **fields):
        """The answer of the alias `live` to the event of an API Gateway."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        identity = {"sourceIp": "192.0.2.1", "userArn": f"arn:aws:iam::{rules.ACCOUNT}:user/caller"}
        event = {
            "resource": path,
            "path": f"{base_path}{path}",
            "httpMethod": method,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "requestContext": {
                "path": f"{base_path or '/prod'}{path}",
                "stage": "prod",
                "httpMethod": method,
                "requestId": "0",
                "identity": identity,
            },
            "body": None,
            "isBase64Encoded": False,
        }
        alias = self.resources["UserFunctionAliaslive"]
        answer = self.aws.functions.invoke(FunctionName=alias, Payload=json.dumps(event))
        answer = json.loads(answer["Payload"].read())
        fields = answer.get("headers", {})
        fields |= {name: ", ".join(it) for name, it in answer["multiValueHeaders"].items()}
        return Answer(answer["statusCode"], fields, answer.get("body", "").encode())


class PreviousDeployment(Deployment):
    """A stack of the previous release, until it is updated."""

    def expand(self, parameters):
        if hasattr(self, "expected"):
            return super().expand(parameters)
        program = (
            "import json, sys; sys.path.insert(0, 'tests'); import stack\n"
            "name, parameters = json.loads(sys.argv[1])\n"
            "stack.PSEUDO['AWS::StackName'] = name\n"
            "made = stack.Stack(**parameters)\n"
            "print(json.dumps([made.template, made.parameters]))"
        )
        command = [sys.executable, "-c", program, json.dumps([self.name, parameters])]
        made = subprocess.run(
            command, cwd=ENVIRONMENT.previous_release, check=True, capture_output=True, text=True
        )
        template, parameters = json.loads(made.stdout)
        template["Resources"]["UserFunction"]["Properties"]["Code"]["S3Key"] = "previous-key"
        return argparse.Namespace(template=template, parameters=parameters)


class HttpDeployment(Deployment):
    """A stack with an HTTP API, which takes the tokens of issuers."""

    gateway = None

    def __init__(self, name, documents, **parameters):
        self.documents = documents
        super().__init__(name, **parameters)

    def put(self, kind, parameters):
        super().put(kind, parameters)
        self.close()
        self.gateway = HttpApi(self.expected, self.answer, self.documents.fetch)

    def answer(self, event):
        """The answer of the alias `live` to an event."""
        alias = self.resources["UserFunctionAliaslive"]
        answer = self.aws.functions.invoke(FunctionName=alias, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    @property
    def url(self):
        return self.gateway.url

    def close(self):
        if self.gateway:
            self.gateway.close()

    def delete(self):
        self.close()
        super().delete()


class Answer:
    def __init__(self, status, fields, body):
        self.status = status
        self.fields = {name.lower(): value for name, value in fields.items()}
        self.text = body.decode()

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {self.fields} {self.text[:300]}"


def named_tables(name):
    """The parameters of the tables that outlive a stack, so that another stack has others."""
    return {
        "TableName": name,
        "EmailsTableName": f"{name}-emails",
        "DeletedUsersTableName": f"{name}-deleted",
        "HistoryTableName": f"{name}-history",
    }


class Deployed(unittest.TestCase):
    maxDiff = None

    def deploy(self, name, **parameters):
        deployment = Deployment(name, **(named_tables(name) | parameters))
        self.addCleanup(deployment.delete)
        return deployment

    def check_api(self, deployment):
        """The API has exactly what the document has for the parameters."""
        methods, expected = deployment.methods(), deployment.expected_methods()
        self.assertEqual(methods.keys(), expected.keys())
        for name, method in methods.items():
            self.assertEqual(method, expected[name], name)
        by_name = sorted(deployment.authorizers().values(), key=lambda it: it["name"])
        self.assertEqual(by_name, deployment.expected_authorizers())
        document = deployment.expected.document
        self.assertEqual(deployment.policy(), document.get("x-amazon-apigateway-policy"))
        responses = document["x-amazon-apigateway-gateway-responses"]
        self.assertEqual(deployment.gateway_responses(), responses)
        stages = deployment.aws.apigateway.get_stages(restApiId=deployment.api)["item"]
        (deployed,) = deployment.expected.of_type("AWS::ApiGateway::Deployment")
        serving = {it["stageName"]: it["deploymentId"] for it in stages}["prod"]
        self.assertEqual(f"{serving}", deployment.resources[deployed].split("|")[0])

    def check_status(self, answer, status):
        self.assertEqual(answer.status, status, answer)

    def check_life(self, deployment, caller, reader=None, others=()):
        """Create, read, find, replace, patch, disable, list, delete, restore, export and erase; and what fails
        on the way."""

        def call(method, path, **rest):
            return deployment.request(method, path, caller=caller, **rest)

        ada = {"userId": "ada", "name": "Ada", "email": "ada@example.com"}
        created = call("POST", "/users", body=ada)
        self.check_status(created, 201)
        self.assertEqual(created.json["name"], "Ada")
        self.check_status(call("POST", "/users", body=ada), 409)
        self.check_status(call("POST", "/users", body={"name": 1}), 400)
        for path in ["/users/ada", "/users?userId=ada", "/users?email=ada@example.com"]:
            read = deployment.request("GET", path, caller=reader or caller)
            self.check_status(read, 200)
            self.assertEqual(read.json, created.json, path)
        unchanged = call("GET", "/users/ada", If_None_Match=read.fields["etag"])
        self.check_status(unchanged, 304)
        self.check_status(call("HEAD", "/users/ada"), 200)
        listed = call("GET", "/users?limit=5")
        self.assertCountEqual(listed.json["items"], [created.json, *others], listed)
        replaced = call("PUT", "/users/ada", body={"name": "Ada L", "email": "ada@example.com"})
        self.check_status(replaced, 200)
        patched = call(
            "PATCH", "/users/ada", body={"name": "A"}, Content_Type="application/merge-patch+json"
        )
        self.check_status(patched, 200)
        disabled = call(
            "PATCH",
            "/users/ada",
            body={"status": "disabled"},
            Content_Type="application/merge-patch+json",
        )
        self.check_status(disabled, 200)
        stale = call("DELETE", "/users/ada", If_Match=read.fields["etag"])
        self.check_status(stale, 412)
        self.check_status(call("DELETE", "/users/ada"), 204)
        self.check_status(call("GET", "/users/ada"), 404)
        self.check_deleted(call, disabled.json)

    def check_deleted(self, call, user):
        """The life of a user after its deletion, and what is known of it at each time."""
        deleted = call("GET", "/deleted-users/ada")
        self.check_status(deleted, 200)
        self.assertEqual(deleted.json["user"]["name"], user["name"])
        self.assertEqual(deleted.json["user"]["version"], user["version"] + 1)
        listed = call("GET", "/deleted-users?limit=5")
        self.assertEqual(listed.json["items"], [deleted.json], listed)
        exported = call("GET", "/users/ada/export")
        self.check_status(exported, 200)
        self.assertEqual(exported.json.keys(), {"deletedUser", "history"})
        # The address is free.
        bob = {"userId": "bob", "name": "Bob", "email": "ada@example.com"}
        self.check_status(call("POST", "/users", body=bob), 201)
        taken = call("POST", "/deleted-users/ada/restore")
        self.assertEqual((taken.status, taken.json["code"]), (409, "email_taken"))
        address = {"email": "ada@example.org"}
        restored = call("POST", "/deleted-users/ada/restore", body=address)
        self.check_status(restored, 200)
        self.assertEqual(restored.json["version"], user["version"] + 2)
        self.check_status(call("GET", "/deleted-users/ada"), 404)
        for path in ["/users/ada", "/users?email=ada@example.org"]:
            self.assertEqual(call("GET", path).json, restored.json, path)
        history = call("GET", "/users/ada/history?limit=6")
        self.check_status(history, 200)
        types = ["restored", "deleted", "disabled", "updated", "updated", "created"]
        found = [(it["type"], it["version"]) for it in history.json["items"]]
        self.assertEqual(found, [(f"user.{it}", 6 - at) for at, it in enumerate(types)])
        self.assertEqual(history.json["items"][0]["changed"], ["email"])
        exported = call("GET", "/users/ada/export")
        self.assertEqual(exported.json["user"], restored.json)
        self.assertEqual(exported.json["history"]["items"][:6], history.json["items"])
        # Gone for good: of the users, and of the deleted users.
        self.check_status(call("DELETE", "/users/bob?erase=true"), 204)
        self.check_status(call("DELETE", "/users/ada"), 204)
        self.check_status(call("DELETE", "/deleted-users/ada"), 204)
        for method, path in [
            ("GET", "/deleted-users/ada"),
            ("GET", "/deleted-users/bob"),
            ("DELETE", "/users/ada?erase=true"),
            ("POST", "/deleted-users/ada/restore"),
        ]:
            self.check_status(call(method, path), 404)
        history = call("GET", "/users/ada/history?limit=2")
        types = [it["type"] for it in history.json["items"]]
        self.assertEqual(types, ["user.erased", "user.deleted"])

    def check_paths(self, deployment, caller):
        """404 of the gateway where no route is, and 405 of the function where a method is not."""
        paths = ["/", "/nothing", "/nothing/else", "/users/ada/else", "/docs/else"]
        paths += ["/users/ada/history/else", "/deleted-users/ada/else", "/deleted-users/ada/restore/else"]
        for path in paths:
            for method in ["GET", "DELETE", "OPTIONS", "POST", "PUT"]:
                body = {} if method in ["POST", "PUT"] else None
                answer = deployment.request(method, path, body=body)
                self.check_status(answer, 404)
                self.assertEqual(answer.json["code"], "route_not_found")
            self.check_status(deployment.request("HEAD", path), 404)
            text = deployment.request("POST", path, body="text", Content_Type="text/plain")
            self.check_status(text, 404)
        for path in ["/users/ada", "/users/ada/history", "/users/ada/export", "/deleted-users/ada"]:
            answer = deployment.request("POST", path, caller=caller)
            self.check_status(answer, 405)
            self.assertIn("GET", answer.fields["allow"])
        # "ANY" is any of seven methods, and TRACE is none of them.
        responses = deployment.expected.document["x-amazon-apigateway-gateway-responses"]
        untaken = int(responses["MISSING_AUTHENTICATION_TOKEN"]["statusCode"])
        for path in ["/users", "/users/ada", "/deleted-users", "/users/ada/history"]:
            self.check_status(deployment.request("TRACE", path, caller=caller), untaken)


ADMIN = {"sub": "1", "cognito:groups": "admin", "scope": "users/read users/write"}
CALLERS = {"IAM": "signed", "COGNITO": ADMIN, "NONE": "signed"}


class Creation(Deployed):
    def test_users_live_behind_signatures(self):
        deployment = self.deploy("iam")
        self.check_api(deployment)
        self.check_life(deployment, "signed")
        self.check_paths(deployment, "signed")
        self.check_status(deployment.request("GET", "/docs"), 404)
        # The function asks for itself whether the gateway has let a caller through.
        refused = deployment.request("GET", "/users/ada")
        self.check_status(refused, 401)
        self.assertEqual(refused.json["code"], "unauthenticated")

    def test_users_live_behind_tokens(self):
        deployment = self.deploy("cognito", **rules.MODES["COGNITO"])
        self.check_api(deployment)
        self.check_life(deployment, ADMIN)
        self.check_paths(deployment, ADMIN)
        for path in ["/users", "/deleted-users"]:
            for caller, status in [(None, 401), ({"sub": "2", "scope": "users/read"}, 403)]:
                answer = deployment.request("GET", path, caller=caller)
                self.check_status(answer, status)

    def test_users_are_read_by_anyone_and_written_by_signers(self):
        deployment = self.deploy("none", **rules.MODES["NONE"])
        self.check_api(deployment)
        self.check_life(deployment, "signed")
        self.check_paths(deployment, "signed")
        self.check_status(deployment.request("GET", "/users"), 200)
        self.check_status(deployment.request("POST", "/users", body={"name": "Ada"}), 401)
        for path in ["/deleted-users", "/users/ada/history", "/users/ada/export"]:
            self.check_status(deployment.request("GET", path), 401)

    def test_existing_tables_are_used_and_stay(self):
        aws = ENVIRONMENT.aws
        names = named_tables("claims") | {"TableName": "Tutorial"}
        keys = [["userId"], ["email"], ["userId"], ["userId", "id"]]
        for table, key in zip(names.values(), keys):
            kinds = zip(key, ["HASH", "RANGE"])
            aws.dynamodb.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": it, "AttributeType": "S"} for it in key],
                KeySchema=[{"AttributeName": it, "KeyType": kind} for it, kind in kinds],
            )
        old = {"userId": "1", "name": "Test User", "email": "test@example.com"}
        item = {name: {"S": value} for name, value in old.items()}
        aws.dynamodb.put_item(TableName="Tutorial", Item=item)
        deployment = Deployment("tables", ExistingTables="all", **names)
        try:
            self.check_api(deployment)
            read = deployment.request("GET", "/users?userId=1", caller="signed")
            self.check_status(read, 200)
            self.assertEqual({name: read.json[name] for name in old}, old)
            self.assertFalse(deployment.resources.keys() & set(rules.LASTING.values()))
            self.check_life(deployment, "signed", others=[read.json])
        finally:
            deployment.delete()
        kept = aws.dynamodb.get_item(TableName="Tutorial", Key={"userId": {"S": "1"}})
        self.assertEqual(kept["Item"]["name"], item["name"])

    def test_the_tutorials_table_takes_one_parameter(self):
        key = [{"AttributeName": "userId", "KeyType": "HASH"}]
        ENVIRONMENT.aws.dynamodb.create_table(
            TableName="UserData",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "userId", "AttributeType": "S"}],
            KeySchema=key,
        )
        deployment = Deployment("tutorial", ExistingTables="users")
        self.addCleanup(deployment.delete)
        made = deployment.resources.keys() & set(rules.LASTING.values())
        self.assertEqual(made, set(rules.LASTING.values()) - {"UserTable"})
        self.check_life(deployment, "signed")

    def test_the_tables_that_the_stack_makes_outlive_it_and_are_taken_by_the_next_one(self):
        names = named_tables("retained")
        deployment = Deployment("retained", **names)
        user = {"userId": "ada", "name": "Ada", "email": "ada@example.com"}
        self.check_status(deployment.request("POST", "/users", body=user, caller="signed"), 201)
        self.check_status(deployment.request("DELETE", "/users/ada", caller="signed"), 204)
        kept = {deployment.resources[name] for name in rules.LASTING.values()}
        for name in kept - {deployment.resources["UserTable"], deployment.resources["UserEmailsTable"]}:
            expiry = deployment.aws.dynamodb.describe_time_to_live(TableName=name)
            self.assertEqual(expiry["TimeToLiveDescription"]["AttributeName"], "expiresAt")
        gone = deployment.resources["UserIdempotencyKeysTable"]
        deployment.delete()
        tables = ENVIRONMENT.aws.dynamodb.list_tables()["TableNames"]
        self.assertLessEqual(kept, set(tables))
        self.assertNotIn(gone, tables)
        with self.assertRaisesRegex(AssertionError, "(?i)already exists|preexisting"):
            self.deploy("again", **names)
        deployment = self.deploy("next", ExistingTables="all", **names)
        restored = deployment.request("POST", "/deleted-users/ada/restore", caller="signed")
        self.check_status(restored, 200)
        read = deployment.request("GET", "/users?email=ada@example.com", caller="signed")
        self.assertEqual((read.status, read.json["userId"]), (200, "ada"))
        history = deployment.request("GET", "/users/ada/history", caller="signed")
        types = [it["type"] for it in history.json["items"]]
        self.assertEqual(types, ["user.restored", "user.deleted", "user.created"])

    def test_the_stream_of_the_history_has_what_the_events_are_made_of(self):
        deployment = self.deploy("events", EventTarget=rules.BUS)
        self.check_api(deployment)
        self.check_life(deployment, "signed")
        aws, table = deployment.aws, deployment.resources["UserHistoryTable"]
        stream = aws.dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        pipe = deployment.expected.properties("EventPipe")
        self.assertEqual(pipe["Source"], "{UserHistoryTable.StreamArn}")
        (shard,) = aws.dynamodbstreams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
        start = pipe["SourceParameters"]["DynamoDBStreamParameters"]["StartingPosition"]
        shard = aws.dynamodbstreams.get_shard_iterator(
            StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType=start
        )
        records = aws.dynamodbstreams.get_records(ShardIterator=shard["ShardIterator"])["Records"]
        self.assertEqual({it["eventName"] for it in records}, {"INSERT"})
        events = {"ada": [], "bob": []}
        for record in records:
            # The strings of the record; the number is the time at which it expires.
            image = {name: it["S"] for name, it in record["dynamodb"]["NewImage"].items() if "S" in it}
            event = rules.event_of(pipe["TargetParameters"]["InputTemplate"], image)
            events[event["subject"]].append(event)
        for user_id, sent in events.items():
            history = deployment.request("GET", f"/users/{user_id}/history", caller="signed").json
            self.assertEqual(len(sent), len(history["items"]), sent)
            for event, record in zip(reversed(sent), history["items"]):
                data = event["data"]
                changed = data.pop("changed")
                self.assertEqual([it for it in changed.split(",") if it], record["changed"])
                data |= {"changed": record["changed"], "version": int(data["version"])}
                record |= data
                expected = {name: record[name] for name in ["id", "type", "time"]}
                self.assertEqual({name: event[name] for name in expected}, expected)
                self.assertEqual(event["source"], "/user-service/events")
                self.assertEqual({name: record[name] for name in data}, data)
        # What the pipe is given besides.
        queue = deployment.outputs["UnsentEventsQueueUrl"]
        attributes = aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        self.assertEqual(attributes["MessageRetentionPeriod"], str(14 * 24 * 60 * 60))
        self.assertIn("SecureTransport", attributes["Policy"])

    def test_a_custom_domain_leads_to_the_stage_under_its_base_path(self):
        aws = ENVIRONMENT.aws
        zone = aws.route53.create_hosted_zone(Name="example.com", CallerReference="1")
        zone = zone["HostedZone"]["Id"].split("/")[-1]
        certificate = aws.acm.request_certificate(DomainName="api.example.com")["CertificateArn"]
        deployment = self.deploy(
            "domain",
            DomainName="api.example.com",
            CertificateArn=certificate,
            HostedZoneId=zone,
            BasePath="v1",
        )
        self.check_api(deployment)
        (mapping,) = aws.apigateway.get_base_path_mappings(domainName="api.example.com")["items"]
        self.assertEqual(
            (mapping["basePath"], mapping["restApiId"], mapping["stage"]),
            ("v1", deployment.api, "prod"),
        )
        domain = aws.apigateway.get_domain_name(domainName="api.example.com")
        self.assertEqual(domain["regionalCertificateArn"], certificate)
        records = aws.route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        (record,) = [it for it in records if it["Type"] == "A"]
        self.assertEqual(record["Name"], "api.example.com.")
        self.assertEqual(record["AliasTarget"]["DNSName"].rstrip("."), domain["regionalDomainName"])
        self.assertEqual(deployment.outputs["ApiUrl"], "https://api.example.com/v1")
        self.check_life(deployment, "signed")
        self.check_status(deployment.invoke("GET", "/users", base_path="/v1"), 200)
        absent = deployment.invoke("GET", "/users/nobody", base_path="/v1")
        self.assertEqual((absent.status, absent.json["code"]), (404, "user_not_found"))

    def test_a_public_page_is_served_to_anyone(self):
        for mode in ["IAM", "NONE"]:
            with self.subTest(mode):
                deployment = self.deploy(f"docs-{mode}", **rules.MODES[mode], DocsPage="public")
                self.check_api(deployment)
                for path in sorted(rules.PAGE):
                    self.check_status(deployment.request("GET", path), 200)
                document = deployment.request("GET", "/openapi.json").json
                self.assertEqual(document["info"]["version"], deployment.expected.document["info"]["version"])
                self.check_paths(deployment, "signed")

    def test_a_deployment_that_ignores_alarms_is_whole(self):
        deployment = self.deploy(
            "ignore",
            DeploymentAlarms="ignore",
            UniqueEmails="off",
            ReservedConcurrency=5,
            GatewayLogsRole="existing",
        )
        self.check_api(deployment)
        for user_id in ["a", "b"]:
            user = {"userId": user_id, "name": "Ada", "email": "shared@example.com"}
            self.check_status(deployment.request("POST", "/users", body=user, caller="signed"), 201)
        for name in ["UserEmailsTable", "GatewayAccount"]:
            self.assertNotIn(name, deployment.resources)
        report = Doctor.doctor(self, "ignore")
        self.assertEqual((report["faults"], report["checked"]["tables"]), ([], 4))

    def test_pages_of_an_allowed_origin_may_call(self):
        origin = "https://app.example.com"
        deployment = self.deploy("cors", AllowedOrigins=origin)
        self.check_api(deployment)
        self.check_options(deployment, origin)
        preflight = {"Origin": origin, "Access_Control_Request_Method": "GET"}
        answer = deployment.request("OPTIONS", "/users", **preflight)
        self.assertEqual(answer.fields["access-control-allow-origin"], origin)
        self.assertIn("GET", answer.fields["access-control-allow-methods"])
        read = deployment.request("GET", "/users", caller="signed", Origin=origin)
        self.assertEqual(read.fields["access-control-allow-origin"], origin)

    def test_the_gateway_answers_options_as_the_function_does(self):
        deployment = self.deploy("options")
        self.check_options(deployment, "https://app.example.com")

    def check_options(self, deployment, origin):
        """The answer of the stage is that of the function, which a mock may stand for."""
        of_gateway = {"connection", "content-length", "content-type", "date", "server"}
        of_gateway |= {"x-amz-apigw-id", "x-amzn-requestid", "x-amzn-trace-id", "x-localstack"}
        preflight = {"Origin": origin, "Access_Control_Request_Method": "GET"}
        for path in rules.OPERATIONS:
            path = path.replace("{userId}", "ada")
            for fields in [{}, preflight, preflight | {"Origin": "https://other.example.com"}]:
                with self.subTest(f"{path} {fields}"):
                    answer = deployment.request("OPTIONS", path, **fields)
                    own = deployment.invoke("OPTIONS", path, **fields)
                    self.assertEqual((answer.status, answer.text), (own.status, own.text))
                    for it in [answer, own]:
                        for name in of_gateway:
                            it.fields.pop(name, None)
                    self.assertEqual(answer.fields, own.fields)


class CodeDeploy(BaseHTTPRequestHandler):
    """The call in which a hook says how it ended. The emulator has no CodeDeploy."""

    @classmethod
    def start(cls):
        server = ThreadingHTTPServer(("127.0.0.1", 0), cls)
        server.reports = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def log_message(self, *_):
        pass

    def do_POST(self):
        target = self.headers["X-Amz-Target"].removeprefix("CodeDeploy_20141006.")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.reports.append((target, json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


class Canary(Deployed):
    def check_version(self, deployment, version):
        """What the hook of the stack tells CodeDeploy of a version, and its log."""
        functions, name = deployment.aws.functions, deployment.resources["CanaryFunction"]
        codedeploy = CodeDeploy.start()
        self.addCleanup(codedeploy.server_close)
        self.addCleanup(codedeploy.shutdown)
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables["CANARY_TARGET"] = version
        variables["AWS_ENDPOINT_URL_CODEDEPLOY"] = f"http://127.0.0.1:{codedeploy.server_port}"
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables}
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        hook = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"}
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(hook))
        self.assertNotIn("FunctionError", answer, answer["Payload"].read())
        ((target, report),) = codedeploy.reports
        self.assertEqual(target, "PutLifecycleEventHookExecutionStatus")
        self.assertEqual((report["deploymentId"], report["lifecycleEventHookExecutionId"]), ("d-1", "e-1"))
        for table in ["TableName", "EmailsTableName", "DeletedUsersTableName"]:
            items = deployment.aws.dynamodb.scan(TableName=deployment.outputs[table])["Items"]
            self.assertEqual(items, [], table)
        return report["status"]

    def publish(self, deployment, **files):
        """A version of the function with these files."""
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
            for name, content in files.items():
                package.writestr(name, content)
        functions, name = deployment.aws.functions, deployment.resources["UserFunction"]
        functions.update_function_code(FunctionName=name, ZipFile=code.getvalue())
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        version = functions.publish_version(FunctionName=name)["FunctionArn"]
        functions.get_waiter("function_active_v2").wait(FunctionName=version, WaiterConfig={"Delay": 1})
        return version

    def test_the_hook_passes_a_good_version_and_fails_each_that_is_broken(self):
        deployment = self.deploy("hook")
        name = deployment.resources["CanaryFunction"]
        variables = deployment.aws.functions.get_function_configuration(FunctionName=name)
        good = variables["Environment"]["Variables"]["CANARY_TARGET"]
        alias = deployment.aws.functions.get_alias(
            FunctionName=deployment.resources["UserFunction"], Name="live"
        )
        self.assertEqual(good.split(":")[-1], alias["FunctionVersion"])
        self.assertEqual(self.check_version(deployment, good), "Succeeded")
        records = deployment.aws.dynamodb.scan(TableName=deployment.outputs["HistoryTableName"])["Items"]
        self.assertEqual({it["actorId"]["S"] for it in records}, {"canary"})
        service = ENVIRONMENT.bootstrap.read_bytes()
        broken = {
            # They read and write the wrong table. The second cannot erase what it made.
            "history": '#!/bin/sh\nHISTORY_TABLE_NAME=nowhere exec "$(dirname "$0")/service"\n',
            "deleted users": '#!/bin/sh\nDELETED_USERS_TABLE_NAME=nowhere exec "$(dirname "$0")/service"\n',
        }
        for what, bootstrap in broken.items():
            with self.subTest(what):
                version = self.publish(deployment, bootstrap=bootstrap, service=service)
                self.assertEqual(self.check_version(deployment, version), "Failed")
        # The stack's own version is as good as before.
        self.assertEqual(self.check_version(deployment, good), "Succeeded")


class Http(Deployed):
    """The stack with an HTTP API."""

    def setUp(self):
        self.issuers = [kind() for kind in KINDS]
        self.documents = Documents(self.issuers)
        self.addCleanup(self.documents.close)

    def deploy_http(self, name, **parameters):
        deployment = HttpDeployment(name, self.documents, **(named_tables(name) | parameters))
        self.addCleanup(deployment.delete)
        for resource in ["UserRequestApi", "UserRequestStage", "GatewayAccount", "GatewayAccountRole"]:
            self.assertNotIn(resource, deployment.resources)
        return deployment

    def check_code(self, answer, status, code):
        self.assertEqual((answer.status, answer.json.get("code")), (status, code), answer)

    def check_gateway(self, answer, status):
        """The gateway has refused the request itself."""
        self.check_status(answer, status)
        self.assertEqual(answer.json.keys(), {"message"}, answer)

    def check_routes(self, deployment, caller):
        for path in ["/", "/nothing", "/users/", "/users/ada/else", "/deleted-users/ada/else", "/docs", "/openapi.json"]:
            self.check_gateway(deployment.request("GET", path, caller=caller), 404)
        for path in ["/users/ada", "/users/ada/history", "/deleted-users/ada"]:
            for method in ["POST", "TRACE"]:
                answer = deployment.request(method, path, caller=caller)
                self.check_code(answer, 405, "method_not_allowed")
                self.assertIn("GET", answer.fields["allow"])
        for path in rules.OPERATIONS:
            answer = deployment.request("OPTIONS", path.replace("{userId}", "ada"))
            self.check_status(answer, 204)
            self.assertIn("OPTIONS", answer.fields["allow"])

    def check_own_life(self, deployment, issuer):
        """A user with a token of its own, beside another user and a client."""
        own, another = (issuer.token(f"{issuer.prefix[0]}{it}", ["editors"]) for it in ["eve", "mallory"])
        user_id = f"{issuer.prefix[1]}eve"
        path = f"/users/{user_id}"

        def call(method, path, caller=own, **rest):
            return deployment.request(method, path, caller=caller, **rest)

        created = call("POST", "/users", body={"name": "Eve", "email": "eve@example.com"})
        self.check_status(created, 201)
        self.assertEqual(created.json["userId"], user_id)
        self.assertEqual(created.fields["location"], f"/prod{path}")
        self.assertEqual(call("GET", path).json, created.json)
        patched = call("PATCH", path, body={"name": "E"}, Content_Type="application/merge-patch+json")
        self.check_status(patched, 200)
        for method in ["GET", "DELETE"]:
            self.check_code(call(method, path, another), 404, "user_not_found")
        replaced = call("PUT", path, another, body={"name": "M", "email": "eve@example.com"})
        self.check_code(replaced, 404, "user_not_found")
        for target in ["/users", "/users?email=eve@example.com", "/deleted-users"]:
            self.check_code(call("GET", target), 403, "access_denied")
        other = call("POST", "/users", body={"userId": "ada", "name": "Eve", "email": "e@example.com"})
        self.check_code(other, 403, "access_denied")
        # A client alone is a user whose id no person has. Without scopes, it does not come this far.
        client = issuer.sign(issuer.of_client_alone("client"))
        if issuer.clients_have_scopes:
            self.check_code(call("GET", path, client), 404, "user_not_found")
            self.check_code(call("GET", "/users", client), 403, "access_denied")
            created = call("POST", "/users", client, body={"name": "Client", "email": "client@example.com"})
            self.check_status(created, 201)
            self.assertRegex(created.json["userId"], "^~client-")
            own_path = f"/users/{created.json['userId']}"
            self.check_status(call("DELETE", f"{own_path}?erase=true", client), 204)
        else:
            self.check_gateway(call("GET", path, client), 403)
        self.check_status(call("DELETE", f"{path}?erase=true"), 204)

    def check_refusals(self, deployment, issuer):
        """What the gateway refuses. Each token differs from one that it takes."""
        claims = issuer.claims(f"{issuer.prefix[0]}eve", ["admin"])
        self.check_status(deployment.request("GET", "/users", caller=issuer.sign(claims)), 200)
        # The key before the one in use is still among those of the issuer.
        before = issuer.sign(claims, issuer.keys[0])
        self.check_status(deployment.request("GET", "/users", caller=before), 200)
        other = next(it for it in self.issuers if it.kind != issuer.kind)
        audience = "aud" if "aud" in claims else "client_id"
        head, payload, signature = issuer.sign(claims).split(".")
        unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        forged = issuer.sign(claims | {"scope": "users/read", "iss": "x"}).split(".")[1]
        refused = {
            "nothing": None,
            "no token": "token",
            "another issuer": other.token("eve"),
            "another issuer's signature": issuer.sign(claims, other.keys[1], kid=issuer.keys[1].kid),
            "a signature of nobody": f"{unsigned}.{payload}.",
            "other claims than signed": f"{head}.{forged}.{signature}",
            "another iss": issuer.sign(claims | {"iss": f"{issuer.url}x"}),
            "another audience": issuer.sign(claims | {audience: "others"}),
            "no audience": issuer.sign({name: it for name, it in claims.items() if name != audience}),
            "expired": issuer.sign(claims | {"exp": claims["iat"] - 1}),
            "not valid yet": issuer.sign(claims | {"nbf": claims["iat"] + 600}),
        }
        operations = [(method, path) for path, methods in rules.OPERATIONS.items() for method in methods]
        operations = [(method, path) for method, path in operations if method not in rules.ELSE]
        for method, path in operations:
            path = path.replace("{userId}", "ada")
            for why, token in refused.items():
                with self.subTest(f"{method} {path} with {why}"):
                    answer = deployment.request(method.upper(), path, caller=token)
                    self.check_status(answer, 401)
                    self.assertEqual(answer.fields["www-authenticate"], "Bearer")
        # Without a scope, such as an identity token, and with that of reads.
        for scopes in [[], ["openid", "users"], ["users/readonly"]]:
            token = issuer.token("eve", ["admin"], scopes)
            for method, path in operations:
                answer = deployment.request(method.upper(), path.replace("{userId}", "ada"), caller=token)
                self.check_status(answer, 403)
        reader = issuer.token("eve", ["admin"], ["openid", "users/read"])
        self.check_status(deployment.request("GET", "/users", caller=reader), 200)
        for method, path in operations:
            if method in rules.WRITES:
                answer = deployment.request(method.upper(), path.replace("{userId}", "ada"), caller=reader)
                self.check_status(answer, 403)

    def test_users_live_behind_tokens_of_each_issuer(self):
        tables = named_tables("issuers")
        deployment = None
        for issuer in self.issuers:
            with self.subTest(issuer.kind):
                if deployment:
                    # Another issuer is another version of the function, for its claims.
                    deployment.update(**tables, **issuer.parameters)
                else:
                    deployment = self.deploy_http("issuers", **issuer.parameters)
                admin = issuer.token(f"{issuer.prefix[0]}root", ["editors", "admin"])
                self.check_life(deployment, admin)
                self.check_own_life(deployment, issuer)
                self.check_refusals(deployment, issuer)
                self.check_routes(deployment, admin)

    def test_claims_of_ones_own_are_read_after_an_update(self):
        issuer = self.issuers[0]
        deployment = self.deploy_http("claims-own", **issuer.parameters)
        claim = "https://example.com/groups"
        claims = issuer.claims("auth0|root") | {claim: ["admin"], "employee": "7"}
        token = issuer.sign(claims)
        self.check_code(deployment.request("GET", "/users", caller=token), 403, "access_denied")
        own = {"GroupsClaim": claim, "SubjectClaim": "employee"}
        deployment.update(**named_tables("claims-own"), **issuer.parameters, **own)
        self.check_status(deployment.request("GET", "/users", caller=token), 200)
        user = {"userId": "7", "name": "Seven", "email": "seven@example.com"}
        created = deployment.request("POST", "/users", body=user, caller=token)
        self.assertEqual(created.json["createdBy"], {"type": "user", "id": "7"})

    def test_users_live_behind_signatures_at_an_http_api(self):
        deployment = self.deploy_http("http-iam", Gateway="HTTP")
        self.check_life(deployment, "signed")
        self.check_routes(deployment, "signed")
        for caller in [None, self.issuers[0].token("auth0|eve", ["admin"])]:
            self.check_gateway(deployment.request("GET", "/users", caller=caller), 403)

    def test_a_public_page_is_served_to_anyone_by_an_http_api(self):
        deployment = self.deploy_http("http-docs", **self.issuers[0].parameters, DocsPage="public")
        for path in sorted(rules.PAGE):
            self.check_status(deployment.request("GET", path), 200)
        self.check_gateway(deployment.request("GET", "/users"), 401)

    def test_the_function_alone_says_which_pages_may_call_an_http_api(self):
        origin = "https://app.example.com"
        issuer = self.issuers[0]
        deployment = self.deploy_http("http-cors", **issuer.parameters, AllowedOrigins=origin)
        preflight = {"Access_Control_Request_Method": "GET"}
        allowed = deployment.request("OPTIONS", "/users", Origin=origin, **preflight)
        self.assertEqual(allowed.fields["access-control-allow-origin"], origin)
        other = deployment.request("OPTIONS", "/users", Origin="https://other.example.com", **preflight)
        self.assertNotIn("access-control-allow-origin", other.fields)
        read = deployment.request("GET", "/users", caller=issuer.token("auth0|eve", ["admin"]), Origin=origin)
        self.check_status(read, 200)
        self.assertEqual(read.fields["access-control-allow-origin"], origin)


class Doctor(Deployed):
    """`user-service doctor --stack`, on a stack that is right, and on stacks that are wrong in one way each."""

    def doctor(self, stack, code=None):
        """The report, whose exit code agrees with it, or `code` without a report."""
        environment = {
            "AWS_ACCESS_KEY_ID": rules.ACCOUNT,
            "AWS_ENDPOINT_URL": ENVIRONMENT.aws.endpoint,
            "AWS_REGION": rules.REGION,
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        command = [ENVIRONMENT.user_service, "doctor", "--stack", stack, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        if code is not None:
            self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
            return done.stderr
        self.assertIn(done.returncode, [0, 1], done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if report["faults"] else 0, report)
        return report

    def check_faults(self, stack, *faults):
        report = self.doctor(stack)
        found = [(it["code"], it.get("table")) for it in report["faults"]]
        self.assertCountEqual(found, faults, report)
        return report

    def test_doctor_finds_nothing_on_a_right_stack_and_names_what_is_wrong(self):
        deployment = self.deploy("doctor")
        self.check_life(deployment, "signed")
        for user_id in ["ada", "bob", "eve"]:
            user = {"userId": user_id, "name": "Canary", "email": f"{user_id}@example.net"}
            self.check_status(deployment.request("POST", "/users", body=user, caller="signed"), 201)
        self.check_status(deployment.request("DELETE", "/users/bob", caller="signed"), 204)
        report = self.check_faults("doctor")
        self.assertEqual(report["skipped"], [])
        checked = {"tables": 5, "users": 2, "claims": 2, "deletedUsers": 1, "histories": 3}
        self.assertEqual(report["checked"], checked)
        dynamodb = deployment.aws.dynamodb
        lasting = [deployment.resources[name] for name in rules.LASTING.values()]
        for table in lasting:
            with self.subTest(f"recovery and protection of {table}"):
                self.set_recovery(table, False)
                self.check_faults("doctor", ("recovery_off", table))
                self.set_recovery(table, True)
                dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
                self.check_faults("doctor", ("protection_off", table))
                dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
        _, _, *expiring = lasting
        for table in [*expiring, deployment.outputs["IdempotencyTableName"]]:
            with self.subTest(f"Time to Live of {table}"):
                self.set_time_to_live(table, False)
                self.check_faults("doctor", ("ttl_off", table))
                self.set_time_to_live(table, True)
        with self.subTest("a user without a claim"):
            users, emails = lasting[:2]
            item = {"userId": {"S": "old"}, "email": {"S": "old@example.net"}}
            dynamodb.put_item(TableName=users, Item=item)
            report = self.check_faults("doctor", ("claim_missing", users))
            command = f"user-service --table {users} --emails-table {emails} claim-emails"
            self.assertEqual(report["faults"][0]["remedy"], command)
            dynamodb.delete_item(TableName=users, Key={"userId": item["userId"]})
        with self.subTest("a lost table"):
            lost = deployment.outputs["IdempotencyTableName"]
            dynamodb.delete_table(TableName=lost)
            self.check_faults("doctor", ("table_missing", lost))

    def set_recovery(self, table, is_on):
        recovery = {"PointInTimeRecoveryEnabled": is_on}
        ENVIRONMENT.aws.dynamodb.update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification=recovery
        )

    def set_time_to_live(self, table, is_on):
        expiry = {"AttributeName": "expiresAt", "Enabled": is_on}
        ENVIRONMENT.aws.dynamodb.update_time_to_live(
            TableName=table, TimeToLiveSpecification=expiry
        )

    def test_doctor_compares_the_version_of_the_stack(self):
        with mock.patch.dict(rules.TEMPLATE["Outputs"]["Version"], Value="0.0.1"):
            self.deploy("old-version")
        report = self.check_faults("old-version", ("version_differs", None))
        self.assertIn("has version 0.0.1,", report["faults"][0]["message"])
        outputs = {name: it for name, it in rules.TEMPLATE["Outputs"].items() if name != "Version"}
        with mock.patch.dict(rules.TEMPLATE, Outputs=outputs):
            self.deploy("no-version")
        self.check_faults("no-version", ("version_differs", None))

    def test_doctor_names_a_stack_that_failed_and_knows_no_other_stack(self):
        names = named_tables("failed")
        self.deploy("first", **names)
        with self.assertRaises(AssertionError):
            self.deploy("failed", **names)
        self.addCleanup(ENVIRONMENT.aws.cloudformation.delete_stack, StackName="failed")
        report = self.check_faults("failed", ("stack_status", None))
        self.assertEqual(report["skipped"][0]["check"], "the table of idempotency records")
        self.assertIn("does not exist", self.doctor("nowhere", code=2))
        body = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
        ENVIRONMENT.aws.cloudformation.create_stack(StackName="another", TemplateBody=body)
        self.addCleanup(ENVIRONMENT.aws.cloudformation.delete_stack, StackName="another")
        self.assertIn("is it a stack of this service?", self.doctor("another", code=2))


class Update(Deployed):
    def test_an_update_from_each_mode_to_each_other_leaves_what_the_new_one_has(self):
        # Each of the six changes once.
        first, *modes = ["IAM", "COGNITO", "IAM", "NONE", "COGNITO", "NONE", "IAM"]
        tables = named_tables("modes")
        deployment = self.deploy("modes", **rules.MODES[first])
        for before, mode in zip([first, *modes], modes):
            with self.subTest(f"from {before} to {mode}"):
                deployment.update(**rules.MODES[mode], **tables)
                self.check_api(deployment)
                functions, name = deployment.aws.functions, deployment.resources["UserFunction"]
                version = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
                function = functions.get_function_configuration(FunctionName=name, Qualifier=version)
                self.assertEqual(function["Environment"]["Variables"]["AUTH_MODE"], mode)
                self.check_life(deployment, CALLERS[mode])
                self.check_paths(deployment, CALLERS[mode])

    def test_an_upgrade_from_the_previous_release_keeps_every_user(self):
        if ENVIRONMENT.previous_release is None:
            self.skipTest("the previous release is not in this clone")
        names = named_tables("upgrade")
        before = {name: names[name] for name in ["TableName", "EmailsTableName"]}
        deployment = PreviousDeployment("upgrade", **before)
        self.addCleanup(deployment.delete)
        self.assertNotIn("UserHistoryTable", deployment.resources)

        def call(method, path, **rest):
            return deployment.request(method, path, caller="signed", **rest)

        users = {}
        for number in range(12):
            user = {"userId": f"user-{number}", "name": f"User {number}"}
            user |= {"email": f"user{number}@example.com", "metadata": {"number": number}}
            self.check_status(call("POST", "/users", body=user), 201)
            if number % 3 == 0:
                patch = {"phone": "+14155550100", "status": "disabled"}
                self.check_status(call("PATCH", f"/users/{user['userId']}", body=patch), 200)
            if number == 11:
                self.check_status(call("DELETE", f"/users/{user['userId']}"), 204)
            else:
                users[user["userId"]] = call("GET", f"/users/{user['userId']}").json

        deployment.update(**names)
        self.check_api(deployment)
        for user_id, user in users.items():
            self.assertEqual(call("GET", f"/users/{user_id}?consistent=true").json, user)
            self.assertEqual(call("GET", f"/users?email={user['email']}").json, user)
            self.assertEqual(call("GET", f"/users/{user_id}/history").json, {"items": []})
        self.check_status(call("GET", "/users/user-11"), 404)
        listed = call("GET", "/users?limit=100").json["items"]
        self.assertCountEqual(listed, users.values())
        # Each of them goes on, with the claim that it had.
        taken = {"name": "Another", "email": "user1@example.com"}
        self.check_status(call("POST", "/users", body=taken), 409)
        changed = call("PATCH", "/users/user-1", body={"email": "one@example.com"})
        self.assertEqual((changed.status, changed.json["version"]), (200, users["user-1"]["version"] + 1))
        self.check_status(call("POST", "/users", body=taken), 201)
        self.check_status(call("DELETE", "/users/user-2"), 204)
        self.check_status(call("POST", "/deleted-users/user-2/restore"), 200)
        history = call("GET", "/users/user-2/history").json["items"]
        self.assertEqual([it["type"] for it in history], ["user.restored", "user.deleted"])
        self.check_status(call("DELETE", "/users/user-3?erase=true"), 204)

    def test_an_update_to_other_tables_is_another_role_and_another_version(self):
        deployment = self.deploy("renamed")
        functions, name = deployment.aws.functions, deployment.resources["UserFunction"]

        def running():
            version = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
            return functions.get_function_configuration(FunctionName=name, Qualifier=version)

        before = running()
        deployment.update(**named_tables("renamed") | {"HistoryTableName": "renamed-before"})
        after = running()
        self.assertEqual(after["Environment"]["Variables"]["HISTORY_TABLE_NAME"], "renamed-before")
        self.assertNotEqual(before["Role"], after["Role"])
        self.assertNotEqual(before["Version"], after["Version"])
        self.check_life(deployment, "signed")

    def test_an_update_that_publishes_the_page_and_one_that_hides_it_reach_the_stage(self):
        tables = named_tables("page")
        deployment = self.deploy("page", **rules.MODES["NONE"])
        for page, status in [("public", 200), ("hidden", 404)]:
            deployment.update(**rules.MODES["NONE"], **tables, DocsPage=page)
            self.check_api(deployment)
            self.check_status(deployment.request("GET", "/docs"), status)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--endpoint", required=True, help="the emulator's")
    arguments.add_argument("--bootstrap", type=Path, required=True, help="the Lambda binary")
    arguments.add_argument("--previous-release", type=Path, help="its source")
    arguments.add_argument("--previous-bootstrap", type=Path, help="its Lambda binary")


    arguments.add_argument("--user-service", type=Path, required=True, help="the command")
    arguments, rest = arguments.parse_known_args()
    ENVIRONMENT.user_service = arguments.user_service.resolve()
    aws = ENVIRONMENT.aws = Aws(arguments.endpoint)
    ENVIRONMENT.bootstrap = arguments.bootstrap
    aws.functions = getattr(aws, "lambda")  # a keyword
    ENVIRONMENT.previous_release = arguments.previous_release
    aws.s3.create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": rules.REGION}
    )
    # Where the template of ../stack.py has the code, and where PreviousDeployment has it.
    for key, bootstrap in [
        ("key", arguments.bootstrap),
        ("previous-key", arguments.previous_bootstrap),
    ]:
        if bootstrap is None:
            continue
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
            package.write(bootstrap, "bootstrap")
        aws.s3.put_object(Bucket="bucket", Key=key, Body=code.getvalue())
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
