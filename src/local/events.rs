//! The events that the stack would push, on this machine: each new record of the history as a
//! CloudEvent 1.0 in JSON
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

mod webhook;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

pub use self::webhook::{Secret, Webhook};
use super::dynamodb::{CallError, EmbeddedDynamoDb};

/// How often the stream is read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The `source` of the events. In a stack, the name of the stack follows.
const SOURCE: &str = "/user-service/local";

/// The stream of the table of history: its new records.
pub struct Events {
    dynamodb: EmbeddedDynamoDb,
    iterator: String,
}

impl Events {
    /// The events from now on. Turns on the stream of the `table` of history.
    ///
    /// # Errors
    /// The engine refuses it.
    pub fn follow(dynamodb: EmbeddedDynamoDb, table: &str) -> Result<Self, CallError> {
        let named = json!({ "TableName": table });
        let description = dynamodb.call("DescribeTable", &named)?;
        if description["Table"]["StreamSpecification"]["StreamEnabled"] != true {
            let specification = json!({ "StreamEnabled": true, "StreamViewType": "NEW_IMAGE" });
            let update = json!({ "TableName": table, "StreamSpecification": specification });
            dynamodb.call("UpdateTable", &update)?;
        }
        let description = dynamodb.call("DescribeTable", &named)?;
        let stream = &description["Table"]["LatestStreamArn"];
        let description = dynamodb.call("DescribeStream", &json!({ "StreamArn": stream }))?;
        let shards = description["StreamDescription"]["Shards"].as_array();
        let shard = shards.and_then(|shards| shards.last());
        let position = json!({
            "StreamArn": stream,
            "ShardId": shard.map(|shard| &shard["ShardId"]),
            "ShardIteratorType": "LATEST",
        });
        let iterator = dynamodb.call("GetShardIterator", &position)?;
        Ok(Self {
            iterator: text(&iterator["ShardIterator"]),
            dynamodb,
        })
    }

    /// Waits for events, and returns them in the order of the stream.
    ///
    /// # Errors
    /// The engine refuses it.
    pub async fn next(&mut self) -> Result<Vec<Value>, CallError> {
        loop {
            let events = self.new_events()?;
            if !events.is_empty() {
                return Ok(events);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The events since the last call.
    fn new_events(&mut self) -> Result<Vec<Value>, CallError> {
        let position = json!({ "ShardIterator": self.iterator });
        let output = self.dynamodb.call("GetRecords", &position)?;
        if let Value::String(next) = &output["NextShardIterator"] {
            self.iterator.clone_from(next);
        }
        let records = output["Records"].as_array();
        let added = records
            .into_iter()
            .flatten()
            .filter(|record| record["eventName"] == "INSERT");
        let events = added.map(|record| cloud_event(&record["dynamodb"]["NewImage"]));
        Ok(events.collect())
    }
}

/// The event of a record, in DynamoDB's JSON. The pipe of the stack makes the same one.
fn cloud_event(record: &Value) -> Value {
    let attribute = |name: &str| &record[name]["S"];
    json!({
        "specversion": "1.0",
        "id": attribute("id"),
        "source": SOURCE,
        "type": attribute("type"),
        "subject": attribute("userId"),
        "time": attribute("time"),
        "datacontenttype": "application/json",
        "data": {
            "version": attribute("version"),
            "changed": attribute("changed"),
            "actor": { "type": attribute("actorType"), "id": attribute("actorId") },
            "requestId": attribute("requestId"),
        },
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
