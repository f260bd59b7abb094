//! Users of the tests, and checks of what is stored.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Service};

/// Stands in each name, email and id of the tests that can have it. It is in no log.
pub const CANARY: &str = "canary";

/// Takes the service's own state out of an item, and returns its members.
#[track_caller]
pub fn take_state(item: &mut Value) -> Value {
    let attribute = item.as_object_mut().unwrap().remove("_userService");
    let state = attribute.unwrap()["M"].take();
    assert!(state["revision"]["S"].is_string(), "{state}");
    state
}

/// The header field `If-Match` for the representation in an answer.
pub fn if_match(answer: &Answer) -> [(&'static str, &str); 1] {
    [("if-match", answer.header("etag"))]
}

/// A user that a client may create, with an email address that no other has.
pub fn ada() -> Value {
    let email = format!("ada.canary-{}@example.com", Uuid::new_v4());
    json!({ "name": "Ada canary Lovelace", "email": email })
}

/// A `userId` that no other test has.
pub fn some_id() -> String {
    format!("{CANARY}-{}", Uuid::new_v4())
}

/// An email address that no other test has.
pub fn some_email() -> String {
    format!("{CANARY}-{}@example.com", Uuid::new_v4())
}

/// The item of a legacy user, which the service has not written yet, in DynamoDB's JSON.
pub fn legacy_user(id: &str, email: &str) -> Value {
    json!({ "userId": { "S": id }, "name": { "S": "Old canary" }, "email": { "S": email } })
}

/// All users as they are stored, by `userId`.
pub async fn all_users(service: &Service) -> BTreeMap<String, Value> {
    let mut users = BTreeMap::new();
    let mut path = "/users?limit=100&consistent=true".to_owned();
    loop {
        let page = service.get(&path).await.has_status(200).json();
        for user in page["items"].as_array().unwrap() {
            users.insert(user["userId"].as_str().unwrap().to_owned(), user.clone());
        }
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/users?limit=100&consistent=true&cursor={cursor}"),
            None => return users,
        }
    }
}

/// Checks that every user has exactly its claim, and that no claim is left over.
pub async fn claims_are_those_of_the_users(service: &Service) {
    // A legacy user has no version and no claim. A user that lost its address has no claim either.
    let expected: Vec<_> = all_users(service)
        .await
        .iter()
        .filter(|(_, user)| user["version"].is_u64())
        .filter_map(|(user_id, user)| {
            let email = user["email"].as_str()?.to_lowercase();
            Some((email, user_id.clone()))
        })
        .collect();
    let claims = service.claims().await;
    assert_eq!(claims.len(), expected.len());
    assert_eq!(claims, expected.into_iter().collect::<HashMap<_, _>>());
}

/// A number that only text holds exactly.
pub const DIGITS_38: &str = "12345678901234567890123456789012345678";

/// An item that another client wrote, with an attribute of each type, in DynamoDB's JSON.
pub fn item_of_everything(id: &str) -> Value {
    json!({
        "userId": { "S": id },
        "name": { "S": "Old canary" },
        "email": { "S": "old.canary@example.com" },
        "big": { "N": DIGITS_38 },
        "small": { "N": "-0.00000000012345678901234567890123456789012345678" },
        "tags": { "SS": ["b", "a"] },
        "scores": { "NS": ["10", "3.5", DIGITS_38, "7"] },
        "blobs": { "BS": ["//79", "AAEC"] },
        "photo": { "B": "3q2+7w==" },
        "nothing": { "NULL": true },
        "yes": { "BOOL": true },
        "no": { "BOOL": false },
        "empty": { "S": "" },
        "nested": { "M": {
            "list": { "L": [{ "N": "1" }, { "S": "two" }, { "M": { "three": { "NS": ["3"] } } }, { "L": [] }] },
            "map": { "M": {} },
        } },
        "snow man \u{2603}": { "S": "\u{0}\u{1f600}" },
    })
}
