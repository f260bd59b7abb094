"""LocalStack (4.14, community) on this machine, without Docker: an AWS to deploy to. `.ci/deploy` runs it.

Two of its parts are replaced: DynamoDB is DynamoDB Local from a folder, and a function is the process
that its `bootstrap` is, under a Runtime API served here. What LocalStack leaves out and the tests look
at is added, as the documentation of AWS has it:

- An API's import takes gateway responses, authorization by signature, and `Mode: overwrite`.
- A table gets the deletion protection and the point-in-time recovery of the template.
- An update of a stack reaches the API, its stage, and the version and the alias of the function.
- The function sees the caller of a signed request, and the claims of a token. Neither is verified.
"""

import argparse
import base64
import json
import os
import queue
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", required=True)
arguments.add_argument("--work", type=Path, required=True, help="a folder for logs and state")
arguments.add_argument("--dynamodb-local", type=Path, required=True, help="the folder of its jar")
arguments = arguments.parse_args()
WORK = arguments.work.resolve()

# LocalStack reads its settings when it is imported.
(WORK / "tmp").mkdir(exist_ok=True)
os.environ |= {
    "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "1",
    "DISABLE_EVENTS": "1",
    "DNS_ADDRESS": "0",
    "DYNAMODB_IN_MEMORY": "1",
    "EAGER_SERVICE_LOADING": "0",
    "GATEWAY_LISTEN": f"127.0.0.1:{arguments.port}",
    "LAMBDA_KEEPALIVE_MS": "3600000",
    # The streams of DynamoDB Local. Those of LocalStack need Kinesis.
    "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "v2",
    "LOCALSTACK_VOLUME_DIR": str(WORK / "volume"),
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "TMPDIR": str(WORK / "tmp"),
}

from localstack.runtime.main import main
from localstack.services.apigateway.legacy import provider as apigateway
from localstack.services.apigateway.models import apigateway_stores
from localstack.services.apigateway.next_gen.execute_api.gateway_response import (
    build_gateway_response,
)
from localstack.services.apigateway.resource_providers.aws_apigateway_restapi import (
    ApiGatewayRestApiProvider,
)
from localstack.services.apigateway.resource_providers.aws_apigateway_stage import (
    ApiGatewayStageProvider,
)
from localstack.services.cloudformation.resource_provider import OperationStatus, ProgressEvent
from localstack.services.cloudformation.engine.v2.change_set_model import is_nothing
from localstack.services.cloudformation.engine.v2.change_set_model_executor import (
    ChangeSetModelExecutor,
)
from localstack.services.dynamodb.packages import DynamoDBLocalPackageInstaller
from localstack.services.dynamodb.resource_providers.aws_dynamodb_table import DynamoDBTableProvider
from localstack.services.dynamodb.server import DynamodbServer
from localstack.services.lambda_.invocation import runtime_executor
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.resource_providers.aws_lambda_version import LambdaVersionProvider
from localstack.services.lambda_.resource_providers.lambda_alias import LambdaAliasProvider

# DynamoDB.

DynamoDBLocalPackageInstaller.install = lambda self, *_, **__: None
DynamoDBLocalPackageInstaller.get_java_env_vars = lambda self: {"PATH": os.environ["PATH"]}
DynamodbServer._create_shell_command = lambda self: [
    "java",
    "-Xmx256m",
    f"-Djava.library.path={arguments.dynamodb_local}/DynamoDBLocal_lib",
    "-jar",
    f"{arguments.dynamodb_local}/DynamoDBLocal.jar",
    "-inMemory",
    "-port",
    str(self.port),
]


create_table = DynamoDBTableProvider.create


def create_protected_table(self, request):
    progress = create_table(self, request)
    model, client = progress.resource_model, request.aws_client_factory.dynamodb
    if progress.status == OperationStatus.SUCCESS:
        if model.get("DeletionProtectionEnabled"):
            client.update_table(TableName=model["TableName"], DeletionProtectionEnabled=True)
        if recovery := model.get("PointInTimeRecoverySpecification"):
            client.update_continuous_backups(
                TableName=model["TableName"], PointInTimeRecoverySpecification=recovery
            )
    return progress


DynamoDBTableProvider.create = create_protected_table


# The function.

