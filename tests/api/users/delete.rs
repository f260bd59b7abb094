//! `DELETE /users/{userId}` and `DELETE /users?userId=`

use http::Method;

use crate::support::{Service, ada, some_id};

#[tokio::test]
async fn a_deleted_user_is_gone() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let deleted = service.delete(path).await.has_status(204);
    assert_eq!(
        (deleted.body.as_str(), deleted.header("content-type")),
        ("", "")
    );
    let _ = service.get(path).await.has_problem(404, "user_not_found");
    let _ = service
        .delete(path)
        .await
        .has_problem(404, "user_not_found");
}

#[tokio::test]
async fn the_query_form_is_the_same_operation() {
    let service = Service::start().await;
    let id = service.post("/users", &ada()).await.has_status(201).json()["userId"].clone();
    let path = format!("/users?userId={}", id.as_str().unwrap());
    let _ = service.delete(&path).await.has_status(204);
    let _ = service
        .delete(&path)
        .await
        .has_problem(404, "user_not_found");
}

#[tokio::test]
async fn if_match_deletes_only_the_representation_it_names() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let delete = async |tags: &str| {
        service
            .send(Method::DELETE, path, &[("if-match", tags)], "")
            .await
    };
    let current = created.header("etag");
    for stale in ["\"0\"", "\"1\"", &format!("W/{current}"), "\"x\""] {
        let _ = delete(stale).await.has_problem(412, "version_mismatch");
    }
    let _ = delete(&format!("\"5\", {current}")).await.has_status(204);
    let _ = delete(current).await.has_problem(404, "user_not_found");
}

#[tokio::test]
async fn if_match_star_deletes_any_representation_and_if_none_match_none() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let path = created.header("location");
    let refused = service
        .send(Method::DELETE, path, &[("if-none-match", "\"1\"")], "")
        .await;
    let _ = refused.has_problem(400, "invalid_header");
    let _ = service
        .send(Method::DELETE, path, &[("if-match", "*")], "")
        .await
        .has_status(204);
}

#[tokio::test]
async fn deleting_without_an_id_deletes_nothing_and_asks_for_it() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    for path in ["/users", "/users/", "/users?userId="] {
        let refused = service
            .delete(path)
            .await
            .has_problem(400, "invalid_parameter");
        assert_eq!(refused.field_errors()[0].0, "/userId", "{path}");
    }
    let _ = service
        .get(created.header("location"))
        .await
        .has_status(200);
    let _ = service
        .delete(&format!("/users/{}", some_id()))
        .await
        .has_status(404);
}
