//! `HEAD`, `OPTIONS`, CORS, other methods and other paths.

use http::Method;

use crate::support::{Service, Setup, ada, some_id};

/// The media types of a patch.
pub const ACCEPT_PATCH: &str = "application/merge-patch+json, application/json";

#[tokio::test]
async fn head_is_get_without_the_body() {
    let service = Service::start().await;
    let created = service.post("/users", &ada()).await.has_status(201);
    let id = created.json()["userId"].as_str().unwrap().to_owned();
    for path in [
        format!("/users/{id}"),
        format!("/users?userId={id}"),
        "/users".to_owned(),
        format!("/users/{}", some_id()),
        format!("/users/{id}/history"),
        format!("/users/{id}/history?limit=0"),
        format!("/users/{id}/export"),
        format!("/users/{}/export", some_id()),
        "/deleted-users".to_owned(),
        format!("/deleted-users/{id}"),
        "/users?limit=0".to_owned(),
        "/nowhere".to_owned(),
    ] {
        let got = service.get(&path).await;
        let head = service.send(Method::HEAD, &path, &[], "").await;
        assert_eq!(head.status, got.status, "{path}");
        assert_eq!(head.body, "");
        assert_eq!(
            head.header("content-length"),
            got.body.len().to_string(),
            "{path}"
        );
        for field in ["content-type", "etag", "link", "cache-control"] {
            assert_eq!(head.header(field), got.header(field), "{field} of {path}");
        }
    }
}

#[tokio::test]
async fn options_names_the_methods_of_a_path() {
    let service = Service::start().await;
    for (path, allow) in [
        ("/users", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("/users/7", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("/users/7/history", "GET, HEAD, OPTIONS"),
        ("/users/7/export", "GET, HEAD, OPTIONS"),
        ("/deleted-users", "GET, HEAD, OPTIONS"),
        ("/deleted-users/7", "GET, HEAD, DELETE, OPTIONS"),
        ("/deleted-users/7/restore", "POST, OPTIONS"),
    ] {
        let options = service
            .send(Method::OPTIONS, path, &[], "")
            .await
            .has_status(204);
        assert_eq!(
            (options.body.as_str(), options.header("allow")),
            ("", allow)
        );
        let patch = if allow.contains("PATCH") {
            ACCEPT_PATCH
        } else {
            ""
        };
        assert_eq!(options.header("accept-patch"), patch, "{path}");
    }
    let page = service.send(Method::OPTIONS, "/docs", &[], "").await;
    assert_eq!(page.header("accept-patch"), "", "{page:?}");
    let nowhere = service.send(Method::OPTIONS, "/nowhere", &[], "").await;
    let _ = nowhere.has_problem(404, "route_not_found");
}

#[tokio::test]
async fn another_method_is_405_with_those_there_are() {
    let service = Service::start().await;
    for (method, path, allow) in [
        (
            "QUERY",
            "/users",
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        (
            "QUERY",
            "/users/7",
            "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
        ),
        ("POST", "/users/7", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        (
            "TRACE",
            "/users/7",
            "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
        ),
        (
            "BREW",
            "/users",
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        (
            "get",
            "/users",
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        ("POST", "/users/7/history", "GET, HEAD, OPTIONS"),
        ("DELETE", "/users/7/export", "GET, HEAD, OPTIONS"),
        ("POST", "/deleted-users", "GET, HEAD, OPTIONS"),
        ("PATCH", "/deleted-users/7", "GET, HEAD, DELETE, OPTIONS"),
        ("GET", "/deleted-users/7/restore", "POST, OPTIONS"),
    ] {
        let refused = service.send(method.parse().unwrap(), path, &[], "").await;
        assert_eq!(
            refused
                .has_problem(405, "method_not_allowed")
                .header("allow"),
            allow,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn another_path_is_404_whatever_the_method() {
    let service = Service::start().await;
    for path in [
        "/user",
        "/users2",
        "/Users",
        "/users/1/2",
        "/users/1/history/2",
        "/users//history",
        "/users/1/restore",
        "/deleted-users/1/2",
        "/deleted-users/1/history",
        "/deleted-users/1/restore/2",
        "/deleted-users//restore",
        "/prod/other",
        "//users",
        "/users//",
    ] {
        for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
            let missing = service.send(method, path, &[], "").await;
            let _ = missing.has_problem(404, "route_not_found");
        }
    }
}

const PREFLIGHT: &[(&str, &str)] = &[
    ("origin", "https://app.example.com"),
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "content-type, if-match"),
];
const FROM_A_PAGE: &[(&str, &str)] = &[("origin", "https://app.example.com")];

#[tokio::test]
async fn no_other_origin_may_read_answers_by_default() {
    let service = Service::start().await;
    let preflight = service
        .send(Method::OPTIONS, "/users", PREFLIGHT, "")
        .await
        .has_status(204);
    let answer = service
        .send(Method::GET, "/users", FROM_A_PAGE, "")
        .await
        .has_status(200);
    for answer in [preflight, answer] {
        assert!(
            answer
                .headers
                .keys()
                .all(|name| !name.as_str().starts_with("access-control")),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn any_origin_may_read_answers_where_all_are_allowed() {
    let service = Setup {
        allowed_origins: "*",
        ..Setup::default()
    }
    .start()
    .await;
    let preflight = service
        .send(Method::OPTIONS, "/users/7", PREFLIGHT, "")
        .await
        .has_status(204);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
    );
    for header in [
        "Content-Type",
        "If-Match",
        "If-None-Match",
        "Authorization",
        "traceparent",
        "X-Request-Id",
    ] {
        assert!(
            preflight
                .header("access-control-allow-headers")
                .contains(header),
            "{preflight:?}"
        );
    }
    for (path, status) in [
        ("/users", 200),
        ("/users/none", 404),
        ("/nowhere", 404),
        ("/users?limit=x", 400),
    ] {
        let answer = service
            .send(Method::GET, path, FROM_A_PAGE, "")
            .await
            .has_status(status);
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        for header in ["ETag", "Location", "Link", "Accept-Patch"] {
            assert!(
                answer
                    .header("access-control-expose-headers")
                    .contains(header),
                "{answer:?}"
            );
        }
    }
    let no_page = service.get("/users").await.has_status(200);
    assert_eq!(no_page.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn only_the_origins_of_the_list_may_read_answers() {
    let allowed_origins = "https://App.Example.com:443, http://localhost:5173";
    let service = Setup {
        allowed_origins,
        ..Setup::default()
    }
    .start()
    .await;
    for origin in ["https://app.example.com", "http://localhost:5173"] {
        let answer = service
            .send(Method::GET, "/users/none", &[("origin", origin)], "")
            .await
            .has_status(404);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("vary"), "origin");
    }
    for origin in [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "null",
        "*",
    ] {
        let answer = service
            .send(Method::GET, "/users", &[("origin", origin)], "")
            .await
            .has_status(200);
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("vary"), "origin");
    }
    let preflight = service
        .send(Method::OPTIONS, "/users", PREFLIGHT, "")
        .await
        .has_status(204);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        "https://app.example.com"
    );
    assert!(
        preflight
            .header("access-control-allow-methods")
            .contains("PUT")
    );
    let mut elsewhere = PREFLIGHT.to_vec();
    elsewhere[0].1 = "https://evil.example.com";
    let refused = service
        .send(Method::OPTIONS, "/users", &elsewhere, "")
        .await
        .has_status(204);
    assert!(
        refused
            .headers
            .keys()
            .all(|name| !name.as_str().starts_with("access-control"))
    );
}
