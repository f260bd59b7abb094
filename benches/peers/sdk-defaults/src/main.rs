//! `GET /users?userId=` with the defaults of the AWS SDK, as a tutorial writes it.

use std::collections::HashMap;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lambda_http::{Error, Request, RequestExt, Response, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().init();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = Client::new(&config);
    let table = std::env::var("TABLE_NAME")?;
    run(service_fn(async |request: Request| {
        let query = request.query_string_parameters();
        let user_id = query.first("userId").unwrap_or_default();
        let output = client
            .get_item()
            .table_name(&table)
            .key("userId", AttributeValue::S(user_id.to_owned()))
            .send()
            .await?;
        let (status, body) = match output.item {
            Some(item) => (200, object(item)),
            None => (404, json!({ "message": "No user data found" })),
        };
        let response = Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(body.to_string())?;
        Ok::<_, Error>(response)
    }))
    .await
}

/// The strings of an item, which are all that the benchmark has.
fn object(item: HashMap<String, AttributeValue>) -> Value {
    item.into_iter()
        .filter_map(|(name, value)| Some((name, Value::from(value.as_s().ok()?.as_str()))))
        .collect()
}
