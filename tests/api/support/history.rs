//! The history of a user, and whether it agrees with what is stored.

use serde_json::Value;

use super::Service;

/// All records of the history of a user, oldest first, as a service sees them.
pub async fn history(service: &Service, user_id: &str) -> Vec<Value> {
    let first = format!("/users/{user_id}/history?limit=100");
    let mut path = first.clone();
    let mut records = Vec::new();
    loop {
        let answer = service.get(&path).await;
        if answer.status.as_u16() == 404 {
            break;
        }
        let page = answer.has_status(200).json();
        records.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => break,
        }
    }
    records.reverse();
    records
}

/// The types of the records of a user, oldest first.
pub async fn history_types(service: &Service, user_id: &str) -> Vec<String> {
    let records = history(service, user_id).await;
    let types = records
        .iter()
        .map(|record| record["type"].as_str().unwrap());
    types.map(str::to_owned).collect()
}

/// Checks that the versions of a history have no gap and no repeat within each life of the user, and
/// that they and the last record agree with what is stored.
pub async fn history_is_exact(service: &Service, user_id: &str) {
    let records = history(service, user_id).await;
    let mut last: Option<u64> = None;
    for record in &records {
        let version = record["version"].as_u64().unwrap();
        match (record["type"].as_str().unwrap(), last) {
            ("user.created", _) => assert_eq!(version, 1, "{records:#?}"),
            (_, Some(last)) => assert_eq!(version, last + 1, "{records:#?}"),
            (_, None) => {} // another client made the user
        }
        last = Some(version);
    }
    let user = service
        .get(&format!("/users/{user_id}?consistent=true"))
        .await;
    let deleted = service.get(&format!("/deleted-users/{user_id}")).await;
    let last_type = records
        .last()
        .map(|record| record["type"].as_str().unwrap());
    match last_type {
        None => {}
        Some("user.deleted") => {
            assert_eq!(user.status.as_u16(), 404, "{records:#?}");
            let deleted = deleted.has_status(200).json();
            assert_eq!(deleted["user"]["version"].as_u64(), last, "{records:#?}");
        }
        Some("user.erased") => {
            assert_eq!(user.status.as_u16(), 404, "{records:#?}");
            assert_eq!(deleted.status.as_u16(), 404, "{records:#?}");
        }
        Some(last_type) => {
            let user = user.has_status(200).json();
            assert_eq!(user["version"].as_u64(), last, "{records:#?}");
            let is_disabled = user["status"] == "disabled";
            assert!(!is_disabled || last_type != "user.enabled", "{records:#?}");
            assert!(is_disabled || last_type != "user.disabled", "{records:#?}");
        }
    }
}
