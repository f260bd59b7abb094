"""`GET /users?userId=` with boto3, as a tutorial writes it."""

import json
import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])


def handler(event, context):
    """Answers with the user, or with 404."""
    user_id = event["queryStringParameters"]["userId"]
    item = table.get_item(Key={"userId": user_id}).get("Item")
    return {
        "statusCode": 200 if item else 404,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(item or {"message": "No user data found"}),
    }
