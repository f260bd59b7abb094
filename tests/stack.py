"""template.yaml and the OpenAPI documents, expanded as CloudFormation does it for each choice of parameters:
who may call what, what runs, and what it may do.

Run with a Python that has aws-sam-cli: `python tests/stack.py`.
"""

import contextlib
import copy
import fnmatch
import functools
import itertools
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest
from ipaddress import ip_address, ip_network
from pathlib import Path
from unittest import mock

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def read_yaml(path):
    return yaml_parse((ROOT / path).read_text())


TEMPLATE = read_yaml("template.yaml")
DEPLOYING = (ROOT / "docs/deploying.md").read_text()

REGION, ACCOUNT = "eu-north-1", "123456789012"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/users/a1b2c3d4-5678-90ab-cdef-EXAMPLE11111",
    "AWS::StackName": "users",
    "AWS::URLSuffix": "amazonaws.com",
}
POOL = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{REGION}_abc"
RANGES = "203.0.113.0/24,198.51.100.7/32"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/users"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:users"
STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/UserHistory/stream/2026-01-01T00:00:00.000"
# The smallest choice of parameters for each mode.
MODES = {
    "IAM": {},
    "COGNITO": {"AuthMode": "COGNITO", "UserPoolArn": POOL},
    "NONE": {"AuthMode": "NONE", "AllowedSourceRanges": RANGES},
}
# The smallest choice for the tokens of an issuer, which an HTTP API takes.
TOKENS = {
    "Gateway": "HTTP",
    "AuthMode": "JWT",
    "IssuerKind": "keycloak",
    "JwtIssuer": "https://sso.example.com/realms/staff",
    "JwtAudience": "users",
}
NO_VALUE = object()