class RuntimeApi(BaseHTTPRequestHandler):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html"""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        """The next invocation."""
        executor = self.server.executor
        executor.ready.set()
        invocation = executor.invocations.get()
        if invocation is None:
            self.close_connection = True
            return
        body = invocation["payload"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("Lambda-Runtime-Aws-Request-Id", invocation["invoke-id"])
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + executor.timeout) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", invocation["invoked-function-arn"])
        self.send_header("Lambda-Runtime-Trace-Id", invocation["trace-id"])
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        """An answer, or an error."""
        body = self.read_body()
        self.server.executor.results.put((body, self.path.endswith("/error")))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


class ProcessExecutor(runtime_executor.RuntimeExecutor):
    """One sandbox of a version: a process, which answers one invocation after another."""

    def start(self, env_vars):
        self.invocations, self.results = queue.Queue(), queue.Queue()
        self.ready = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
        self.server.daemon_threads = True
        self.server.executor = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        code = self.function_version.config.code
        code.prepare_for_execution()
        bootstrap = Path(code.get_unzipped_code_location()) / "bootstrap"
        for file in bootstrap.parent.iterdir():
            file.chmod(0o755)
        variables = {name: str(value) for name, value in env_vars.items()}
        variables["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{self.server.server_port}"
        self.log = WORK / f"function-{self.id}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([bootstrap], env=variables, stdout=log, stderr=log)
        while not self.ready.wait(0.05):
            if self.process.poll() is not None:
                raise RuntimeError(f"the function does not start: {self.get_logs()}")

    @property
    def timeout(self):
        """The time limit of an invocation, in seconds."""
        return self.function_version.config.timeout

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.invocations.put(None)
        self.server.shutdown()
        self.server.server_close()

    def invoke(self, payload):
        event = json.loads(payload["payload"])
        identify(event)
        self.invocations.put(payload | {"payload": json.dumps(event)})
        body, is_error = self.results.get(timeout=self.timeout + 20)
        return InvocationResult(
            request_id=payload["invoke-id"],
            payload=body,
            is_error=is_error,
            logs="",
            executed_version=self.function_version.id.qualifier,
        )

    def get_logs(self):
        return self.log.read_text()

    def get_address(self):
        return "127.0.0.1"

    def get_endpoint_from_executor(self):
        return "127.0.0.1"

    def get_runtime_endpoint(self):
        return "http://127.0.0.1"

    @classmethod
    def prepare_version(cls, function_version):
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version):
        pass


def identify(event):
    """Puts the caller into the event, as a REST API does it for a signature or a token. An HTTP API (http_api.py)
    has done so."""
    if "version" in event:
        return
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    context = event.get("requestContext")
    if scheme == "AWS4-HMAC-SHA256":
        context["identity"]["userArn"] = f"arn:aws:iam::{context['accountId']}:user/caller"
    elif scheme == "Bearer":
        payload = credentials.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        context["authorizer"] = {"claims": claims}


# Before the modules that import it are.
runtime_executor.get_runtime_executor = lambda: ProcessExecutor


# The import of an OpenAPI document.

import_document = apigateway.import_api_from_openapi_spec


def import_whole_document(rest_api, context, open_api_spec, mode):
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-import-api-update.html:
    `overwrite` replaces what the document may define, `merge` adds to it. (Of a merge, LocalStack drops
    the paths and methods that are not in the document.)"""
    store = apigateway_stores[context.account_id][context.region].rest_apis[rest_api.id]
    if mode == "overwrite":
        rest_api.policy = None
        for collection in [store.authorizers, store.gateway_responses, store.validators]:
            collection.clear()
    rest_api, warnings = import_document(rest_api, context, open_api_spec, mode)
    responses = open_api_spec.get("x-amazon-apigateway-gateway-responses", {})
    for kind, response in responses.items():
        store.gateway_responses[kind] = build_gateway_response(
            kind,
            response.get("statusCode"),
            response.get("responseParameters"),
            response.get("responseTemplates"),
            default_response=False,
        )
    schemes = open_api_spec.get("components", {}).get("securitySchemes", {})
    for resource in rest_api.resources.values():
        item = open_api_spec["paths"].get(resource.get_path(), {})
        for name, method in resource.resource_methods.items():
            operation = item["x-amazon-apigateway-any-method" if name == "ANY" else name.lower()]
            # LocalStack takes `security: []` for none too, and so that of the document.
            security = operation.get("security") or open_api_spec.get("security", [])
            asked = [schemes[name] for requirement in security for name in requirement]
            signed = any(it.get("x-amazon-apigateway-authtype") == "awsSigv4" for it in asked)
            if signed and method.authorization_type == "NONE":
                method.authorization_type = "AWS_IAM"
    return rest_api, warnings


apigateway.import_api_from_openapi_spec = import_whole_document


# Updates of a stack. LocalStack keeps the resource as it was where its provider has none, and replaces
# one whose create-only property refers to a changed resource, even where its value stays.

execute_change = ChangeSetModelExecutor._execute_resource_change


def execute_change_by_values(self, name, before, after):
    if not is_nothing(before) and not is_nothing(after) and after.requires_replacement:
        schema = self.resource_provider_executor.try_load_resource_provider(after.resource_type).SCHEMA
        old = self._merge_before_properties(name, before).properties
        new = after.properties.properties
        for path in schema["createOnlyProperties"]:
            fixed = path.removeprefix("/properties/")
            if fixed in new and new[fixed] != old.get(fixed):
                break
        else:
            after.requires_replacement = False
    execute_change(self, name, before, after)


ChangeSetModelExecutor._execute_resource_change = execute_change_by_values


def done(model):
    return ProgressEvent(status=OperationStatus.SUCCESS, resource_model=model)


def update_rest_api(self, request):
    model, before = request.desired_state, request.previous_state
    client = request.aws_client_factory.apigateway
    client.put_rest_api(
        restApiId=before["RestApiId"],
        # What CloudFormation does where the template does not say.
        mode=model.get("Mode", "merge"),
        body=json.dumps(model["Body"]),
    )
    roots = client.get_resources(restApiId=before["RestApiId"], limit=500)["items"]
    root = next(resource["id"] for resource in roots if resource["path"] == "/")
    return done(model | {"RestApiId": before["RestApiId"], "RootResourceId": root})


def update_stage(self, request):
    model = request.desired_state
    deployment = {"op": "replace", "path": "/deploymentId", "value": model["DeploymentId"]}
    request.aws_client_factory.apigateway.update_stage(
        restApiId=model["RestApiId"], stageName=model["StageName"], patchOperations=[deployment]
    )
    return done(model)


def update_alias(self, request):
    model = request.desired_state
    alias = request.aws_client_factory.lambda_.update_alias(
        FunctionName=model["FunctionName"],
        Name=model["Name"],
        FunctionVersion=model["FunctionVersion"],
    )
    return done(model | {"Id": alias["AliasArn"]})


ApiGatewayRestApiProvider.update = update_rest_api
ApiGatewayStageProvider.update = update_stage
# CloudFormation replaces a version whose description changes, and the old one stays by SAM's policy.
LambdaVersionProvider.update = LambdaVersionProvider.create
LambdaAliasProvider.update = update_alias

if __name__ == "__main__":
    main()
