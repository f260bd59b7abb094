// `GET /users?userId=` with the AWS SDK for JavaScript, as the tutorial writes it.

import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand } from "@aws-sdk/lib-dynamodb";

const client = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export async function handler(event) {
  const userId = event.queryStringParameters.userId;
  const command = new GetCommand({ TableName: process.env.TABLE_NAME, Key: { userId } });
  const { Item } = await client.send(command);
  return {
    statusCode: Item ? 200 : 404,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(Item ?? { message: "No user data found" }),
  };
}
