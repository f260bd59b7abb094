//! `PUT` of what `GET` gave, edited or not.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Service, ada, if_match, item_of_everything, some_id, take_state};

/// A user with every field, and its path.
async fn grown_up(service: &Service) -> (Value, String) {
    let mut user = ada();
    user["userId"] = json!(some_id());
    user["phone"] = json!("+14155550123");
    user["metadata"] = json!({ "team": "engines", "number": 1.5 });
    let created = service.post("/users", &user).await.has_status(201);
    (created.json(), created.header("location").to_owned())
}

#[tokio::test]
async fn what_get_gave_can_be_put_back_edited() {
    let service = Service::start().await;
    let (mut user, path) = grown_up(&service).await;
    user["name"] = json!("Grace canary");
    user.as_object_mut().unwrap().remove("phone");
    let replaced = service.put(&path, &user).await.has_status(200).json();
    user["version"] = json!(2);
    user["updatedAt"] = replaced["updatedAt"].clone();
    assert_eq!(replaced, user);
    assert_eq!(service.get(&path).await.has_status(200).json(), user);
}

#[tokio::test]
async fn an_item_of_every_type_can_be_put_back_as_the_text_it_was_given() {
    let service = Service::start().await;
    let id = some_id();
    service.put_item(item_of_everything(&id)).await;
    let before = service.item(&id).await;
    let path = format!("/users/{id}");
    let read = service.get(&path).await.has_status(200);
    let headers = [("content-type", "application/json")];
    let put = service.send(Method::PUT, &path, &headers, read.body).await;
    assert_eq!(put.has_status(200).json()["version"], 1);
    let mut after = service.item(&id).await;
    take_state(&mut after);
    for name in ["version", "updatedAt", "updatedBy"] {
        assert!(after.as_object_mut().unwrap().remove(name).is_some());
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn metadata_that_is_sent_back_as_get_shows_it_keeps_its_stored_types() {
    let service = Service::start().await;
    let id = some_id();
    let metadata = json!({ "M": {
        "tags": { "SS": ["a", "b"] },
        "scores": { "NS": ["1", "2"] },
        "photo": { "B": "3q2+7w==" },
    } });
    let item = json!({
        "userId": { "S": id },
        "name": { "S": "Old canary" },
        "email": { "S": format!("{id}@example.com") },
        "metadata": metadata,
    });
    service.put_item(item).await;
    let path = format!("/users/{id}");
    let mut user = service.get(&path).await.has_status(200).json();
    user["name"] = json!("New canary");
    let _ = service.put(&path, &user).await.has_status(200);
    let stored = service.item(&id).await;
    assert_eq!(
        (&stored["metadata"], &stored["name"]),
        (&metadata, &json!({ "S": "New canary" }))
    );
}

#[tokio::test]
async fn numbers_are_compared_by_value_and_sets_without_order() {
    let service = Service::start().await;
    let id = some_id();
    let path = format!("/users/{id}");
    let item = json!({
        "userId": { "S": id },
        "age": { "N": "100" },
        "scores": { "NS": ["1", "20"] },
        "tags": { "SS": ["a", "b"] },
        "blobs": { "BS": ["AAEC", "//79"] },
        "deep": { "L": [{ "M": { "scores": { "NS": ["1", "2"] } } }] },
    });
    service.put_item(item).await;
    let user = ada();
    let body = |rest: &str| {
        let user = user.to_string();
        format!("{},{rest}}}", user.strip_suffix('}').unwrap())
    };
    let headers = [("content-type", "application/json")];
    let put = async |rest: &str| service.send(Method::PUT, &path, &headers, body(rest)).await;
    for same in [
        r#""age":100.0,"scores":[20,1],"tags":["b","a"]"#,
        r#""age":1e2,"blobs":["//79","AAEC"],"deep":[{"scores":[2.0,1]}]"#,
    ] {
        let _ = put(same).await.has_status(200);
    }
    for (other, field) in [
        (r#""age":101"#, "/age"),
        (r#""age":"100""#, "/age"),
        (r#""age":null"#, "/age"),
        (r#""scores":[1,1]"#, "/scores"),
        (r#""scores":[1,20,20]"#, "/scores"),
        (r#""scores":["1","20"]"#, "/scores"),
        (r#""tags":["a"]"#, "/tags"),
        (r#""tags":"a""#, "/tags"),
        (r#""blobs":["AAEC","AAEC"]"#, "/blobs"),
        (r#""deep":[{"scores":[1,2]},{}]"#, "/deep"),
        (r#""deep":[{"scores":[1,2],"more":1}]"#, "/deep"),
    ] {
        let refused = put(other).await.has_problem(400, "invalid_user");
        let fields: Vec<_> = refused.field_errors().into_iter().collect();
        assert_eq!((fields.len(), fields[0].0.as_str()), (1, field), "{other}");
    }
}

#[tokio::test]
async fn what_a_client_may_not_write_is_refused_by_name_where_it_is_not_as_get_shows_it() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let mut changed = user.clone();
    changed["createdAt"] = json!("2001-01-01T00:00:00.000Z");
    changed["updatedAt"] = json!("2001-01-01T00:00:00.000Z");
    changed["nickname"] = json!("canary");
    let refused = service.put(&path, &changed).await;
    let refused = refused.has_problem(400, "invalid_user");
    let fields = refused.field_errors();
    let fields: Vec<_> = fields.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["/createdAt", "/updatedAt", "/nickname"]);
    // A rule of what it may write comes first: nothing is read for such a body.
    changed["name"] = json!("");
    let refused = service.put(&path, &changed).await;
    let refused = refused.has_problem(400, "invalid_user");
    assert_eq!(refused.field_errors()[0].0, "/name");
    assert_eq!(service.get(&path).await.has_status(200).json(), user);
    // There is nobody to compare with.
    let unknown = format!("/users/{}", some_id());
    changed = user.clone();
    changed.as_object_mut().unwrap().remove("userId");
    let _ = service
        .put(&unknown, &changed)
        .await
        .has_problem(404, "user_not_found");
}

#[tokio::test]
async fn a_field_of_the_service_that_is_null_counts_as_left_out() {
    let service = Service::start().await;
    let (mut user, path) = grown_up(&service).await;
    for name in ["version", "createdAt", "updatedAt"] {
        user[name] = Value::Null;
    }
    let replaced = service.put(&path, &user).await.has_status(200);
    assert_eq!(replaced.json()["version"], 2);
}

#[tokio::test]
async fn an_attribute_that_is_left_out_stays_where_a_client_may_not_write_it() {
    let service = Service::start().await;
    let id = some_id();
    let path = format!("/users/{id}");
    let item =
        json!({ "userId": { "S": id }, "nickname": { "S": "canary" }, "age": { "N": "36" } });
    service.put_item(item).await;
    let mut user = ada();
    user["age"] = json!(36);
    let replaced = service.put(&path, &user).await.has_status(200).json();
    assert_eq!(
        (&replaced["nickname"], &replaced["age"]),
        (&json!("canary"), &json!(36))
    );
}

#[tokio::test]
async fn a_condition_comes_before_what_is_compared() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let read = service.get(&path).await.has_status(200);
    let _ = service.put(&path, &user).await.has_status(200);
    // `updatedAt` is not as GET shows it any more, and neither are these.
    let _ = service
        .put(&path, &user)
        .await
        .has_problem(412, "version_mismatch");
    let mut without = user.clone();
    without.as_object_mut().unwrap().remove("version");
    let _ = service
        .send_json(Method::PUT, &path, &if_match(&read), &without)
        .await
        .has_problem(412, "version_mismatch");
    let _ = service
        .put(&path, &without)
        .await
        .has_problem(400, "invalid_user");
    // Another client's item has no version, and so not the one that the body names.
    let id = some_id();
    service.put_item(json!({ "userId": { "S": id } })).await;
    let mut versioned = ada();
    versioned["version"] = json!(1);
    let _ = service
        .put(&format!("/users/{id}"), &versioned)
        .await
        .has_problem(412, "version_mismatch");
}

#[tokio::test]
async fn of_64_concurrent_puts_of_one_version_one_is_200_and_63_are_412() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let puts = (0..64).map(|_| service.put(&path, &user));
    let answers = futures_util::future::join_all(puts).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(200), count(412)), (1, 63), "{answers:?}");
}

#[tokio::test]
async fn a_replacement_under_a_version_whose_answer_was_lost_is_the_success_it_was() {
    let service = Service::start().await;
    let (user, path) = grown_up(&service).await;
    let _ = service.store().take_calls();
    service.store().swallow_answer(2);
    let replaced = service.put(&path, &user).await.has_status(200);
    assert_eq!(replaced.json()["version"], 2);
    let calls = ["GetItem", "TransactWriteItems", "TransactWriteItems"];
    assert_eq!(service.store().take_calls(), calls);
}

#[tokio::test]
async fn what_creates_takes_only_what_a_client_may_write() {
    let service = Service::start().await;
    let (mut user, path) = grown_up(&service).await;
    let _ = service.delete(&path).await.has_status(204);
    let created = service.post("/users", &user).await;
    let fields = |refused: Answer| {
        let refused = refused.has_problem(400, "invalid_user").field_errors();
        refused
            .into_iter()
            .map(|(field, _)| field)
            .collect::<Vec<_>>()
    };
    let kept = [
        "/createdAt",
        "/createdBy",
        "/updatedAt",
        "/updatedBy",
        "/version",
    ];
    assert_eq!(fields(created), kept);
    user["userId"] = json!(path.strip_prefix("/users/").unwrap());
    let headers = [("if-none-match", "*")];
    let put = service.send_json(Method::PUT, &path, &headers, &user).await;
    assert_eq!(fields(put), kept);
}
