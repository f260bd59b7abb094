"""The events: other parsers read each of them, and a consumer keeps a copy with them.

Needs `user-service` in target/debug, DynamoDB Local in $DYNAMODB_LOCAL, and the packages cloudevents,
standardwebhooks and boto3. $SEED chooses the writes and the disorder.
"""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import threading
import time
import unittest
from urllib.parse import quote

import boto3
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = ROOT / "target/debug/user-service"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SEED = int(os.environ.get("SEED") or random.randrange(2**32))
TYPES = {"created", "updated", "disabled", "enabled", "deleted", "restored", "erased"}


def documented_consumer():
    """The functions `consume` and `repair`, as docs/events.md has them."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/events.md").read_text(), re.DOTALL)
    names = {"quote": quote}
    exec(code, names)
    return names["consume"], names["repair"]


class Service:
    """A running `user-service`."""

    def __init__(self, *options, **environment):
        self.process = subprocess.Popen(
            [PROGRAM, "--port=0", "--no-sample", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if "Ctrl-C" in line:
                break
        self.address = re.search(r"listens on http://(\S+)", "".join(self.lines))[1]
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self.reader.start()

    def send(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        headers = {"content-type": "application/json"} if body is not None else {}
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def get(self, path):
        return self.send("GET", path)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.reader.join(timeout=30)
        self.process.stdout.close()

    def live(self, choose, users, writes):
        """Sends writes at random, and returns how many succeeded."""
        done = 0
        for _ in range(writes):
            user_id = f"user-{choose.randrange(users)}"
            path = f"/users/{user_id}"
            email = f"user-{choose.randrange(users)}@example.com"
            name = f'Name "{choose.random()}"'
            method, path, body = choose.choice(
                [
                    ("POST", "/users", {"userId": user_id, "name": name, "email": email}),
                    ("POST", "/users", {"userId": user_id, "name": name, "email": email}),
                    ("PATCH", path, {"name": name}),
                    ("PATCH", path, {"metadata": {"n": choose.randrange(9)}}),
                    ("PATCH", path, {"status": choose.choice(["active", "disabled"])}),
                    ("DELETE", path, None),
                    ("POST", f"/deleted-users/{user_id}/restore", {}),
                    ("DELETE", f"{path}?erase=true", None),
                ]
            )
            status, _ = self.send(method, path, body)
            done += status < 300
        return done


class Receiver(http.server.ThreadingHTTPServer):
    """A consumer of webhooks that now and then fails."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver.Handler)
        self.requests, self.failures = [], 0
        self.choose = random.Random(SEED)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.server.requests.append((dict(self.headers), body))
            fails = self.server.choose.random() < 0.1
            self.server.failures += fails
            self.send_response(503 if fails else 204)
            self.end_headers()

        def log_message(self, *_):
            pass


class OtherParsers(unittest.TestCase):
    def test_each_event_is_parsed_and_each_webhook_is_verified(self):
        receiver = Receiver()
        url = f"http://127.0.0.1:{receiver.server_port}/events"
        service = Service("--events", "--events-to", url, EVENTS_SECRET=SECRET)
        writes = service.live(random.Random(SEED), 8, 300)
        self.assertGreater(writes, 50)
        ends = time.monotonic() + 60
        ids = set()
        while len(ids) < writes and time.monotonic() < ends:
            ids = {headers["webhook-id"] for headers, _ in list(receiver.requests)}
            time.sleep(0.05)
        service.stop()
        receiver.shutdown()
        receiver.server_close()
        printed = [json.loads(line) for line in service.lines if line.startswith("{")]
        self.assertEqual(len(printed), writes)
        self.assertEqual(ids, {event["id"] for event in printed})
        self.assertGreater(receiver.failures, 0)
        self.assertEqual(len(receiver.requests), writes + receiver.failures)
        for headers, body in receiver.requests:
            Webhook(SECRET).verify(body.decode(), headers)
            event = from_http_event(HTTPMessage(headers=headers, body=body))
            self.assertIn(json.loads(body), printed)
            self.assertEqual(event.get_id(), headers["webhook-id"])
            self.assertEqual(event.get_source(), "/user-service/local")
            self.assertIn(event.get_type().removeprefix("user."), TYPES)
            self.assertTrue(event.get_subject().startswith("user-"))
            self.assertEqual(event.get_time().utcoffset().total_seconds(), 0)
            data = event.get_data()
            self.assertEqual(set(data), {"version", "changed", "actor", "requestId"})
            self.assertEqual(data["actor"]["type"], "service")
        with self.assertRaises(Exception):
            Webhook(SECRET).verify(body.decode() + " ", headers)


class DynamoDbLocal:
    """AWS's own emulator, in memory."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [
                *("java", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"),
                *("-inMemory", "-port", str(self.port)),
            ],
            cwd=os.environ["DYNAMODB_LOCAL"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                break
            assert self.process.poll() is None
            time.sleep(0.1)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )


def subjects_of(streams, stream):
    """The hints of all records of a stream."""
    shards = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
    for shard in shards:
        iterator = streams.get_shard_iterator(
            StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            output = streams.get_records(ShardIterator=iterator)
            for record in output["Records"]:
                if record["eventName"] == "INSERT":
                    yield {"subject": record["dynamodb"]["NewImage"]["userId"]["S"]}
            if not output["Records"]:
                break
            iterator = output.get("NextShardIterator")


class Consumer(unittest.TestCase):
    def test_a_copy_equals_the_users_though_events_are_lost_doubled_and_shuffled(self):
        choose = random.Random(SEED)
        consume, repair = documented_consumer()
        emulator = DynamoDbLocal()
        self.addCleanup(emulator.stop)
        environment = {
            "AWS_ENDPOINT_URL_DYNAMODB": emulator.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        service = Service(**environment)
        self.addCleanup(service.stop)
        dynamodb, streams = emulator.client("dynamodb"), emulator.client("dynamodbstreams")
        dynamodb.update_table(
            TableName="UserHistory",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        stream = dynamodb.describe_table(TableName="UserHistory")["Table"]["LatestStreamArn"]
        copy, users = {}, 30
        for _ in range(3):
            writes = service.live(choose, users, 300)
            hints = list(subjects_of(streams, stream))
            self.assertGreaterEqual(len(hints), writes)
            hints = [hint for hint in hints for _ in range(choose.choice([0, 1, 1, 1, 2]))]
            choose.shuffle(hints)
            # Writes go on while the consumer is behind.
            for number, hint in enumerate(hints):
                consume(hint, copy, service.get)
                if number % 50 == 0:
                    service.live(choose, users, 2)
        self.assertNotEqual(copy, {})
        repair(copy, service.get)
        scanned = dynamodb.scan(TableName="UserData", ConsistentRead=True)["Items"]
        versions = {item["userId"]["S"]: int(item["version"]["N"]) for item in scanned}
        self.assertEqual({user_id: user["version"] for user_id, user in copy.items()}, versions)
        listed = {}
        repair(listed, service.get)
        self.assertEqual(copy, listed)


if __name__ == "__main__":
    print(f"SEED={SEED}", flush=True)
    unittest.main()