READS, WRITES = {"get", "head"}, {"post", "put", "patch", "delete", "x-amazon-apigateway-any-method"}
ELSE = {"options", "x-amazon-apigateway-any-method"}
# Those of the users themselves: the reads are open to a list in NONE.
USERS = {
    "/users": READS | WRITES | ELSE,
    "/users/{userId}": READS | WRITES - {"post"} | ELSE,
}
# For services, admins and users: in NONE, callers have to sign.
LIFE = {
    "/deleted-users": READS | ELSE,
    "/deleted-users/{userId}": READS | {"delete"} | ELSE,
    "/deleted-users/{userId}/restore": {"post"} | ELSE,
    "/users/{userId}/export": READS | ELSE,
    "/users/{userId}/history": READS | ELSE,
}
OPERATIONS = USERS | LIFE
PAGE = {"/docs", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/initializer.js"}
PAGE |= {"/openapi.json"}
# Open to anyone, for there is nothing behind them: no route, or the page of the contract.
OPEN = {"/", "/{proxy+}", "/users/{userId}/{proxy+}"} | PAGE
OPEN |= {path for path in read_yaml("openapi.yaml")["paths"] if path.endswith("}/{proxy+}")}

# The tables that outlive the stack, by their word in ExistingTables.
LASTING = {
    "users": "UserTable",
    "emails": "UserEmailsTable",
    "deleted": "DeletedUsersTable",
    "history": "UserHistoryTable",
}
# The calls that are no actions of a transaction.
READING = {"BatchGetItem", "GetItem", "Query", "Scan"}
# Those of the function, by their permissions.
TABLES = {
    "TableName": ["BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Scan", "UpdateItem"],
    "EmailsTableName": ["DeleteItem", "GetItem", "PutItem"],
    "UserIdempotencyKeysTable": ["PutItem"],
    "DeletedUsersTableName": ["BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Scan"],
    "HistoryTableName": ["PutItem", "Query"],
}


# A query of CloudWatch Metrics Insights, whose conditions know `=`, `!=` and AND, and no OR:
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-querylanguage.html
NAME, VALUE = r"""(?:[A-Za-z_][A-Za-z0-9_]*|"[^"]+")""", r"'[^']*'"
METRICS_INSIGHTS = re.compile(
    rf"SELECT (?:AVG|COUNT|MAX|MIN|SUM)\({NAME}\)"
    rf" FROM (?:{NAME}|SCHEMA\({NAME}(?:, ?{NAME})*\))"
    rf"(?: WHERE {NAME} ?!?= ?{VALUE}(?: AND {NAME} ?!?= ?{VALUE})*)?"
    rf"(?: GROUP BY {NAME}(?:, ?{NAME})*)?"
    r"(?: ORDER BY (?:AVG|COUNT|MAX|MIN|SUM)\(\)(?: ASC| DESC)?)?"
    r"(?: LIMIT [0-9]+)?"
)


class Refused(Exception):
    """CloudFormation or API Gateway would not take this."""


class Stack:
    """The stack as it comes out for some parameters; the rest have their defaults."""

    def __init__(self, *, ignore_rules=False, change_document=lambda document: None, **parameters):
        self.parameters = self.choose(parameters)
        template = copy.deepcopy(TEMPLATE)
        self.conditions = template["Conditions"]
        if not ignore_rules:
            self.check_rules(template.pop("Rules"))
        template.pop("Rules", None)
        template = include(template, change_document)
        for function in ("UserFunction", "CanaryFunction"):
            template["Resources"][function]["Properties"]["CodeUri"] = "s3://bucket/key"
        translator = Translator({}, Parser())
        with mock.patch.dict(os.environ, AWS_DEFAULT_REGION=REGION):
            template = translator.translate(template, dict(self.parameters))
        self.template = template
        self.resources = {}
        for name, resource in template["Resources"].items():
            if self.condition(resource.get("Condition")):
                self.resources[name] = self.resolve(resource)
        self.outputs = self.resolve(
            {
                name: output
                for name, output in template["Outputs"].items()
                if self.condition(output.get("Condition"))
            }
        )

    @staticmethod
    def choose(chosen):
        unknown = chosen.keys() - TEMPLATE["Parameters"].keys()
        if unknown:
            raise Refused(f"no such parameter: {unknown}")
        parameters = {}
        for name, rules in TEMPLATE["Parameters"].items():
            value = chosen.get(name, rules["Default"])
            if value not in rules.get("AllowedValues", [value]):
                raise Refused(f"{name}={value}: one of {rules['AllowedValues']}")
            if not re.fullmatch(rules.get("AllowedPattern", ".*"), str(value), re.DOTALL):
                raise Refused(f"{name}={value}: {rules['AllowedPattern']}")
            if len(str(value)) > rules.get("MaxLength", 4096):
                raise Refused(f"{name}={value}: at most {rules['MaxLength']} characters")
            if rules["Type"] == "Number":
                low, high = rules.get("MinValue", value), rules.get("MaxValue", value)
                if not low <= value <= high:
                    raise Refused(f"{name}={value}: {low} to {high}")
            parameters[name] = value
        return parameters

    def check_rules(self, rules):
        for rule in rules.values():
            if self.resolve(rule["RuleCondition"]):
                for assertion in rule["Assertions"]:
                    if not self.resolve(assertion["Assert"]):
                        raise Refused(assertion["AssertDescription"])

    def condition(self, name):
        return name is None or self.resolve(self.conditions[name])

    def resolve(self, value):
        if isinstance(value, list):
            items = [self.resolve(item) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            if function == "Condition" and isinstance(argument, str) and argument in self.conditions:
                return self.condition(argument)
            if function == "Ref" or function.startswith("Fn::"):
                return self.call(function, argument)
        items = {name: self.resolve(item) for name, item in value.items()}
        return {name: item for name, item in items.items() if item is not NO_VALUE}

    def call(self, function, argument):
        match function:
            case "Ref":
                return self.reference(argument)
            case "Fn::GetAtt":
                name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
                return f"{{{name}.{attribute}}}"
            case "Fn::If":
                condition, then, otherwise = argument
                return self.resolve(then if self.condition(condition) else otherwise)
            case "Fn::Equals":
                left, right = self.resolve(argument)
                return str(left) == str(right)
            case "Fn::And":
                return all(self.resolve(item) for item in argument)
            case "Fn::Or":
                return any(self.resolve(item) for item in argument)
            case "Fn::Not":
                return not self.resolve(argument[0])
            case "Fn::Join":
                separator, parts = argument
                return separator.join(map(str, self.resolve(parts)))
            case "Fn::Select":
                index, items = self.resolve(argument)
                return items[index]
            case "Fn::Contains":
                items, item = self.resolve(argument)
                return str(item) in map(str, items)
            case "Fn::Split":
                separator, text = self.resolve(argument)
                return text.split(separator)
            case "Fn::Sub":
                text, variables = (argument, {}) if isinstance(argument, str) else argument
                variables = {name: self.resolve(item) for name, item in variables.items()}
                return re.sub(
                    r"\$\{([^}!]+)}",
                    lambda found: str(variables.get(found[1]) or self.reference(found[1])),
                    text,
                )
            case "Fn::FindInMap":
                first, *keys = argument
                found = self.template["Mappings"][first]
                for key in keys:
                    found = found[self.resolve(key)]
                return found
        raise NotImplementedError(function)

    def reference(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        return f"{{{name}}}"

    def of_type(self, kind):
        return {name: it for name, it in self.resources.items() if it["Type"] == kind}

    def properties(self, name):
        return self.resources[name]["Properties"]

    @property
    def document(self):
        return self.properties("UserRequestApi")["Body"]

    @property
    def operations(self):
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method != "parameters":
                    yield path, method, operation

    def authorization(self, operation):
        """What the method that API Gateway makes of the operation asks of a caller: NONE, AWS_IAM, or
        the scopes of a token, one of which is enough."""
        if "security" in self.document:
            # API Gateway applies it to operations that state none, and to some that state `[]`.
            raise Refused("security at the root of the document")
        schemes = self.document["components"]["securitySchemes"]
        asked = []
        for requirement in operation.get("security", []):
            for name, scopes in requirement.items():
                scheme = schemes[name]
                kind = scheme.get("x-amazon-apigateway-authtype")
                authorizer = scheme.get("x-amazon-apigateway-authorizer")
                if kind == "awsSigv4":
                    if scopes or authorizer:
                        # "Authorization Scopes are only valid for COGNITO_USER_POOLS authorization type"
                        raise Refused("scopes beside a signature")
                    asked.append("AWS_IAM")
                elif kind == "cognito_user_pools":
                    if authorizer != {"type": kind, "providerARNs": [self.parameters["UserPoolArn"]]}:
                        raise Refused("a type without an authorizer")
                    if not scopes:
                        raise Refused("without scopes, API Gateway takes identity tokens")
                    asked.append(tuple(scopes))
                elif kind or authorizer:
                    raise Refused(f"half a scheme: {name}")
                # A scheme that says nothing to API Gateway asks nothing.
        if explicit := operation.get("x-amazon-apigateway-auth"):
            asked.append(explicit["type"])
        if len(set(asked)) > 1:
            raise Refused(f"it is not known which of these holds: {asked}")
        return asked[0] if asked else "NONE"

    def gateway_answer(self, method, path, address, signed):
        """The status that API Gateway answers itself, or None where the service does. A signature is that
        of a caller of the account who may execute-api:Invoke.

        The policy alone decides where a method asks for no signature, and a signature counts for nothing
        there; otherwise a caller needs to be allowed by either:
        https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-authorization-flow.html
        """
        item = self.document["paths"][path]
        operation = item.get(method.lower(), item.get("x-amazon-apigateway-any-method"))
        authorization = self.authorization(operation)
        if authorization == "AWS_IAM" and not signed:
            return 401
        policy = self.document.get("x-amazon-apigateway-policy")
        if authorization == "NONE" and policy and not is_allowed(policy, method, path, address):
            return 403
        integration = operation["x-amazon-apigateway-integration"]
        if integration["type"] == "aws_proxy":
            return None
        return 204 if method == "OPTIONS" and path not in OPEN else 404


def is_allowed(policy, method, path, address):
    """Whether the resource policy allows anyone at the address the request."""
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow" and statement["Principal"] == "*", statement
        resources = statement["Resource"]
        resources = [resources] if isinstance(resources, str) else resources
        asked = f"execute-api:/prod/{method}{path}"
        if any(fnmatch.fnmatchcase(asked, resource) for resource in resources):
            ranges = statement.get("Condition", {"IpAddress": {"aws:SourceIp": ["0.0.0.0/0"]}})
            (ranges,) = ranges["IpAddress"].values()
            if any(ip_address(address) in ip_network(network) for network in ranges):
                return True
    return False


def include(value, change_document):
    """Every AWS::Include replaced with its file, which is the first that CloudFormation does."""
    if isinstance(value, list):
        return [include(item, change_document) for item in value]
    if not isinstance(value, dict):
        return value
    if transform := value.get("Fn::Transform"):
        assert transform["Name"] == "AWS::Include"
        document = copy.deepcopy(read_yaml(transform["Parameters"]["Location"]))
        change_document(document)
        return document
    return {name: include(item, change_document) for name, item in value.items()}


def queries(value):
    """Every query of Metrics Insights in a resource, or in the JSON of a dashboard."""
    if isinstance(value, str):
        if value.lstrip().upper().startswith("SELECT "):
            yield value
        elif value.lstrip().startswith("{"):
            with contextlib.suppress(ValueError):
                yield from queries(json.loads(value))
    elif isinstance(value, dict):
        yield from queries(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from queries(item)


def calling_code():
    """The code that calls DynamoDB."""
    files = [ROOT / "src/store.rs", *(ROOT / "src/store").glob("*.rs")]
    return "".join(file.read_text() for file in files)


def expected_authorization(mode, path, method):
    if path in OPEN or method == "options":
        return "NONE"
    if mode == "COGNITO":
        return ("users/read",) if method in READS else ("users/write",)
    return "NONE" if mode == "NONE" and method in READS and path in USERS else "AWS_IAM"


def check_authorization(test, stack, mode):
    met = {}
    for path, method, operation in stack.operations:
        expected = expected_authorization(mode, path, method)
        test.assertEqual(stack.authorization(operation), expected, f"{mode}: {method} {path}")
        met.setdefault(path, set()).add(method)
    for path, methods in OPERATIONS.items():
        test.assertEqual(met.pop(path), methods, path)
    test.assertEqual(met, {path: {"x-amazon-apigateway-any-method"} for path in OPEN})


class Authorization(unittest.TestCase):
    def test_every_method_of_every_mode_asks_what_it_should(self):
        for mode, parameters in MODES.items():
            with self.subTest(mode):
                check_authorization(self, Stack(**parameters), mode)

    def test_an_operation_that_loses_its_security_is_found(self):
        for mode, parameters in MODES.items():
            for path, methods in OPERATIONS.items():
                # In NONE, reads are open by x-amazon-apigateway-auth, whatever security says; that
                # it is there is a test of the document alone.
                is_open = mode == "NONE" and path in USERS
                for method in methods - {"options"} - (READS if is_open else set()):
                    with self.subTest(f"{mode}: {method} {path}"):

                        def lose(document):
                            del document["paths"][path][method]["security"]

                        stack = Stack(change_document=lose, **parameters)
                        with self.assertRaises(AssertionError):
                            check_authorization(self, stack, mode)

    def test_security_at_the_root_of_the_document_is_found(self):
        def add(document):
            document["security"] = [{"write": []}]

        with self.assertRaises(Refused):
            check_authorization(self, Stack(change_document=add), "IAM")

    def test_a_typing_error_in_a_mode_is_refused(self):
        for mode in ["iam", "Iam", "IAM ", "None", "none", "", "NONE,IAM", "COGNITO\n", "*"]:
            with self.subTest(mode), self.assertRaises(Refused):
                Stack(AuthMode=mode, UserPoolArn=POOL, AllowedSourceRanges=RANGES)

    def test_open_reads_need_a_list_of_source_addresses(self):
        for ranges in [
            "",
            " ",
            "*",
            "0.0.0.0/0",
            "203.0.113.0/24,0.0.0.0/0",
            "203.0.113.0/24, 198.51.100.7/32",
            "203.0.113.0",
            "203.0.113.0/33",
            "0.0.0.0/1,128.0.0.0/1",
            "203.0.113.0/24,10.0.0.0/7",
            "everyone",
            ",",
        ]:
            with self.subTest(ranges), self.assertRaises(Refused):
                Stack(AuthMode="NONE", AllowedSourceRanges=ranges)
        for ranges in ["10.0.0.0/8", "203.0.113.0/24,198.51.100.7/32,10.0.0.0/9"]:
            Stack(AuthMode="NONE", AllowedSourceRanges=ranges)

    def test_tokens_need_a_pool(self):
        for pool in ["", "*", "my-pool", POOL + ",*"]:
            with self.subTest(pool), self.assertRaises(Refused):
                Stack(AuthMode="COGNITO", UserPoolArn=pool)

    def test_no_combination_of_parameters_opens_a_write(self):
        """Not even where the rules of the template were not looked at."""
        choices = {
            "AuthMode": ["IAM", "COGNITO", "NONE"],
            "UserPoolArn": ["", POOL],
            "AllowedSourceRanges": ["", RANGES],
            "AllowedOrigins": ["", "*", "https://a.example,https://b.example"],
            "DocsPage": ["hidden", "public"],
            "StageName": ["prod", "docs"],
        }
        combinations = itertools.product(*choices.values())
        for combination in combinations:
            parameters = dict(zip(choices, combination))
            with self.subTest(parameters):
                stack = Stack(ignore_rules=True, **parameters)
                for path, method, operation in stack.operations:
                    if path in OPEN or method == "options":
                        continue
                    try:
                        authorization = stack.authorization(operation)
                    except Refused:
                        continue
                    if authorization == "NONE":
                        self.assertIn(method, READS)
                        self.assertIn(path, USERS)
                        self.assertEqual(parameters["AuthMode"], "NONE")
                        self.assertEqual(parameters["AllowedSourceRanges"], RANGES)

    def test_only_the_list_may_read_without_a_signature(self):
        for mode in ["IAM", "COGNITO"]:
            self.assertNotIn("x-amazon-apigateway-policy", Stack(**MODES[mode]).document)
        policy = Stack(**MODES["NONE"]).document["x-amazon-apigateway-policy"]
        reads, preflight = policy["Statement"]
        anyone = {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke"}
        # A statement that allowed writes to anyone would allow them to the signers of every account.
        self.assertEqual(
            reads,
            anyone
            | {
                "Sid": "Reads",
                "Resource": ["execute-api:/*/GET/*", "execute-api:/*/HEAD/*"],
                # A signed request needs a permission of its signer for what asks for a signature.
                "Condition": {
                    "IpAddress": {"aws:SourceIp": RANGES.split(",")},
                    "Null": {"aws:PrincipalArn": "true"},
                },
            },
        )
        self.assertEqual(
            preflight, anyone | {"Sid": "Preflight", "Resource": "execute-api:/*/OPTIONS/*"}
        )
        document = Stack(**MODES["NONE"], DocsPage="public").document
        *others, page = document["x-amazon-apigateway-policy"]["Statement"]
        self.assertEqual(others, [reads, preflight])
        page_paths = ["execute-api:/*/GET/docs*", "execute-api:/*/GET/openapi.json"]
        self.assertEqual(page, anyone | {"Sid": "Page", "Resource": page_paths})

    def test_the_documents_say_what_none_answers_to_whom(self):
        stack = Stack(**MODES["NONE"])
        listed, other = RANGES.split("/")[0], "192.0.2.1"
        # (what is asked for, signed, from where) and the answer; None is the service's own.
        methods = {"GET": "read", "HEAD": "read", "POST": "write", "DELETE": "write"}
        requests = {
            "read": list(USERS),
            "write": list(USERS),
            "read life": list(LIFE),
            "write life": list(LIFE),
            "read elsewhere": ["/", "/{proxy+}", "/users/{userId}/{proxy+}", "/docs"],
            "write elsewhere": ["/", "/{proxy+}", "/users/{userId}/{proxy+}", "/docs"],
        }
        answers = {}
        for signed, address in itertools.product([False, True], [listed, other]):
            for asked, paths in requests.items():
                found = {
                    str(stack.gateway_answer(method, path, address, signed) or "service")
                    for method, kind in methods.items()
                    if kind == asked.split()[0]
                    for path in paths
                }
                answers[asked, signed, address] = " or ".join(found)
        for path in [path for paths in requests.values() for path in paths]:
            self.assertIn(stack.gateway_answer("OPTIONS", path, other, False), [None, 204, 404], path)
        [table] = re.findall(r"^\| in `NONE`.*\n\| [- |]*\n((?:\|.*\n)+)", DEPLOYING, re.MULTILINE)
        rows = {
            asked.strip(): [cell.strip() for cell in cells]
            for asked, *cells in (row.strip("|").split("|") for row in table.splitlines())
        }
        columns = [(False, listed), (True, listed), (False, other), (True, other)]
        expected = {asked: [answers[asked, *column] for column in columns] for asked in requests}
        names = {
            "read": "`GET`, `HEAD` on a path of users",
            "write": "other method, except `OPTIONS`, on a path of users",
            "read life": "`GET`, `HEAD` on a path of deleted users, history or export",
            "write life": "other method, except `OPTIONS`, on such a path",
            "read elsewhere": "`GET`, `HEAD` on another path",
            "write elsewhere": "other method on another path",
        }
        self.assertEqual(rows, {names[asked]: cells for asked, cells in expected.items()})

    def test_a_changed_parameter_reaches_the_stage(self):
        with mock.patch("time.time", return_value=1):
            first = Stack().of_type("AWS::ApiGateway::Deployment").keys()
        with mock.patch("time.time", return_value=2):
            second = Stack().of_type("AWS::ApiGateway::Deployment").keys()
        self.assertEqual((len(first), len(second)), (1, 1))
        self.assertNotEqual(first, second)


class Integration(unittest.TestCase):
    def test_an_update_leaves_nothing_of_the_document_before(self):
        """By default CloudFormation merges the new document into the API: paths that are gone, and the
        resource policy of another AuthMode, would stay."""
        for mode, parameters in MODES.items():
            self.assertEqual(Stack(**parameters).properties("UserRequestApi").get("Mode"), "overwrite", mode)

    def test_every_operation_runs_the_alias_and_an_unknown_path_runs_nothing(self):
        for mode, docs, origins in itertools.product(MODES, ["hidden", "public"], ["", "*"]):
            stack = Stack(**MODES[mode], DocsPage=docs, AllowedOrigins=origins)
            for path, method, operation in stack.operations:
                with self.subTest(f"{mode}, {docs}, {origins}: {method} {path}"):
                    integration = operation["x-amazon-apigateway-integration"]
                    mocked = None
                    if path in OPEN and not (path in PAGE and docs == "public"):
                        mocked = 404
                    elif method == "options" and not origins:
                        mocked = 204
                    if mocked:
                        self.assertEqual(integration["type"], "mock")
                        status = json.loads(integration["requestTemplates"]["application/json"])
                        self.assertEqual(status, {"statusCode": mocked})
                        fields = integration["responses"]["default"]["responseParameters"]
                        shared = "method.response.header.Access-Control-Allow-Origin" in fields
                        self.assertEqual(shared, bool(origins))
                    else:
                        expected = {
                            "type": "aws_proxy",
                            "httpMethod": "POST",
                            "uri": f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
                            "{UserFunctionAliaslive}/invocations",
                        }
                        self.assertEqual(integration, expected)

    def test_the_alias_may_be_called_by_the_stage_that_serves_and_for_what_it_serves(self):
        served = ["deleted-users*", "users*"]
        for docs, paths in [("hidden", served), ("public", sorted([*served, "docs*", "openapi.json"]))]:
            stack = Stack(StageName="blue", DocsPage=docs)
            sources = []
            for permission in stack.of_type("AWS::Lambda::Permission").values():
                permission = permission["Properties"]
                sources.append(permission.pop("SourceArn"))
                self.assertEqual(
                    permission,
                    {
                        "Action": "lambda:InvokeFunction",
                        "FunctionName": "{UserFunctionAliaslive}",
                        "Principal": "apigateway.amazonaws.com",
                    },
                )
            api = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{{UserRequestApi}}/blue/*/"
            self.assertEqual(sorted(sources), [api + path for path in paths])
            # A path of an operation without permission would be 500.
            for path in OPERATIONS:
                self.assertTrue(any(fnmatch.fnmatchcase(path, f"/{it}") for it in paths), path)
            self.assertEqual(stack.of_type("AWS::Lambda::Url"), {})

    def test_the_gateway_lets_pages_read_its_answers_where_any_page_may_call(self):
        name = "gatewayresponse.header.Access-Control-Allow-Origin"
        for origins, expected in [("", None), ("https://a.example", "'*'"), ("*", "'*'")]:
            stack = Stack(AllowedOrigins=origins)
            responses = stack.document["x-amazon-apigateway-gateway-responses"]
            for kind, response in responses.items():
                self.assertEqual(response["responseParameters"].get(name), expected, kind)
            variables = stack.properties("UserFunction")["Environment"]["Variables"]
            self.assertEqual(variables["ALLOWED_ORIGINS"], origins)

    def test_a_new_version_is_tried_on_some_and_goes_back_on_an_alarm(self):
        stack = Stack()
        alias = stack.resources["UserFunctionAliaslive"]
        self.assertIn("CodeDeployLambdaAliasUpdate", alias["UpdatePolicy"])
        (group,) = stack.of_type("AWS::CodeDeploy::DeploymentGroup").values()
        group = group["Properties"]
        self.assertIn("Canary10Percent5Minutes", json.dumps(group["DeploymentConfigName"]))
        self.assertIn("DEPLOYMENT_STOP_ON_ALARM", group["AutoRollbackConfiguration"]["Events"])
        alarms = {alarm["Name"] for alarm in group["AlarmConfiguration"]["Alarms"]}
        self.assertEqual(
            alarms, {"{FunctionErrorsAlarm}", "{LatencyAlarm}", "{ServerErrorsAlarm}"}
        )
        # What mends an alarm must not be stopped by it.
        ignoring = Stack(DeploymentAlarms="ignore").of_type("AWS::CodeDeploy::DeploymentGroup")
        (group,) = ignoring.values()
        self.assertNotIn("Alarms", group["Properties"]["AlarmConfiguration"])

    def test_a_changed_parameter_of_the_function_is_a_new_version_of_it(self):
        def description(**parameters):
            stack = Stack(**parameters)
            (version,) = stack.of_type("AWS::Lambda::Version").values()
            # Another path is another role, with another id: it takes a replacement.
            path = stack.properties("UserFunctionRole")["Path"]
            described = version["Properties"]["Description"]
            self.assertIn("{UserFunctionRole.RoleId}", described)
            return described.replace("{UserFunctionRole.RoleId}", f"AROA of {path}")

        own = {"DomainName": "api.example.com", "CertificateArn": "arn:of:certificate"}
        changes = [
            MODES["COGNITO"],
            MODES["NONE"],
            {"MemorySize": 512},
            {"Timeout": 20},
            {"TableName": "Others"},
            {"UniqueEmails": "off"},
            {"EmailsTableName": "OtherEmails"},
            {"DeletedUsersTableName": "OtherDeleted"},
            {"HistoryTableName": "OtherHistory"},
            {"DeletedUsersDays": 0},
            {"History": "off"},
            {"HistoryDays": 1},
            {"AllowedOrigins": "*"},
            {"AdminGroup": "IT admin"},
            {**own, "BasePath": "v1"},
        ]
        # Another description is another version, as the documentation of CloudFormation has it.
        descriptions = {description(), *(description(**change) for change in changes)}
        self.assertEqual(len(descriptions), 1 + len(changes))
        # Another Architecture is another build.
        longest = {**MODES["COGNITO"], "MemorySize": 10240, "Timeout": 29}
        origins = ",".join(["https://a.example"] * 4)[:79] + "x"
        longest |= {"DeletedUsersDays": 3650, "HistoryDays": 3650, "UniqueEmails": "off", "History": "off"}
        longest |= {"AllowedOrigins": origins, "AdminGroup": "a" * 40}
        described = description(**longest, **own, BasePath="b" * 30)
        # A RoleId has 21 characters today, and 128 at most.
        path = Stack(**longest, **own).properties("UserFunctionRole")["Path"]
        self.assertLessEqual(len(described.replace(f"AROA of {path}", "A" * 64)), 256)

    def test_the_path_of_the_role_is_one_of_iam_whatever_the_tables_are_called(self):
        """https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html"""
        names = {name: "aZ_.-" * 12 for name in TABLES if name in TEMPLATE["Parameters"]}
        self.assertEqual(len(names), 4)
        path = Stack(**names).properties("UserFunctionRole")["Path"]
        self.assertRegex(path, r"^/[!-~]+/$")
        self.assertLessEqual(len(path), 512)

    def test_the_function_gets_every_variable_that_it_reads(self):
        settings = (ROOT / "src/settings.rs").read_text()
        read = set(re.findall(r'Setting::new\("([A-Z_]+)"', settings.split("#[cfg(test)]")[0]))
        # Of the local server.
        read -= {"EVENTS_SECRET"}
        # Lambda sets the region. The others have a default that suits a stack.
        read -= {"AWS_REGION", "PRIMING", "RUST_LOG", "TRUSTED_ROOTS"}
        chosen = {"DeletedUsersDays": 7, "History": "off", "HistoryDays": 500}
        chosen |= {"DeletedUsersTableName": "Gone", "HistoryTableName": "Before"}
        variables = Stack(**chosen).properties("UserFunction")["Environment"]["Variables"]
        self.assertEqual(variables.keys(), read)
        for name, value in chosen.items():
            variable = re.sub("(?<!^)(?=[A-Z])", "_", name).upper()
            self.assertEqual(variables[variable], value)

    def test_a_base_path_is_not_users(self):
        own = {"DomainName": "api.example.com", "CertificateArn": "arn:of:certificate"}
        with self.assertRaises(Refused):
            Stack(**own, BasePath="users")
        for base_path in ["users2", "user", "Users", "v1"]:
            stack = Stack(**own, BasePath=base_path)
            variables = stack.properties("UserFunction")["Environment"]["Variables"]
            self.assertEqual(variables["BASE_PATH"], base_path)

    def test_a_domain_of_ones_own_leads_to_the_stage(self):
        own = {"DomainName": "api.example.com", "CertificateArn": "arn:of:certificate"}
        self.assertEqual(Stack().of_type("AWS::ApiGateway::DomainName"), {})
        for parameters in [{"DomainName": "api.example.com"}, {"BasePath": "v1"}]:
            with self.assertRaises(Refused):
                Stack(**parameters)
        stack = Stack(**own, BasePath="v1", HostedZoneId="Z1")
        mapping = stack.properties("UserRequestDomainMapping")
        self.assertEqual((mapping["BasePath"], mapping["Stage"]), ("v1", "{UserRequestStage}"))
        self.assertEqual(stack.properties("UserRequestDomain")["SecurityPolicy"], "TLS_1_2")
        variables = stack.properties("UserFunction")["Environment"]["Variables"]
        self.assertEqual(variables["BASE_PATH"], "v1")
        self.assertEqual(stack.outputs["ApiUrl"]["Value"], "https://api.example.com/v1")
        self.assertIn("UserRequestDomainRecord", stack.resources)
        stack = Stack(**own)
        self.assertNotIn("BasePath", stack.properties("UserRequestDomainMapping"))
        self.assertEqual(stack.outputs["ApiUrl"]["Value"], "https://api.example.com")

    def test_with_a_domain_of_ones_own_the_api_has_no_other_address(self):
        own = {"DomainName": "api.example.com", "CertificateArn": "arn:of:certificate"}
        for parameters, disabled in [({}, False), (own, True)]:
            for mode in [{}, {"AuthMode": "COGNITO", "UserPoolArn": POOL}]:
                stack = Stack(**parameters, **mode)
                (server,) = stack.document["servers"]
                settings = server["x-amazon-apigateway-endpoint-configuration"]
                self.assertEqual(settings, {"disableExecuteApiEndpoint": disabled})
        url = Stack(**own, BasePath="v1").outputs["SignedCall"]["Value"]
        self.assertIn("https://api.example.com/v1/users?", url)

    def test_clients_of_a_domain_can_be_asked_for_certificates(self):
        own = {"DomainName": "api.example.com", "CertificateArn": "arn:of:certificate"}
        store = {"TruststoreUri": "s3://bucket/truststore.pem"}
        self.assertNotIn("MutualTlsAuthentication", Stack(**own).properties("UserRequestDomain"))
        asked = Stack(**own, **store).properties("UserRequestDomain")["MutualTlsAuthentication"]
        self.assertEqual(asked, store)
        asked = Stack(**own, **store, TruststoreVersion="v7").properties("UserRequestDomain")
        self.assertEqual(asked["MutualTlsAuthentication"]["TruststoreVersion"], "v7")
        with self.assertRaises(Refused):
            Stack(**store)

    def test_the_stage_has_the_web_acl_that_is_given_or_a_limit_for_each_address(self):
        self.assertEqual(Stack().of_type("AWS::WAFv2::WebACLAssociation"), {})
        acl = f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl/mine/a1b2c3d4-5678-90ab-cdef-111122223333"
        for parameters, arn in [
            ({"WebAclArn": acl}, acl),
            ({"RequestsPerAddress": 1000}, "{AddressLimit.Arn}"),
        ]:
            stack = Stack(**parameters)
            (association,) = stack.of_type("AWS::WAFv2::WebACLAssociation").values()
            self.assertEqual(association["DependsOn"], "UserRequestStage")
            it = association["Properties"]
            self.assertEqual(it["WebACLArn"], arn)
            stage = f"arn:aws:apigateway:{REGION}::/restapis/{{UserRequestApi}}/stages/prod"
            self.assertEqual(it["ResourceArn"], stage)
            self.assertEqual("AddressLimit" in stack.resources, "RequestsPerAddress" in parameters)
        (rule,) = stack.properties("AddressLimit")["Rules"]
        limit = rule["Statement"]["RateBasedStatement"]
        self.assertEqual((limit["Limit"], limit["EvaluationWindowSec"]), (1000, 300))
        self.assertEqual(rule["Action"], {"Block": {}})
        for visibility in [rule, stack.properties("AddressLimit")]:
            self.assertFalse(visibility["VisibilityConfig"]["SampledRequestsEnabled"])
        # The refusal is a problem document, like the others of the gateway.
        self.assertIn("WAF_FILTERED", stack.document["x-amazon-apigateway-gateway-responses"])
        for parameters in [
            {"WebAclArn": acl, "RequestsPerAddress": 1000},
            {"RequestsPerAddress": 9},
        ]:
            with self.assertRaises(Refused):
                Stack(**parameters)


class Canary(unittest.TestCase):
    def test_the_canary_runs_before_traffic_shifts_and_invokes_the_new_version(self):
        stack = Stack()
        policy = stack.resources["UserFunctionAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        self.assertEqual(policy["BeforeAllowTrafficHook"], "{CanaryFunction}")
        (version,) = stack.of_type("AWS::Lambda::Version")
        canary = stack.properties("CanaryFunction")
        variables = canary["Environment"]["Variables"]
        serving = "{UserFunction.Arn}:live"
        expected = {"CANARY_TARGET": f"{{{version}}}", "CANARY_SERVING": serving, "CANARY": "run"}
        self.assertEqual(variables, expected)
        skipping = Stack(DeploymentCanary="skip").properties("CanaryFunction")
        self.assertEqual(skipping["Environment"]["Variables"]["CANARY"], "skip")
        source = (ROOT / "src/settings/canary.rs").read_text()
        read = set(re.findall(r'Setting::new\(\s*"(\w+)"', source))
        self.assertEqual(read - {"CANARY_LIVES"}, set(variables))
        service = stack.properties("UserFunction")
        for property in ["Handler", "Runtime", "Architectures", "Code"]:
            self.assertEqual(canary[property], service[property])
        build = [TEMPLATE["Resources"][name] for name in ("CanaryFunction", "UserFunction")]
        builds = [(it["Metadata"]["BuildMethod"], it["Metadata"]["BuildProperties"]) for it in build]
        self.assertEqual(builds[0], builds[1])

    def test_codedeploy_may_invoke_the_canary_by_its_name(self):
        """The managed policy AWSCodeDeployRoleForLambda allows functions of this name, and no others."""
        for name in ["users", "u" * 128]:
            with mock.patch.dict(PSEUDO, {"AWS::StackName": name}):
                name = Stack().properties("CanaryFunction")["FunctionName"]
            self.assertRegex(name, "^CodeDeployHook_[A-Za-z0-9-]+$")
            self.assertLessEqual(len(name), 64)

    def test_the_canary_may_invoke_versions_report_and_log_and_nothing_else(self):
        role = Stack().properties("CanaryFunctionRole")
        self.assertNotIn("ManagedPolicyArns", role)
        allowed = set()
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                self.assertEqual(statement["Effect"], "Allow")
                self.assertNotIn("Condition", statement)
                actions = statement["Action"]
                for action in actions if isinstance(actions, list) else [actions]:
                    allowed.add((action, statement["Resource"]))
        group = f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:deploymentgroup:{{ServerlessDeploymentApplication}}/*"
        self.assertEqual(
            allowed,
            {
                ("lambda:InvokeFunction", "{UserFunction.Arn}:*"),
                ("codedeploy:PutLifecycleEventHookExecutionStatus", group),
                ("logs:CreateLogStream", "{CanaryFunctionLogs.Arn}"),
                ("logs:PutLogEvents", "{CanaryFunctionLogs.Arn}"),
            },
        )


class Doctor(unittest.TestCase):
    """What `user-service doctor` reads of a stack, and what it needs to be allowed."""

    def test_the_stack_names_its_version_and_its_tables(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        outputs = {name: it["Value"] for name, it in Stack().outputs.items()}
        self.assertEqual(outputs["Version"], version)
        self.assertEqual(outputs["IdempotencyTableName"], "{UserIdempotencyKeysTable}")
        named = {name for name in outputs if name.endswith("TableName")}
        self.assertEqual(len(named), 5)
        self.assertNotIn("EmailsTableName", Stack(UniqueEmails="off").outputs)

    def test_the_documented_policy_names_the_tables_of_the_stage(self):
        section = DEPLOYING.split("\n## doctor\n")[1].split("\n## ")[0]
        (policy,) = re.findall("```json\n(.*?)```", section, re.DOTALL)
        stack, tables = json.loads(policy)["Statement"]
        config = tomllib.loads((ROOT / "samconfig.toml").read_text())
        stage = config["dev"]["deploy"]["parameters"]
        name = stage["stack_name"]
        self.assertTrue(stack["Resource"].endswith(f":stack/{name}/*"))
        chosen = dict(it.split("=", 1) for it in stage["parameter_overrides"])
        expected = {value for key, value in chosen.items() if key.endswith("TableName")}
        expected.add(f"{name}-UserIdempotencyKeysTable-*")
        self.assertEqual({arn.split("/")[1] for arn in tables["Resource"]}, expected)
        self.assertTrue(all(re.fullmatch("dynamodb:(BatchGet|Describe|Get|Query|Scan).*", it) for it in tables["Action"]))


class Order(unittest.TestCase):
    def test_no_resource_waits_for_itself(self):
        """CloudFormation looks at all references, whatever the conditions are, and at those of an update
        policy, too: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html"""
        resources = Stack().template["Resources"]

        def references(value):
            if isinstance(value, list):
                for item in value:
                    yield from references(item)
            elif isinstance(value, dict):
                for key, item in value.items():
                    if key == "Ref":
                        yield item
                    elif key == "Fn::GetAtt":
                        yield (item if isinstance(item, list) else item.split("."))[0]
                    elif key == "Fn::Sub":
                        text = item if isinstance(item, str) else item[0]
                        yield from (it.split(".")[0] for it in re.findall(r"\$\{([^}!]+)}", text))
                        yield from references(item)
                    elif key == "DependsOn":
                        yield from [item] if isinstance(item, str) else item
                    else:
                        yield from references(item)

        waits = {name: set(references(it)) & resources.keys() for name, it in resources.items()}
        self.assertIn("ServerErrorsAlarm", waits["UserFunctionDeploymentGroup"])
        self.assertIn("UserFunctionDeploymentGroup", waits["UserFunctionAliaslive"])
        left = dict(waits)
        while ready := [name for name, others in left.items() if not others & left.keys()]:
            for name in ready:
                del left[name]
        self.assertEqual(left, {}, "these wait for each other")


class Permissions(unittest.TestCase):
    def test_the_function_may_do_what_it_does_and_nothing_else(self):
        table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/"
        others = {"TableName": "A12", "EmailsTableName": "B12", "DeletedUsersTableName": "C12"}
        others |= {"HistoryTableName": "D12"}
        for parameters in [
            {},
            {"TableName": "Users"},
            {"ExistingTables": "users", "TableName": "Others"},
            {**others, "ExistingTables": "all", "History": "off", "UniqueEmails": "off"},
            {"EventTarget": BUS},
        ]:
            stack = Stack(**parameters)
            self.assertEqual(stack.properties("UserFunction")["Role"], "{UserFunctionRole.Arn}")
            role = stack.properties("UserFunctionRole")
            self.assertNotIn("ManagedPolicyArns", role)
            statements = [
                statement
                for policy in role["Policies"]
                for statement in policy["PolicyDocument"]["Statement"]
            ]
            for statement in statements:
                self.assertEqual(statement.pop("Effect"), "Allow")
            of_tables = {}
            for statement in statements[: len(TABLES)]:
                actions = statement["Action"]
                actions = [actions] if isinstance(actions, str) else actions
                of_tables[statement["Resource"]] = actions
            expected = {
                table + stack.parameters[name] if name in stack.parameters else f"{{{name}.Arn}}": [
                    f"dynamodb:{call}" for call in calls
                ]
                for name, calls in TABLES.items()
            }
            self.assertEqual(of_tables, expected)
            self.assertEqual(
                statements[len(TABLES) :],
                [
                    {
                        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                        "Resource": "{UserFunctionLogs.Arn}",
                    },
                    {
                        "Action": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
                        "Resource": "*",
                    },
                ],
            )

    def test_the_function_is_allowed_the_calls_that_the_code_makes(self):
        """Of each table, by its name in the code."""
        names = {
            "TableName": "users",
            "EmailsTableName": "emails",
            "UserIdempotencyKeysTable": "idempotency_keys",
            "DeletedUsersTableName": "deleted_users",
            "HistoryTableName": "history",
        }
        made = {table: set() for table in TABLES}
        # An action of a transaction is allowed by its own name, which DynamoDB has in common with the call.
        for function in re.split(r"\n(?=fn )", (ROOT / "src/store/action.rs").read_text()):
            built = re.search(r"^    (ConditionCheck|Delete|Put|Update)::builder\(\)", function, re.MULTILINE)
            for table, name in names.items():
                if built and f"tables.{name}" in function:
                    made[table].add(f"{built[1]}Item")
        # The commands and the check of the tables are run by an operator.
        of_operator = {"claim_emails.rs", "doctor.rs", "forget_erased.rs", "reconcile.rs", "tables.rs"}
        files = [ROOT / "src/store.rs", *(ROOT / "src/store").glob("*.rs")]
        code = "".join(file.read_text() for file in files if file.name not in of_operator)
        calls = ["BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan"]
        calls += ["TransactGetItems", "UpdateItem"]
        for function in re.split(r"\n    (?:[a-z()]+ )*fn |\n}", code):
            for call in calls:
                if f".{re.sub('(?<!^)(?=[A-Z])', '_', call).lower()}()" in function:
                    tables = re.findall(r"self\.tables\.(\w+)", function)
                    tables += ["emails"] if ".table_name(emails)" in function else []
                    self.assertTrue(tables, function)
                    for table, name in names.items():
                        made[table] |= {call} if name in tables else set()
        self.assertEqual({table: sorted(calls) for table, calls in made.items()}, TABLES)

    def test_the_other_roles_are_those_of_codedeploy_and_of_the_gateways_logs(self):
        managed = {}
        for name, role in Stack().of_type("AWS::IAM::Role").items():
            # That of the pipe is in Events, that of the canary in Canary.
            if name not in {"CanaryFunctionRole", "UserFunctionRole"}:
                self.assertNotIn("Policies", role["Properties"], name)
                managed[name] = role["Properties"]["ManagedPolicyArns"]
        service = "arn:aws:iam::aws:policy/service-role/"
        self.assertEqual(
            managed,
            {
                "CodeDeployServiceRole": [service + "AWSCodeDeployRoleForLambda"],
                "GatewayAccountRole": [service + "AmazonAPIGatewayPushToCloudWatchLogs"],
            },
        )
        kept = Stack().resources
        for name in ["GatewayAccount", "GatewayAccountRole"]:
            self.assertEqual(kept[name]["DeletionPolicy"], "RetainExceptOnCreate", name)
            self.assertNotIn(name, Stack(GatewayLogsRole="existing").resources)


class Operation(unittest.TestCase):
    def test_the_stage_serves_what_was_deployed_and_knows_its_documentation(self):
        stack = Stack()
        stage = stack.properties("UserRequestStage")
        (deployment,) = stack.of_type("AWS::ApiGateway::Deployment")
        self.assertEqual(stage["DeploymentId"], f"{{{deployment}}}")
        self.assertEqual(stage["StageName"], "prod")
        (settings,) = stage["MethodSettings"]
        self.assertEqual((settings["ThrottlingRateLimit"], settings["LoggingLevel"]), (100, "OFF"))
        self.assertIs(settings["DataTraceEnabled"], False)

    def test_each_deployment_publishes_the_documentation_of_its_document(self):
        """What is published under a version stays as it is."""
        stack = Stack()
        (deployment,) = stack.of_type("AWS::ApiGateway::Deployment")
        documentation = stack.properties("UserRequestDocumentation")
        version = stack.document["info"]["version"]
        self.assertEqual(documentation["DocumentationVersion"], f"{version}-{{{deployment}}}")
        # What Ref makes of the resource is documented nowhere.
        stage = stack.resources["UserRequestStage"]
        published = stage["Properties"]["DocumentationVersion"]
        self.assertEqual(published, documentation["DocumentationVersion"])
        self.assertIn("UserRequestDocumentation", stage["DependsOn"])

    def test_the_name_of_the_api_is_the_stacks_own_and_alarms_and_dashboard_know_it_by_that(self):
        """CloudWatch knows a REST API by its name, and adds up those of all APIs that have it."""
        for parameters, name in [({}, "users-UserRequestAPI"), ({"ApiName": "Others"}, "Others")]:
            stack = Stack(**parameters)
            self.assertEqual(stack.properties("UserRequestApi")["Name"], name)
            self.assertEqual(stack.document["info"]["title"], "UserRequestAPI")
            names = []
            for alarm in stack.of_type("AWS::CloudWatch::Alarm").values():
                dimensions = alarm["Properties"].get("Dimensions", [])
                names += [it["Value"] for it in dimensions if it["Name"] == "ApiName"]
            self.assertEqual(names, [name] * 2)
            body = json.loads(stack.properties("Dashboard")["DashboardBody"])
            metrics = [metric for it in body["widgets"] for metric in it["properties"].get("metrics", [])]
            names = [metric[metric.index("ApiName") + 1] for metric in metrics if "ApiName" in metric]
            self.assertEqual(names, [name] * 2)
        for name in ["a" * 101, "a'b", 'a"b', "a/b"]:
            with self.assertRaises(Refused):
                Stack(ApiName=name)

    def test_the_stage_is_traced_only_where_that_is_asked_for(self):
        """A segment of the stage holds the URL, with a userId or an email in it, and the address of the
        client."""
        traced = {
            tracing: Stack(StageTracing=tracing).properties("UserRequestStage")["TracingEnabled"]
            for tracing in ["off", "on"]
        }
        self.assertEqual(traced, {"off": False, "on": True})
        self.assertEqual(TEMPLATE["Parameters"]["StageTracing"]["Default"], "off")
        for name, stage in Stack(StageTracing="on").of_type("AWS::ApiGateway::Stage").items():
            if name != "UserRequestStage":
                self.assertFalse(stage["Properties"].get("TracingEnabled"), name)
        # Those of the function hold no URL.
        self.assertEqual(Stack().properties("UserFunction")["TracingConfig"], {"Mode": "Active"})

    def test_the_stage_that_sam_makes_lets_nothing_through(self):
        stages = Stack().of_type("AWS::ApiGateway::Stage")
        (closed,) = [it["Properties"] for name, it in stages.items() if name != "UserRequestStage"]
        (settings,) = closed["MethodSettings"]
        self.assertEqual((settings["HttpMethod"], settings["ResourcePath"]), ("*", "/*"))
        self.assertEqual((settings["ThrottlingBurstLimit"], settings["ThrottlingRateLimit"]), (0, 0))
        with self.assertRaises(Refused):
            Stack(StageName=closed["StageName"])

    def test_access_logs_are_json_without_personal_data(self):
        stack = Stack()
        logged = json.loads(stack.properties("UserRequestStage")["AccessLogSetting"]["Format"])
        self.assertEqual(
            set(logged.values()),
            {
                "$context.error.responseType",
                "$context.extendedRequestId",
                "$context.httpMethod",
                "$context.integration.latency",
                "$context.integration.requestId",
                "$context.integration.status",
                "$context.requestId",
                "$context.requestTime",
                "$context.resourcePath",
                "$context.responseLatency",
                "$context.responseLength",
                "$context.status",
                "$context.xrayTraceId",
            },
        )

    def test_every_log_group_forgets(self):
        groups = Stack(LogRetentionDays=7).of_type("AWS::Logs::LogGroup")
        self.assertEqual(set(groups), {"CanaryFunctionLogs", "UserFunctionLogs", "UserRequestLogs"})
        for name, group in groups.items():
            self.assertEqual(group["Properties"]["RetentionInDays"], 7, name)

    def test_logs_outlive_the_stack_for_as_long_as_they_are_kept(self):
        for name, group in Stack().of_type("AWS::Logs::LogGroup").items():
            # One of a creation that is rolled back holds nothing.
            self.assertEqual(group["DeletionPolicy"], "RetainExceptOnCreate", name)
            self.assertEqual(group["UpdateReplacePolicy"], "Retain", name)
            # CloudFormation names it, and so another stack makes its own.
            self.assertNotIn("LogGroupName", group["Properties"], name)

    def test_the_table_outlives_the_stack_and_a_mistake(self):
        table = Stack().resources["UserTable"]
        self.assertEqual((table["DeletionPolicy"], table["UpdateReplacePolicy"]), ("Retain",) * 2)
        table = table["Properties"]
        self.assertEqual(table["TableName"], "UserData")
        self.assertEqual(table["BillingMode"], "PAY_PER_REQUEST")
        self.assertIs(table["DeletionProtectionEnabled"], True)
        self.assertIs(table["SSESpecification"]["SSEEnabled"], True)
        self.assertIs(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], True)
        self.assertEqual(table["KeySchema"], [{"AttributeName": "userId", "KeyType": "HASH"}])

    def test_so_do_the_other_tables_of_users(self):
        stack = Stack()
        table = stack.resources["UserTable"]
        keys = {
            "UserEmailsTable": ("UserEmails", {"email": "HASH"}),
            "DeletedUsersTable": ("DeletedUsers", {"userId": "HASH"}),
            "UserHistoryTable": ("UserHistory", {"userId": "HASH", "id": "RANGE"}),
        }
        self.assertEqual({"UserTable", *keys}, set(LASTING.values()))
        for name, (table_name, key) in keys.items():
            other = stack.resources[name]
            for policy in ["DeletionPolicy", "UpdateReplacePolicy"]:
                self.assertEqual(other[policy], table[policy], name)
            properties = dict(other["Properties"])
            self.assertEqual(properties.pop("TableName"), table_name)
            schema = [{"AttributeName": part, "KeyType": kind} for part, kind in key.items()]
            self.assertEqual(properties.pop("KeySchema"), schema)
            definitions = [{"AttributeName": part, "AttributeType": "S"} for part in key]
            self.assertEqual(properties.pop("AttributeDefinitions"), definitions)
            if name != "UserEmailsTable":
                expiry = properties.pop("TimeToLiveSpecification")
                self.assertEqual(expiry, {"AttributeName": "expiresAt", "Enabled": True})
            own = {"AttributeDefinitions", "KeySchema", "TableName"}
            self.assertEqual(properties.keys(), table["Properties"].keys() - own, name)
            for property_name, value in properties.items():
                self.assertEqual(value, table["Properties"][property_name], name)

    def test_there_is_no_table_of_claims_where_emails_are_shared(self):
        stack = Stack(UniqueEmails="off")
        self.assertNotIn("UserEmailsTable", stack.resources)
        # The version before, which claims, is at work until the new one has taken over.
        role = stack.properties("UserFunctionRole")
        self.assertEqual(role, Stack().properties("UserFunctionRole"))
        variables = stack.properties("UserFunction")["Environment"]["Variables"]
        self.assertEqual(variables["UNIQUE_EMAILS"], "off")

    def test_a_history_that_is_off_keeps_its_table_for_the_erasures(self):
        stack = Stack(History="off", DeletedUsersDays=0)
        for table in LASTING.values():
            self.assertIn(table, stack.resources)

    def test_the_days_of_deleted_users_and_history_are_those_that_the_service_takes(self):
        most = int(re.search(r"MAX_DAYS: u16 = (\d+)", (ROOT / "src/settings.rs").read_text())[1])
        for name, days in [
            ("DeletedUsersDays", [0, 30, most]),
            ("HistoryDays", [1, 400, most]),
        ]:
            least, default, most = days
            self.assertEqual(TEMPLATE["Parameters"][name]["Default"], default)
            for value in [least, most]:
                Stack(**{name: value})
            for value in [least - 1, most + 1]:
                with self.assertRaises(Refused):
                    Stack(**{name: value})

    def test_idempotency_keys_are_forgotten_in_time_and_go_with_the_stack(self):
        stack = Stack()
        table = stack.resources["UserIdempotencyKeysTable"]
        self.assertEqual(table["DeletionPolicy"], "Delete")
        table = table["Properties"]
        self.assertNotIn("TableName", table)
        self.assertEqual(table["KeySchema"], [{"AttributeName": "idempotencyKey", "KeyType": "HASH"}])
        self.assertEqual(
            table["TimeToLiveSpecification"], {"AttributeName": "expiresAt", "Enabled": True}
        )
        variables = stack.properties("UserFunction")["Environment"]["Variables"]
        self.assertEqual(variables["IDEMPOTENCY_TABLE_NAME"], "{UserIdempotencyKeysTable}")

    def test_the_function_is_told_what_the_gateway_asks_of_callers(self):
        for mode, parameters in MODES.items():
            variables = Stack(**parameters).properties("UserFunction")["Environment"]["Variables"]
            self.assertEqual(variables["AUTH_MODE"], mode)

    def test_a_table_that_is_there_is_used_as_it_is(self):
        stack = Stack(ExistingTables="users", TableName="Tutorial")
        variables = stack.properties("UserFunction")["Environment"]["Variables"]
        self.assertEqual(variables["TABLE_NAME"], "Tutorial")
        # The tutorial's table takes nothing but the one parameter: all else is made, as without it.
        # SAM names a deployment by the second.
        with mock.patch("time.time", return_value=1):
            whole, taken = Stack().resources, Stack(ExistingTables="users").resources
        self.assertEqual({**taken, "UserTable": whole["UserTable"]}.keys(), whole.keys())
        self.assertEqual(taken["UserFunction"], whole["UserFunction"])

    def test_each_choice_of_tables_that_are_there_makes_the_others(self):
        choices = {"none": set(), "all": set(LASTING)}
        for count in range(1, len(LASTING)):
            choices |= {",".join(it): set(it) for it in itertools.combinations(LASTING, count)}
        self.assertEqual(len(choices), 16)
        for existing, words in choices.items():
            stack = Stack(ExistingTables=existing)
            made = {LASTING[word] for word in LASTING.keys() - words} | {"UserIdempotencyKeysTable"}
            self.assertEqual(set(stack.of_type("AWS::DynamoDB::Table")), made, existing)
        for existing in ["", "user", "Users", "emails,users", "users,users", "users, emails", "none,users"]:
            with self.subTest(existing), self.assertRaises(Refused):
                Stack(ExistingTables=existing)

    def test_one_parameter_is_the_way_out_after_a_first_deployment_that_failed(self):
        """It leaves the retained tables behind, and the next one would make them again."""
        stack = Stack(ExistingTables="all")
        for name, table in stack.of_type("AWS::DynamoDB::Table").items():
            self.assertEqual(table["DeletionPolicy"], "Delete", name)
            self.assertNotIn("TableName", table["Properties"], name)
        way_out = "ExistingTables=all"
        self.assertIn("already exists", TEMPLATE["Parameters"]["ExistingTables"]["Description"])
        deploying, after = DEPLOYING.split("\n## Who may call")
        for place in [deploying, (ROOT / "samconfig.toml").read_text()]:
            self.assertIn(way_out, place)
        self.assertIn(way_out, after.split("\n## Deletion")[1])

    def test_the_function_is_as_the_parameters_say(self):
        function = Stack().properties("UserFunction")
        self.assertEqual((function["Runtime"], function["Architectures"]), ("provided.al2023", ["arm64"]))
        self.assertEqual((function["MemorySize"], function["Timeout"]), (256, 10))
        self.assertNotIn("ReservedConcurrentExecutions", function)
        function = Stack(Architecture="x86_64", ReservedConcurrency=0).properties("UserFunction")
        self.assertEqual(function["Architectures"], ["x86_64"])
        self.assertEqual(function["ReservedConcurrentExecutions"], 0)

    def test_every_alarm_tells_the_topic_and_stands_without_one(self):
        names = {"FunctionErrorsAlarm", "LatencyAlarm", "ServerErrorsAlarm"}
        names |= {"FunctionThrottlesAlarm", "TableErrorsAlarm", "TableThrottlesAlarm"}
        names |= {"ClientErrorsAlarm", "HistoryErrorsAlarm"}
        heard = {"RefusalsAlarm", "ThrottledRequestsAlarm"}
        events = {"EventTarget": BUS}
        for parameters, actions in [({"AlarmTopicArn": TOPIC}, [TOPIC]), ({}, [])]:
            alarms = Stack(**parameters).of_type("AWS::CloudWatch::Alarm")
            self.assertEqual(set(alarms), names | heard if actions else names)
            more = Stack(**parameters, **events).of_type("AWS::CloudWatch::Alarm")
            self.assertEqual(more.keys() - alarms.keys(), {"UnsentEventsAlarm"})
            alarms = more
            for name, alarm in alarms.items():
                alarm = alarm["Properties"]
                self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), (actions, actions), name)
                self.assertEqual(alarm["TreatMissingData"], "notBreaching", name)
                # By default a percentile of few requests counts too.
                self.assertNotIn("EvaluateLowSampleCountPercentile", alarm, name)

    def test_every_metrics_insights_query_is_in_its_grammar(self):
        for stack in [Stack(AlarmTopicArn=TOPIC), Stack(UniqueEmails="off")]:
            for query in queries(stack.resources):
                self.assertIsNotNone(METRICS_INSIGHTS.fullmatch(query), query)

    def test_a_metrics_insights_query_outside_its_grammar_is_found(self):
        select = """SELECT SUM(Errors) FROM SCHEMA("AWS/DynamoDB", Operation, TableName)"""
        right = [select, f"{select} WHERE TableName = 'a' AND Operation != 'b' GROUP BY TableName"]
        wrong = [f"{select} WHERE TableName = 'a' OR TableName = 'b'", f"{select} WHERE TableName IN ('a')"]
        dashboard = json.dumps({"widgets": [{"metrics": [[{"expression": wrong[0]}]]}]})
        self.assertEqual(list(queries({"Body": [dashboard]})), wrong[:1])
        for query in right:
            self.assertIsNotNone(METRICS_INSIGHTS.fullmatch(query), query)
        for query in wrong:
            self.assertIsNone(METRICS_INSIGHTS.fullmatch(query), query)

    def test_the_alarms_of_the_tables_sum_the_metrics_of_each_table(self):
        # Each call that is no action of a transaction, and the transaction.
        tables = {
            name: {it for it in calls if it in READING} | {"TransactWriteItems"}
            for name, calls in TABLES.items()
        }
        names = {"TableName": "Users", "EmailsTableName": "Emails", "DeletedUsersTableName": "Gone"}
        names |= {"HistoryTableName": "Before"}
        stack = Stack(**names)
        names["UserIdempotencyKeysTable"] = "{UserIdempotencyKeysTable}"
        tables = {names[name]: operations for name, operations in tables.items()}

        def metrics(alarm):
            expression, *metrics = stack.properties(alarm)["Metrics"]
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
            self.assertLessEqual(len(metrics), 10)
            self.assertEqual(expression["Expression"], "SUM(FILL(METRICS(), 0))")
            # One series is what the alarm is about: https://docs.aws.amazon.com/AmazonCloudWatch/
            # latest/APIReference/API_MetricDataQuery.html
            self.assertTrue(expression["ReturnData"])
            self.assertEqual(len({metric["Id"] for metric in metrics}), len(metrics))
            for metric in metrics:
                self.assertIs(metric["ReturnData"], False)
                statistic = metric["MetricStat"]
                self.assertEqual((statistic["Stat"], statistic["Period"]), ("Sum", 60))
                metric = statistic["Metric"]
                self.assertEqual(metric["Namespace"], "AWS/DynamoDB")
                dimensions = {item["Name"]: item["Value"] for item in metric["Dimensions"]}
                yield metric["MetricName"], dimensions

        # The dimensions of each are in https://docs.aws.amazon.com/amazondynamodb/latest/
        # developerguide/metrics-dimensions.html
        throttles = list(metrics("TableThrottlesAlarm"))
        expected = [
            (name, {"TableName": table})
            for table in tables
            for name in ["ReadThrottleEvents", "WriteThrottleEvents"]
        ]
        self.assertCountEqual(throttles, expected)
        errors = [*metrics("TableErrorsAlarm"), *metrics("HistoryErrorsAlarm")]
        expected = [
            ("SystemErrors", {"TableName": table, "Operation": operation})
            for table, operations in tables.items()
            for operation in operations
        ]
        self.assertCountEqual(errors, expected)

    def test_the_errors_of_every_call_of_the_service_are_watched(self):
        code = calling_code()
        operations = {"GetItem", "Query", "Scan", "TransactGetItems", "TransactWriteItems"}
        operations |= {"DeleteItem", "UpdateItem", "PutItem", "BatchGetItem", "BatchWriteItem"}
        made = {it for it in operations if f".{re.sub('(?<!^)(?=[A-Z])', '_', it).lower()}()" in code}
        # The local machine makes this, and not the function.
        made -= {"PutItem"}
        alarms = ["TableErrorsAlarm", "HistoryErrorsAlarm"]
        watched = json.dumps([Stack().properties(alarm) for alarm in alarms])
        for operation in operations:
            self.assertEqual(f'"{operation}"' in watched, operation in made, operation)

    def test_the_documents_have_the_price_of_the_alarms(self):
        """USD 0.10 a month for each metric that an alarm looks at: https://aws.amazon.com/cloudwatch/pricing/"""

        def price(**parameters):
            alarms = Stack(**parameters).of_type("AWS::CloudWatch::Alarm").values()
            metrics = [
                metric
                for alarm in alarms
                for metric in alarm["Properties"].get("Metrics", [{}])
                if "Expression" not in metric
            ]
            return f"USD {len(metrics) / 10:.2f}"

        self.assertEqual(re.findall(r"(USD [0-9.]+)\sa\smonth\sfor\sits\salarms", DEPLOYING), [price()])

    def test_an_alarm_counts_refusals_where_there_is_a_topic(self):
        filters = Stack().of_type("AWS::Logs::MetricFilter")
        self.assertEqual(filters, {})
        stack = Stack(AlarmTopicArn=TOPIC, RefusalsAlarmCount=7)
        alarm = stack.properties("RefusalsAlarm")
        self.assertEqual((alarm["Statistic"], alarm["Threshold"]), ("Sum", 7))
        filters = stack.of_type("AWS::Logs::MetricFilter")
        del filters["ThrottledRequestsFilter"]
        patterns = {}
        for it in filters.values():
            it = it["Properties"]
            (transformation,) = it["MetricTransformations"]
            counted = (transformation["MetricNamespace"], transformation["MetricName"])
            self.assertEqual(counted, (alarm["Namespace"], alarm["MetricName"]))
            # Another stack of the account has another.
            self.assertIn("users", alarm["MetricName"])
            self.assertEqual(transformation["MetricValue"], "1")
            patterns[it["LogGroupName"]] = it["FilterPattern"]
        # The access log has the refusals of the gateway and of the service; the service's log alone
        # knows that a 404 hides another's user. Nothing is counted twice.
        errors = (ROOT / "src/http/error.rs").read_text()
        [cause] = re.findall(r'service::Error::Hidden => [^;]*?with_cause\("(.*?)"\)', errors)
        self.assertEqual(
            patterns,
            {
                "{UserRequestLogs}": '{ ($.status = "401") || ($.status = "403") }',
                "{UserFunctionLogs}": f'{{ $.cause = "{cause}" }}',
            },
        )
        logged = json.loads(stack.properties("UserRequestStage")["AccessLogSetting"]["Format"])
        self.assertEqual(logged["status"], "$context.status")

    def test_an_alarm_counts_throttled_requests_where_there_is_a_topic(self):
        stack = Stack(AlarmTopicArn=TOPIC, ThrottledRequestsAlarmCount=7)
        alarm = stack.properties("ThrottledRequestsAlarm")
        self.assertEqual((alarm["Statistic"], alarm["Threshold"]), ("Sum", 7))
        it = stack.properties("ThrottledRequestsFilter")
        (transformation,) = it["MetricTransformations"]
        counted = (transformation["MetricNamespace"], transformation["MetricName"])
        self.assertEqual(counted, (alarm["Namespace"], alarm["MetricName"]))
        self.assertIn("users", alarm["MetricName"])
        self.assertEqual(it["LogGroupName"], "{UserRequestLogs}")
        self.assertEqual(it["FilterPattern"], '{ $.status = "429" }')

    def test_a_large_share_of_4xx_is_an_alarm_if_there_are_requests(self):
        alarm = Stack(ClientErrorsAlarmPercent=30).properties("ClientErrorsAlarm")
        percent, *metrics = alarm["Metrics"]
        self.assertEqual(alarm["Threshold"], 30)
        names = {it["Id"]: it["MetricStat"]["Metric"]["MetricName"] for it in metrics}
        self.assertEqual(names, {"requests": "Count", "errors": "4XXError"})
        self.assertEqual(percent["Expression"], "IF(requests > 100, 100 * errors / requests, 0)")
        self.assertEqual({it["MetricStat"]["Stat"] for it in metrics}, {"Sum"})

    def test_no_alarm_goes_off_for_one_bad_minute_of_requests(self):
        for name, alarm in Stack(AlarmTopicArn=TOPIC).of_type("AWS::CloudWatch::Alarm").items():
            alarm = alarm["Properties"]
            # These two have a count of their own below which they are silent.
            if name not in {"RefusalsAlarm", "ThrottledRequestsAlarm"}:
                self.assertGreaterEqual(alarm["DatapointsToAlarm"], 2, name)

    def test_an_address_can_hear_of_alarms_instead_of_a_topic(self):
        self.assertEqual(Stack().of_type("AWS::SNS::Topic"), {})
        stack = Stack(AlarmEmail="on-call@example.com")
        (subscription,) = stack.properties("AlarmTopic")["Subscription"]
        self.assertEqual(subscription, {"Protocol": "email", "Endpoint": "on-call@example.com"})
        alarms = stack.of_type("AWS::CloudWatch::Alarm")
        self.assertIn("RefusalsAlarm", alarms)
        for name, alarm in alarms.items():
            alarm = alarm["Properties"]
            told = (alarm["AlarmActions"], alarm["OKActions"])
            self.assertEqual(told, (["{AlarmTopic}"], ["{AlarmTopic}"]), name)
        (statement,) = stack.properties("AlarmTopicPolicy")["PolicyDocument"]["Statement"]
        self.assertEqual(statement["Principal"], {"Service": "cloudwatch.amazonaws.com"})
        self.assertEqual(statement["Action"], "sns:Publish")
        self.assertEqual(statement["Resource"], "{AlarmTopic}")
        self.assertEqual(statement["Condition"], {"StringEquals": {"aws:SourceAccount": ACCOUNT}})
        with self.assertRaises(Refused):
            Stack(AlarmEmail="on-call@example.com", AlarmTopicArn=TOPIC)
        with self.assertRaises(Refused):
            Stack(AlarmEmail="on-call")

    def test_the_dashboard_shows_each_metric_that_the_function_logs_and_there_are_ten_at_most(self):
        source = (ROOT / "src/log/metrics.rs").read_text()
        logged = set(re.findall(r'metric!\("(\w+)", "(?:Count|Milliseconds)"\)', source))
        [namespace] = set(re.findall(r'"Namespace":"(\w+)"', source))
        stack = Stack(AlarmTopicArn=TOPIC)
        body = json.loads(stack.properties("Dashboard")["DashboardBody"])
        shown = set()
        for widget in body["widgets"]:
            before = []
            for metric in widget["properties"].get("metrics", []):
                names = [name for name in metric if isinstance(name, str)]
                if names[0] == "...":
                    names = before[: len(before) - len(names) + 1] + names[1:]
                names = [before[i] if name == "." else name for i, name in enumerate(names)]
                if names[0] == namespace:
                    self.assertEqual(names[2:], ["FunctionName", "{UserFunction}"])
                    shown.add(names[1])
                before = names
        self.assertEqual(shown, logged)
        counted = {
            transformation["MetricName"]
            for it in stack.of_type("AWS::Logs::MetricFilter").values()
            for transformation in it["Properties"]["MetricTransformations"]
        }
        # USD 0.30 a month for each.
        self.assertLessEqual(len(logged) + len(counted), 10)
        self.assertEqual(
            re.findall(r"(USD [0-9.]+)\sa\smonth\sfor\sits\s(\d+)\scustom\smetrics", DEPLOYING),
            [(f"USD {len(logged) * 0.3:.2f}", str(len(logged)))],
        )

    def test_the_dashboard_is_json(self):
        body = json.loads(Stack().properties("Dashboard")["DashboardBody"])
        self.assertGreaterEqual(len(body["widgets"]), 6)

    def test_the_stages_of_samconfig_can_be_deployed(self):
        config = tomllib.loads((ROOT / "samconfig.toml").read_text())
        self.assertEqual(config["default"]["deploy"], config["dev"]["deploy"])
        for name in ["dev", "prod"]:
            overrides = config[name]["deploy"]["parameters"]["parameter_overrides"]
            parameters = dict(override.split("=", 1) for override in overrides)
            for parameter, value in parameters.items():
                if TEMPLATE["Parameters"][parameter]["Type"] == "Number":
                    parameters[parameter] = int(value)
            stack = Stack(**parameters)
            self.assertEqual(stack.parameters["StageName"], name)
            check_authorization(self, stack, "IAM")

    def test_a_further_stage_of_the_documents_has_a_name_of_its_own_for_all_that_has_one(self):
        [example] = re.findall(r"^```toml\n(\[\w+\.deploy.*?)^```$", DEPLOYING, re.MULTILINE | re.DOTALL)
        stages = tomllib.loads((ROOT / "samconfig.toml").read_text()) | tomllib.loads(example)
        self.assertEqual(len(stages.keys() & {"dev", "prod", "test"}), 3)
        stacks = {}
        for name in ["dev", "prod", "test"]:
            options = stages[name]["deploy"]["parameters"]
            overrides = dict(override.split("=", 1) for override in options["parameter_overrides"])
            stack = Stack(**{name: int(value) if value.isdigit() else value for name, value in overrides.items()})
            names = [name for name in TABLES if name in stack.parameters]
            self.assertEqual(len(names), 4)
            names = {stack.parameters[name] for name in ["StageName", *names]}
            stacks[options["stack_name"]] = names
        self.assertEqual(len(stacks), 3)
        self.assertEqual(len(set.union(*stacks.values())), 15)
        self.assertEqual(stack.parameters["GatewayLogsRole"], "existing")


# An item of the history, as src/store/history.rs writes it, and the event that docs/deploying.md has of it.
RECORD = {
    "userId": "ada",
    "id": "019a0000-0000-7000-8000-000000000001",
    "type": "user.updated",
    "time": "2026-01-01T12:00:00.000Z",
    "version": "3",
    "changed": "name,phone",
    "actorType": "service",
    "actorId": f"arn:aws:iam::{ACCOUNT}:role/app",
    "requestId": "8f3d0000-0000-4000-8000-000000000002",
}


def event_of(template, record):
    """What EventBridge makes of the template: a variable that stands for a string gets quotes, unless it is
    in quotes; there, its value stands as it is."""
    source = {"dynamodb": {"NewImage": {name: {"S": value} for name, value in record.items()}}}

    def value(found):
        at = source
        for name in found[2].split("."):
            at = at[name]
        return f'"{at}"' if found[1] else json.dumps(at)

    return json.loads(re.sub(r'("?)<\$\.([A-Za-z.]+)>"?', value, template))


class Events(unittest.TestCase):
    def test_without_a_target_there_is_neither_stream_nor_pipe(self):
        # SAM names a deployment of the API by the second.
        with mock.patch("time.time", return_value=1):
            stack, sending = Stack(), Stack(EventTarget=BUS)
        self.assertNotIn("StreamSpecification", stack.properties("UserHistoryTable"))
        more = {name: it["Type"] for name, it in sending.resources.items() if name not in stack.resources}
        self.assertEqual(
            more,
            {
                "EventPipe": "AWS::Pipes::Pipe",
                "EventPipeRole": "AWS::IAM::Role",
                "UnsentEventsAlarm": "AWS::CloudWatch::Alarm",
                "UnsentEventsQueue": "AWS::SQS::Queue",
                "UnsentEventsQueuePolicy": "AWS::SQS::QueuePolicy",
            },
        )
        streamed = sending.properties("UserHistoryTable").pop("StreamSpecification")
        self.assertEqual(streamed, {"StreamViewType": "NEW_IMAGE"})
        for name, resource in stack.resources.items():
            self.assertEqual(sending.resources[name], resource, name)

    def test_a_target_is_a_bus_or_a_queue_and_the_history_is_on(self):
        for target in [
            "*",
            "users",
            f"arn:aws:sns:{REGION}:{ACCOUNT}:users",
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:users",
            f"{QUEUE}.fifos",
            f"{QUEUE}/*",
            f"{BUS},{QUEUE}",
            BUS.replace("event-bus", "rule"),
            f"{QUEUE}\n",
        ]:
            with self.subTest(target), self.assertRaises(Refused):
                Stack(EventTarget=target)
        with self.assertRaises(Refused):
            Stack(EventTarget=BUS, History="off")

    def test_a_table_that_was_there_has_to_say_its_stream(self):
        for existing in ["all", "history", "users,history", "users,emails,deleted,history", "emails,history"]:
            with self.subTest(existing), self.assertRaises(Refused):
                Stack(EventTarget=BUS, ExistingTables=existing)
            stack = Stack(EventTarget=BUS, ExistingTables=existing, HistoryStreamArn=STREAM)
            self.assertEqual(stack.properties("EventPipe")["Source"], STREAM)
            (read, *_) = stack.properties("EventPipeRole")["Policies"][0]["PolicyDocument"]["Statement"]
            self.assertEqual(read["Resource"], STREAM)
        without = ["none", "users", "emails", "deleted", "users,emails", "users,deleted", "emails,deleted"]
        for existing in [*without, "users,emails,deleted"]:
            stack = Stack(EventTarget=BUS, ExistingTables=existing)
            self.assertEqual(stack.properties("EventPipe")["Source"], "{UserHistoryTable.StreamArn}")

    def test_new_records_are_sent_and_a_record_that_cannot_be_sent_does_not_hold_up_the_others(self):
        stack = Stack(EventTarget=BUS)
        pipe = stack.properties("EventPipe")
        source = pipe["SourceParameters"]
        (pattern,) = source["FilterCriteria"]["Filters"]
        self.assertEqual(json.loads(pattern["Pattern"]), {"eventName": ["INSERT"]})
        stream = source["DynamoDBStreamParameters"]
        self.assertEqual(
            stream,
            {
                "StartingPosition": "TRIM_HORIZON",
                "BatchSize": 10,
                "OnPartialBatchItemFailure": "AUTOMATIC_BISECT",
                "MaximumRetryAttempts": 100,
                # A stream keeps a record for twice as long.
                "MaximumRecordAgeInSeconds": 12 * 60 * 60,
                "DeadLetterConfig": {"Arn": "{UnsentEventsQueue.Arn}"},
            },
        )
        # CloudFormation replaces a pipe whose stream is another one, and a name would be in its way.
        self.assertNotIn("Name", pipe)
        queue = stack.properties("UnsentEventsQueue")
        self.assertEqual(queue, {"MessageRetentionPeriod": 14 * 24 * 60 * 60, "SqsManagedSseEnabled": True})
        (statement,) = stack.properties("UnsentEventsQueuePolicy")["PolicyDocument"]["Statement"]
        self.assertEqual((statement["Effect"], statement["Principal"]), ("Deny", "*"))
        self.assertEqual(statement["Condition"], {"Bool": {"aws:SecureTransport": "false"}})
        alarm = stack.properties("UnsentEventsAlarm")
        watched = {it["Name"]: it["Value"] for it in alarm["Dimensions"]}
        self.assertEqual(watched, {"QueueName": "{UnsentEventsQueue.QueueName}"})
        self.assertEqual(alarm["MetricName"], "ApproximateNumberOfMessagesVisible")
        self.assertEqual(alarm["Threshold"], 0)

    def test_the_target_gets_what_its_kind_takes(self):
        fifo = {
            "MessageGroupId": "$.dynamodb.NewImage.userId.S",
            "MessageDeduplicationId": "$.dynamodb.NewImage.id.S",
        }
        bus = {"Source": "/user-service/users", "DetailType": "$.dynamodb.NewImage.type.S"}
        for target, name, parameters in [
            (BUS, "EventBridgeEventBusParameters", bus),
            # The names of a bus may have what tells a queue.
            (f"{BUS}.fifo", "EventBridgeEventBusParameters", bus),
            (BUS.replace("users", "sqs/a.fifo"), "EventBridgeEventBusParameters", bus),
            (QUEUE, None, None),
            (f"{QUEUE}-fifo", None, None),
            (f"{QUEUE}.fifo", "SqsQueueParameters", fifo),
        ]:
            with self.subTest(target):
                stack = Stack(EventTarget=target)
                pipe = stack.properties("EventPipe")
                self.assertEqual(pipe["Target"], target)
                of_target = dict(pipe["TargetParameters"])
                self.assertTrue(of_target.pop("InputTemplate"))
                self.assertEqual(of_target, {name: parameters} if name else {})
                for path in (parameters or {}).values():
                    if path.startswith("$"):
                        self.assertIn(path.split(".")[-2], RECORD)

    def test_the_pipe_may_read_its_stream_and_send_to_its_target_and_nothing_else(self):
        for target, send in [(BUS, "events:PutEvents"), (QUEUE, "sqs:SendMessage")]:
            role = Stack(EventTarget=target).properties("EventPipeRole")
            self.assertNotIn("ManagedPolicyArns", role)
            (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
            self.assertEqual(trust["Principal"], {"Service": "pipes.amazonaws.com"})
            self.assertEqual(trust["Condition"]["StringEquals"], {"aws:SourceAccount": ACCOUNT})
            (policy,) = role["Policies"]
            reads = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"]
            self.assertEqual(
                policy["PolicyDocument"]["Statement"],
                [
                    {
                        "Effect": "Allow",
                        "Action": [f"dynamodb:{read}" for read in reads],
                        "Resource": "{UserHistoryTable.StreamArn}",
                    },
                    {"Effect": "Allow", "Action": send, "Resource": target},
                    {
                        "Effect": "Allow",
                        "Action": "sqs:SendMessage",
                        "Resource": "{UnsentEventsQueue.Arn}",
                    },
                ],
            )

    def test_an_event_is_the_cloudevent_of_the_documents(self):
        template = Stack(EventTarget=BUS).properties("EventPipe")["TargetParameters"]["InputTemplate"]
        self.assertLessEqual(len(template), 8192)
        event = event_of(template, RECORD)
        # https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
        self.assertLessEqual({"specversion", "id", "source", "type"}, event.keys())
        section = DEPLOYING.split("\n## Events\n")[1].split("\n## ")[0]
        [example] = re.findall(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        documented = json.loads(example)
        self.assertEqual(documented["source"], "/user-service/user-service-prod")
        self.assertEqual(event, documented | {"source": "/user-service/users"})
        # Nothing of the record is left out, and nothing else is in an item.
        fields = (ROOT / "src/store/history.rs").read_text()
        [fields] = re.findall(r"pub struct HistoryRecord \{(.*?)\n\}", fields, re.DOTALL)
        fields = re.findall(r"^    (?:pub )?(\w+): String,$", fields, re.MULTILINE)
        names = {"event_type": "type"}
        fields = {names.get(it, re.sub("_(.)", lambda at: at[1].upper(), it)) for it in fields}
        self.assertEqual(RECORD.keys(), fields)
        used = set(re.findall(r"<\$\.dynamodb\.NewImage\.(\w+)\.S>", template))
        self.assertEqual(used, fields)

    def test_an_event_is_json_whatever_the_ids_are(self):
        """As far as EventBridge quotes a variable that stands without quotes."""
        template = Stack(EventTarget=BUS).properties("EventPipe")["TargetParameters"]["InputTemplate"]
        for user_id in ['"', "\\", '","type":"user.erased', "é", "<$.dynamodb.Keys>", ""]:
            event = event_of(template, RECORD | {"userId": user_id, "actorId": user_id})
            self.assertEqual((event["subject"], event["data"]["actor"]["id"]), (user_id, user_id))
            self.assertEqual(event["type"], RECORD["type"])
        with self.assertRaises(ValueError):
            event_of(re.sub("(<.*?>)", r'"\1"', template), RECORD | {"userId": '"'})


class Http(unittest.TestCase):
    """The stack with an HTTP API."""

    # Those that an HTTP API has, and that a REST API has.
    OWN = {"UserHttpApi": "AWS::ApiGatewayV2::Api", "UserHttpStage": "AWS::ApiGatewayV2::Stage"}
    OF_REST = {"UserRequestApi", "UserRequestDocumentation", "UserRequestStage"}
    OF_REST |= {"GatewayAccount", "GatewayAccountRole"}

    def routes(self, stack):
        """What each route asks of a caller: None, `iam`, or the scopes of a token."""
        document = stack.properties("UserHttpApi")["Body"]
        schemes = document["components"]["securitySchemes"]
        routes = {}
        for path, item in document["paths"].items():
            for method, route in item.items():
                asked = None
                if route["security"]:
                    [requirement] = route["security"]
                    [(name, scopes)] = requirement.items()
                    self.assertIn(name, schemes)
                    asked = tuple(scopes) or name
                    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html:
                    # without scopes, it takes identity tokens too.
                    self.assertEqual(name, "jwt" if scopes else "iam")
                routes[path, method] = asked
        return routes

    def test_a_gateway_takes_the_modes_that_it_has(self):
        for parameters in [
            {"AuthMode": "JWT"},
            TOKENS | {"Gateway": "REST"},
            {"Gateway": "HTTP", **MODES["NONE"]},
            {"Gateway": "HTTP", **MODES["COGNITO"]},
            {"Gateway": "HTTP", "StageTracing": "on"},
            {"Gateway": "http"},
            {"Gateway": ""},
            TOKENS | {"AuthMode": "jwt"},
        ]:
            with self.subTest(parameters), self.assertRaises(Refused):
                Stack(**parameters)

    def test_tokens_need_an_issuer_an_audience_and_the_kind_of_the_issuer(self):
        for name, values in {
            "JwtIssuer": ["", "http://sso.example.com", "https://", "https://a,https://b", "sso.example.com", "*"],
            "JwtAudience": ["", ",", "a,", "a, b", " ", "a,,b"],
            "IssuerKind": ["", "Okta", "google"],
            "ScopeClaim": ["permissions", "scope,scp"],
            "GroupsClaim": ["a b", "a=b", "a,b", "a" * 61, "groups\n"],
            "SubjectClaim": ["a b", "a=b", "sub,oid", "a" * 61],
        }.items():
            for value in values:
                with self.subTest(f"{name}={value}"), self.assertRaises(Refused):
                    Stack(**TOKENS | {name: value})
        for kind in ["auth0", "cognito", "entra", "keycloak", "okta", "other"]:
            Stack(**TOKENS | {"IssuerKind": kind, "JwtIssuer": "https://tenant.eu.auth0.com/"})

    def test_the_function_knows_each_kind_of_issuer_and_the_documents_say_its_claims(self):
        kinds = set(TEMPLATE["Parameters"]["IssuerKind"]["AllowedValues"]) - {""}
        claims = (ROOT / "src/service/claims.rs").read_text()
        self.assertEqual(set(re.findall(r'^            "(\w+)" => Some\(Self::', claims, re.MULTILINE)), kinds)
        names = {}
        arms = re.findall(r"(IssuerKind::[\w:| ]+?) => \((.*?)\),", claims)
        for variants, values in arms:
            for variant in re.findall(r"IssuerKind::(\w+)", variants):
                names[variant.lower()] = [f"`{it}`" for it in re.findall(r'"(.*?)"', values)]
        self.assertEqual(names.keys(), kinds)
        [table] = re.findall(r"^\| `IssuerKind` .*\n\| [- |]*\n((?:\|.*\n)+)", DEPLOYING, re.MULTILINE)
        rows = (row.strip("|").split("|") for row in table.splitlines())
        rows = {kind.strip().strip("`"): [it.strip() for it in cells[-3:]] for kind, *cells in rows}
        self.assertEqual(rows, names)

    def test_its_routes_are_the_operations_of_the_contract_and_ask_for_the_same(self):
        for mode, parameters in [("IAM", {"Gateway": "HTTP"}), ("COGNITO", TOKENS)]:
            for docs in ["hidden", "public"]:
                rest = Stack(**MODES[mode], DocsPage=docs)
                expected = {}
                for path, method, operation in rest.operations:
                    asked = rest.authorization(operation)
                    if path in OPERATIONS or (docs == "public" and path in PAGE):
                        expected[path, method] = {"NONE": None, "AWS_IAM": "iam"}.get(asked, asked)
                self.assertEqual(self.routes(Stack(**parameters, DocsPage=docs)), expected)

    def test_no_combination_of_parameters_opens_a_route(self):
        """Not even where the rules of the template were not looked at."""
        choices = {
            "AuthMode": ["IAM", "COGNITO", "JWT", "NONE"],
            "JwtIssuer": ["", TOKENS["JwtIssuer"]],
            "AllowedSourceRanges": ["", RANGES],
            "AllowedOrigins": ["", "*"],
            "DocsPage": ["hidden", "public"],
        }
        for combination in itertools.product(*choices.values()):
            parameters = dict(zip(choices, combination))
            stack = Stack(ignore_rules=True, Gateway="HTTP", **parameters)
            for (path, method), asked in self.routes(stack).items():
                if path not in PAGE and method != "options":
                    scope = ("users/read",) if method in READS else ("users/write",)
                    self.assertEqual(asked, scope if parameters["AuthMode"] == "JWT" else "iam", parameters)

    def test_tokens_are_those_of_the_issuer_for_the_audiences(self):
        stack = Stack(**TOKENS | {"JwtAudience": "users,api://default"})
        schemes = stack.properties("UserHttpApi")["Body"]["components"]["securitySchemes"]
        self.assertEqual(
            schemes["jwt"]["x-amazon-apigateway-authorizer"],
            {
                "type": "jwt",
                "identitySource": "$request.header.Authorization",
                "jwtConfiguration": {"issuer": TOKENS["JwtIssuer"], "audience": ["users", "api://default"]},
            },
        )
        self.assertEqual(schemes["iam"]["x-amazon-apigateway-authtype"], "awsSigv4")
        schemes = Stack(Gateway="HTTP").properties("UserHttpApi")["Body"]["components"]["securitySchemes"]
        self.assertEqual(schemes.keys(), {"iam"})

    def test_every_route_runs_the_alias_in_the_format_that_one_integration_has(self):
        document = Stack(**TOKENS, DocsPage="public").properties("UserHttpApi")["Body"]
        function = {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "payloadFormatVersion": "2.0",
            "uri": f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
            "{UserFunction.Arn}:live/invocations",
        }
        self.assertEqual(document["components"]["x-amazon-apigateway-integrations"], {"function": function})
        for path, item in document["paths"].items():
            for method, route in item.items():
                integration = {"$ref": "#/components/x-amazon-apigateway-integrations/function"}
                self.assertEqual(route["x-amazon-apigateway-integration"], integration, f"{method} {path}")
        # It would replace the answers of the function to a page.
        self.assertNotIn("x-amazon-apigateway-cors", document)
        self.assertNotIn("CorsConfiguration", Stack(**TOKENS).properties("UserHttpApi"))

    def test_the_alias_may_be_called_by_its_stage_and_for_what_it_serves(self):
        served = ["deleted-users*", "users*"]
        for docs, paths in [("hidden", served), ("public", sorted([*served, "docs*", "openapi.json"]))]:
            stack = Stack(**TOKENS, StageName="blue", DocsPage=docs)
            permissions = [it["Properties"] for it in stack.of_type("AWS::Lambda::Permission").values()]
            for permission in permissions:
                self.assertEqual(permission["Action"], "lambda:InvokeFunction")
                self.assertEqual(permission["FunctionName"], "{UserFunctionAliaslive}")
                self.assertEqual(permission["Principal"], "apigateway.amazonaws.com")
            api = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{{UserHttpApi}}/blue/*/"
            self.assertEqual(sorted(it["SourceArn"] for it in permissions), [api + path for path in paths])
            for path, _ in self.routes(stack):
                self.assertTrue(any(fnmatch.fnmatchcase(path, f"/{it}") for it in paths), path)

    def test_all_else_of_the_stack_is_that_of_a_rest_api(self):
        """But for what names the API, and for the claims of its tokens."""
        more = {"AlarmTopicArn": TOPIC, "EventTarget": BUS}
        with mock.patch("time.time", return_value=1):
            rest, http = Stack(**more), Stack(**more, Gateway="HTTP")
        of_rest = rest.resources.keys() - http.resources.keys()
        # SAM makes a deployment and a stage of its own for a REST API.
        made = {name for name in of_rest if rest.resources[name]["Type"] == "AWS::ApiGateway::Deployment"}
        made |= {name for name in of_rest if rest.resources[name]["Type"] == "AWS::ApiGateway::Stage"}
        self.assertEqual(of_rest - made, self.OF_REST - made)
        own = {name: http.resources[name]["Type"] for name in http.resources.keys() - rest.resources.keys()}
        self.assertEqual(own, self.OWN)
        differ = {name for name in http.resources.keys() & rest.resources.keys()}
        differ = {name for name in differ if http.resources[name] != rest.resources[name]}
        permissions = set(http.of_type("AWS::Lambda::Permission"))
        self.assertEqual(differ, permissions | {"ClientErrorsAlarm", "Dashboard", "LatencyAlarm", "ServerErrorsAlarm"})
        self.assertEqual(rest.outputs.keys() - http.outputs.keys(), {"ExportCommand"})
        for name in ["ApiUrl", "CallerPermission", "SignedCall"]:
            expected = rest.outputs[name]["Value"].replace("UserRequestApi", "UserHttpApi")
            self.assertEqual(http.outputs[name]["Value"], expected)
        self.assertNotIn("UserRequestApi", json.dumps([http.resources, http.outputs]))
        self.assertNotIn("UserHttp", json.dumps([rest.resources, rest.outputs]))

    def test_it_needs_no_role(self):
        roles = {"CanaryFunctionRole", "CodeDeployServiceRole", "UserFunctionRole"}
        self.assertEqual(set(Stack(**TOKENS).of_type("AWS::IAM::Role")), roles)
        policies = [Stack(**it).properties("UserFunctionRole")["Policies"] for it in [TOKENS, {}]]
        self.assertEqual(policies[0], policies[1])

    def test_its_stage_is_throttled_and_logs_no_personal_data(self):
        stack = Stack(**TOKENS, StageName="blue", ThrottlingRateLimit=7, ThrottlingBurstLimit=9)
        stage = stack.properties("UserHttpStage")
        self.assertEqual((stage["StageName"], stage["AutoDeploy"]), ("blue", True))
        limits = {"ThrottlingRateLimit": 7, "ThrottlingBurstLimit": 9}
        self.assertEqual(stage["DefaultRouteSettings"], limits | {"DetailedMetricsEnabled": False})
        settings = stage["AccessLogSettings"]
        self.assertEqual(settings["DestinationArn"], "{UserRequestLogs.Arn}")
        logged = json.loads(settings["Format"])
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
        self.assertEqual(
            set(logged.values()),
            {
                "$context.error.responseType",
                "$context.extendedRequestId",
                "$context.httpMethod",
                "$context.integration.latency",
                "$context.integration.requestId",
                "$context.integration.status",
                "$context.requestId",
                "$context.requestTime",
                "$context.responseLatency",
                "$context.responseLength",
                "$context.routeKey",
                "$context.status",
            },
        )
        # With the names that the log of a REST API has, for the same filters.
        of_rest = json.loads(Stack().properties("UserRequestStage")["AccessLogSetting"]["Format"])
        self.assertEqual(of_rest.keys() - logged.keys(), {"traceId"})
        self.assertLessEqual(logged.keys(), of_rest.keys())

    def test_alarms_and_dashboard_look_at_its_metrics(self):
        """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html"""
        known = {"4xx", "5xx", "Count", "Latency", "IntegrationLatency", "DataProcessed"}
        stack = Stack(**TOKENS, StageName="blue")
        dimensions = [{"Name": "ApiId", "Value": "{UserHttpApi}"}, {"Name": "Stage", "Value": "blue"}]
        alarm = stack.properties("ServerErrorsAlarm")
        rate, *metrics = alarm["Metrics"]
        self.assertEqual((rate["Expression"], rate["ReturnData"]), ("errors / requests", True))
        for metric, (name, metric_name) in zip(metrics, [("errors", "5xx"), ("requests", "Count")], strict=True):
            statistic = metric["MetricStat"]
            self.assertEqual((metric["Id"], metric["ReturnData"]), (name, False))
            self.assertEqual((statistic["Stat"], statistic["Period"]), ("Sum", 60))
            expected = {"Namespace": "AWS/ApiGateway", "MetricName": metric_name, "Dimensions": dimensions}
            self.assertEqual(statistic["Metric"], expected)
        # An alarm has these or metric math.
        for name in ["MetricName", "Namespace", "Dimensions", "Statistic", "Period"]:
            self.assertNotIn(name, alarm)
            self.assertIn(name, Stack().properties("ServerErrorsAlarm"))
        latency = stack.properties("LatencyAlarm")
        self.assertEqual((latency["MetricName"], latency["Dimensions"]), ("Latency", dimensions))
        body = json.loads(stack.properties("Dashboard")["DashboardBody"])
        metrics = [metric for it in body["widgets"] for metric in it["properties"].get("metrics", [])]
        of_api = [metric for metric in metrics if metric[0] == "AWS/ApiGateway"]
        self.assertEqual([metric[2:6] for metric in of_api], [["ApiId", "{UserHttpApi}", "Stage", "blue"]] * 2)
        titles = {it["properties"]["title"]: it["properties"].get("metrics") for it in body["widgets"]}
        self.assertEqual([metric[1] for metric in titles["Requests"]], ["Count", "4xx", "5xx"])
        self.assertLessEqual({metric[1] for metric in of_api}, known)

    def test_a_domain_of_ones_own_leads_to_its_stage(self):
        own = {"DomainName": "api.example.com", "CertificateArn": "arn:of:certificate", "HostedZoneId": "Z1"}
        stack = Stack(**TOKENS, **own, BasePath="v1")
        self.assertEqual(
            stack.properties("UserHttpDomainMapping"),
            {
                "ApiId": "{UserHttpApi}",
                "DomainName": "{UserRequestDomain}",
                "Stage": "{UserHttpStage}",
                "ApiMappingKey": "v1",
            },
        )
        self.assertNotIn("UserRequestDomainMapping", stack.resources)
        self.assertNotIn("UserHttpDomainMapping", Stack(**own).resources)
        self.assertEqual(stack.outputs["ApiUrl"]["Value"], "https://api.example.com/v1")
        self.assertNotIn("ApiMappingKey", Stack(**TOKENS, **own).properties("UserHttpDomainMapping"))

    def test_the_function_gets_the_group_of_admins_whose_name_may_have_spaces(self):
        for parameters, group in [({}, "admin"), ({"AdminGroup": "IT admin"}, "IT admin")]:
            for mode in [MODES["COGNITO"], TOKENS]:
                variables = Stack(**mode, **parameters).properties("UserFunction")["Environment"]["Variables"]
                self.assertEqual(variables["ADMIN_GROUP"], group)
        for group in ["", " admin", "admin ", "IT  admin", "ops,admin", "[admin]", "a" * 41]:
            with self.subTest(group), self.assertRaises(Refused):
                Stack(**TOKENS, AdminGroup=group)

    def test_the_function_gets_the_claims_and_other_claims_are_another_version_of_it(self):
        claims = {"ScopeClaim": "scp", "GroupsClaim": "https://example.com/groups", "SubjectClaim": "employee"}
        variables = Stack(**TOKENS, **claims).properties("UserFunction")["Environment"]["Variables"]
        names = ["AUTH_MODE", "ISSUER_KIND", "SCOPE_CLAIM", "GROUPS_CLAIM", "SUBJECT_CLAIM"]
        self.assertEqual([variables[name] for name in names], ["JWT", "keycloak", *claims.values()])
        # Its role has another path, and so another id, which is in the description of the version.
        changes = [{}, {"IssuerKind": "okta"}, *({name: value} for name, value in claims.items())]
        changes += [{"GroupsClaim": "employee"}, {"GroupsClaim": "cognito:groups"}, {"GroupsClaim": "cognitogroups"}]
        paths = {Stack(**TOKENS | change).properties("UserFunctionRole")["Path"] for change in changes}
        self.assertEqual(len(paths), len(changes))
        # A stack without tokens keeps its role.
        paths = {Stack(**it).properties("UserFunctionRole")["Path"] for it in [{}, {"Gateway": "HTTP"}]}
        self.assertEqual(paths, {"/UserData/UserEmails/DeletedUsers/UserHistory/"})

    def test_lambda_takes_the_path_of_the_role_whatever_the_claims_are_called(self):
        """https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html"""
        names = {name: "aZ_.-" * 12 for name in TABLES if name in TEMPLATE["Parameters"]}
        claims = {"GroupsClaim": "https://" + "a/_.-:" * 8, "SubjectClaim": "b" * 60, "ScopeClaim": "scope"}
        for chosen in [claims, {}]:
            path = Stack(**TOKENS, **names, **chosen).properties("UserFunctionRole")["Path"]
            self.assertRegex(f"arn:aws:iam::{ACCOUNT}:role{path}r", r"^arn:aws:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$")
            self.assertTrue(path.startswith("/") and path.endswith("/"), path)
            self.assertLessEqual(len(path), 512)

    def test_the_documents_have_the_price_of_its_alarms(self):
        alarms = {
            gateway: sum(
                "Expression" not in metric
                for alarm in Stack(Gateway=gateway).of_type("AWS::CloudWatch::Alarm").values()
                for metric in alarm["Properties"].get("Metrics", [{}])
            )
            for gateway in ["REST", "HTTP"]
        }
        more = f"An HTTP API adds {(alarms['HTTP'] - alarms['REST']) / 10:.2f}"
        self.assertIn(more, " ".join(DEPLOYING.split()))


class Build(unittest.TestCase):
    """`sam build` in a copy of the project, with a builder in the place of cargo-lambda that compiles
    nothing. What of the project tells whether the cache is valid is SAM's own affair."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.project = Path(scratch.name) / "project"
        self.project.mkdir()
        for name in ["Cargo.lock", "Cargo.toml", "openapi.cognito.yaml", "openapi.http.yaml", "openapi.yaml"]:
            shutil.copy(ROOT / name, self.project)
        for name in ["samconfig.toml", "template.yaml"]:
            shutil.copy(ROOT / name, self.project)
        for name in ["lambda", "src"]:
            shutil.copytree(ROOT / name, self.project / name, symlinks=True)
        builder = Path(scratch.name) / "bin" / "cargo-lambda"
        builder.parent.mkdir()
        # It leaves something new at each run, as a compiler does.
        builder.write_text(
            "#!/bin/sh\nset -e\ntarget=$(cargo metadata --offline --no-deps --format-version 1 | "
            """sed 's/.*"target_directory":"\\([^"]*\\)".*/\\1/')\n"""
            'mkdir -p "$target/lambda/user-service-lambda"\ndate +%s%N >"$target/lambda/user-service-lambda/bootstrap"\n'
        )
        builder.chmod(0o755)
        self.environment = os.environ | {
            "AWS_DEFAULT_REGION": REGION,
            "PATH": f"{builder.parent}:{os.environ['PATH']}",
            "SAM_CLI_TELEMETRY": "0",
        }
        self.environment.pop("CARGO_TARGET_DIR", None)

    def build(self):
        """Builds, and returns whether that used the cache."""
        command = [sys.executable, "-m", "samcli", "build"]
        built = subprocess.run(
            command, cwd=self.project, env=self.environment, capture_output=True, text=True
        )
        self.assertEqual(built.returncode, 0, built.stderr)
        self.assertTrue((self.project / ".aws-sam/build/UserFunction/bootstrap").is_file())
        self.assertTrue((self.project / "target/lambda/user-service-lambda/bootstrap").is_file())
        return "Valid cache found" in built.stderr

    def test_the_built_template_finds_each_document_that_it_includes(self):
        self.build()
        built = self.project / ".aws-sam/build"
        locations = re.findall(r"Location: (\S+\.yaml)$", (built / "template.yaml").read_text(), re.MULTILINE)
        names = {(built / location).resolve().relative_to(self.project.resolve()).name for location in locations}
        self.assertEqual(names, {"openapi.yaml", "openapi.cognito.yaml", "openapi.http.yaml"})
        for location in locations:
            self.assertTrue((built / location).is_file(), location)

    def test_a_second_build_of_the_same_code_uses_the_cache_whatever_was_compiled(self):
        self.assertFalse(self.build())
        (self.project / "target/debug").mkdir()
        (self.project / "target/debug/user-service").write_text("of a cargo build between them")
        (self.project / ".git").mkdir()
        (self.project / ".git/index").write_text("of a git status between them")
        self.assertTrue(self.build())

    def test_what_is_built_needs_nothing_beside_the_folder_of_the_build(self):
        """Cargo builds nothing where it does not find the file of a target that has no path."""
        manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
        for target in [*manifest.get("test", []), *manifest.get("bench", []), *manifest.get("example", [])]:
            self.assertIn("path", target)
        self.assertNotIn("build", manifest["package"])

    def test_a_build_of_changed_code_or_of_other_dependencies_is_a_new_one(self):
        self.assertFalse(self.build())
        for name in ["src/store/tables.rs", "Cargo.toml", "Cargo.lock", "openapi.yaml"]:
            with (self.project / name).open("a") as file:
                file.write("\n")
            self.assertFalse(self.build(), name)
        self.assertTrue(self.build())


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    unittest.main()
