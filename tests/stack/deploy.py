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
- It has no CodeDeploy, no pipe, no `AWS::ApiGateway::DocumentationVersion`, no dashboard, and takes any
  metric query of an alarm. The stream is real; ../stack.py fills in the template of its events. It has no stage settings, so no throttling, no access logs and no traces.
- It routes no custom domain name: the function gets the event that the gateway would make of one.
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
import time
import unittest
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from unittest import mock

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import stack as rules  # tests/stack.py

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
        with (
            mock.patch.dict(rules.PSEUDO, {"AWS::StackName": self.name}),
            # SAM names a deployment by the second: two updates in one would have the same.
            mock.patch("time.time", return_value=next(SECONDS)),
        ):
            self.expected = rules.Stack(**parameters)
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
        self.api = self.resources["UserRequestApi"]

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

    def request(self, method, path, *, body=None, caller=None, **fields):
        """An answer of the stage: status, header fields, and the body, as JSON where it is."""
        url = f"{self.aws.endpoint}/_aws/execute-api/{self.api}/prod{path}"
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if body is not None:
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if caller == "signed":
            request = AWSRequest(method, url, headers, body)
            SigV4Auth(self.aws.session.get_credentials(), "execute-api", rules.REGION).add_auth(request)
            headers = dict(request.headers)
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
        checked = {"tables": 5, "users": 2, "claims": 2, "deletedUsers": 1, "histories": 2}
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
    arguments.add_argument("--user-service", type=Path, required=True, help="the command")
    arguments, rest = arguments.parse_known_args()
    ENVIRONMENT.user_service = arguments.user_service.resolve()
    aws = ENVIRONMENT.aws = Aws(arguments.endpoint)
    aws.functions = getattr(aws, "lambda")  # a keyword
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        package.write(arguments.bootstrap, "bootstrap")
    # Where the template of ../stack.py has the code.
    aws.s3.create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": rules.REGION}
    )
    aws.s3.put_object(Bucket="bucket", Key="key", Body=code.getvalue())
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
