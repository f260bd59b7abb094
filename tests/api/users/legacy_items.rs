//! Items that other clients have put into the table.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    DIGITS_38, Service, Setup, ada, if_match, item_of_everything, some_id, take_state,
};

#[tokio::test]
async fn an_item_of_every_type_comes_back_exact_by_both_forms_of_get() {
    let service = Service::start().await;
    let id = some_id();
    service.put_item(item_of_everything(&id)).await;
    let by_path = service.get(&format!("/users/{id}")).await.has_status(200);
    let by_query = service
        .get(&format!("/users?userId={id}"))
        .await
        .has_status(200);
    assert_eq!(by_path.body, by_query.body);
    shows_everything(&by_path.body);
    let item = by_path.json();
    assert!(item.get("version").is_none() && item.get("createdAt").is_none());
}

/// Checks the text of the answer, in which alone numbers are exact.
#[track_caller]
fn shows_everything(body: &str) {
    for member in [
        &format!(r#""big":{DIGITS_38},"#),
        r#""small":-0.00000000012345678901234567890123456789012345678,"#,
        r#""photo":"3q2+7w==","#,
        // Sets are sorted, so that the same item is always the same text.
        r#""tags":["a","b"],"#,
        &format!(r#""scores":[3.5,7,10,{DIGITS_38}],"#),
        r#""blobs":["AAEC","//79"],"#,
        r#""nothing":null,"#,
        r#""yes":true"#,
        r#""no":false,"#,
        r#""empty":"","#,
        r#""nested":{"list":[1,"two",{"three":[3]},[]],"map":{}},"#,
        "\"snow man \u{2603}\":\"\\u0000\u{1f600}\"",
    ] {
        assert!(body.contains(member), "{member} in {body}");
    }
}

#[tokio::test]
async fn an_item_of_every_type_survives_a_put_of_name_and_email() {
    let service = Service::start().await;
    let id = some_id();
    service.put_item(item_of_everything(&id)).await;
    let before = service.item(&id).await;
    let path = format!("/users/{id}");
    let ada = ada();
    let read = service.get(&path).await.has_status(200);
    let replaced = service
        .send_json(Method::PUT, &path, &if_match(&read), &ada)
        .await;
    let replaced = replaced.has_status(200);
    assert_eq!(replaced.json()["version"], 1);
    shows_everything(&replaced.body);
    shows_everything(&service.get(&path).await.has_status(200).body);

    let mut expected = before;
    let mut after = service.item(&id).await;
    take_state(&mut after);
    expected["name"] = json!({ "S": ada["name"] });
    expected["email"] = json!({ "S": ada["email"] });
    expected["version"] = json!({ "N": "1" });
    expected["updatedAt"] = after["updatedAt"].clone();
    expected["updatedBy"] = after["updatedBy"].clone();
    assert_eq!(sorted(after), sorted(expected));
}

/// Sets have no order.
fn sorted(mut item: Value) -> Value {
    for set in ["tags", "scores", "blobs"] {
        for values in item[set].as_object_mut().unwrap().values_mut() {
            values.as_array_mut().unwrap().sort_by_key(Value::to_string);
        }
    }
    item
}

#[tokio::test]
async fn an_item_without_a_version_is_replaced_counted_and_deleted_like_any_other() {
    let service = Service::start().await;
    let id = some_id();
    service.put_item(json!({ "userId": { "S": id } })).await;
    let path = format!("/users/{id}");
    assert_eq!(
        service.get(&path).await.has_status(200).body,
        format!(r#"{{"userId":"{id}"}}"#)
    );
    for version in [1, 2] {
        let replaced = service.put(&path, &ada()).await.has_status(200);
        assert_eq!(replaced.json()["version"], version);
    }
    let _ = service.delete(&path).await.has_status(204);

    service.put_item(json!({ "userId": { "S": id } })).await;
    let stale = service
        .send(Method::DELETE, &path, &[("if-match", "\"1\"")], "")
        .await;
    let _ = stale.has_problem(412, "version_mismatch");
    let read = service.get(&path).await.has_status(200);
    let _ = service
        .send(Method::DELETE, &path, &if_match(&read), "")
        .await
        .has_status(204);
}

#[tokio::test]
async fn known_names_with_values_of_other_types_are_shown_and_can_be_replaced() {
    let service = Setup {
        other_types: true,
        ..Setup::default()
    }
    .start()
    .await;
    for version in [
        json!({ "S": "two" }),
        json!({ "N": "-3" }),
        json!({ "N": "1.5" }),
        json!({ "N": "9007199254740991" }),
        json!({ "N": "18446744073709551615" }),
        json!({ "N": "1000000000000000000000000000000" }),
        json!({ "NULL": true }),
        json!({ "M": { "major": { "N": "1" } } }),
        json!({ "SS": ["1"] }),
    ] {
        let id = some_id();
        let path = format!("/users/{id}");
        let item = json!({
            "userId": { "S": id }, "version": version, "name": { "N": "7" }, "updatedAt": { "BOOL": true },
        });
        service.put_item(item.clone()).await;
        let found = service.get(&path).await.has_status(200);
        assert_eq!(found.json()["name"], 7);
        let stale = service
            .send_json(Method::PUT, &path, &[("if-match", "\"1\"")], &ada())
            .await;
        let _ = stale.has_problem(412, "version_mismatch");
        let replaced = service
            .send_json(Method::PUT, &path, &if_match(&found), &ada())
            .await;
        let replaced = replaced.has_status(200).json();
        assert_eq!(
            (&replaced["version"], &replaced["name"]),
            (&json!(1), &ada()["name"])
        );

        service.put_item(item.clone()).await;
        let replaced = service.put(&path, &ada()).await.has_status(200).json();
        assert_eq!(replaced["version"], 1, "{version}");
        service.put_item(item).await;
        let _ = service
            .send(Method::DELETE, &path, &if_match(&found), "")
            .await
            .has_status(204);
    }
}

#[tokio::test]
async fn tightened_rules_do_not_hide_users_that_break_them() {
    let service = Service::start().await;
    let id = "no id / of ours";
    let item =
        json!({ "userId": { "S": id }, "name": { "S": "" }, "email": { "S": "no address" } });
    service.put_item(item).await;
    let path = "/users/no%20id%20%2F%20of%20ours";
    let _ = service.get(path).await.has_status(200);
    assert_eq!(
        service.put(path, &ada()).await.has_status(200).json()["userId"],
        id
    );
    let _ = service.delete(path).await.has_status(204);
}
