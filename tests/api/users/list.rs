//! `GET /users`

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Service, Setup, Through, ada,
    events::{rest_event, with_query},
    runtime_api::{MAX_RESPONSE_BYTES, Outcome},
};

fn ids(page: &Answer) -> Vec<String> {
    let items = page.json()["items"].as_array().unwrap().clone();
    items
        .iter()
        .map(|user| user["userId"].as_str().unwrap().to_owned())
        .collect()
}

/// Follows `Link` from `path` to the last page.
async fn walk(service: &Service, path: &str) -> Vec<Vec<String>> {
    let mut path = path.to_owned();
    let mut pages = Vec::new();
    loop {
        let page = service.get(&path).await.has_status(200);
        pages.push(ids(&page));
        let cursor = page.json()["nextCursor"].as_str().map(str::to_owned);
        let link = page.header("link");
        let Some(cursor) = cursor else {
            assert_eq!(link, "");
            return pages;
        };
        assert!(
            cursor
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
            "{cursor}"
        );
        let next = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""));
        path = next.unwrap().to_owned();
        assert!(path.ends_with(&format!("cursor={cursor}")), "{path}");
    }
}

#[tokio::test]
async fn an_empty_table_is_one_empty_page() {
    let service = Service::start().await;
    assert_eq!(
        service.get("/users").await.has_status(200).body,
        r#"{"items":[]}"#
    );
}

#[tokio::test]
async fn walking_the_pages_meets_every_user_exactly_once() {
    let service = Service::start().await;
    for number in 0..23 {
        let mut user = ada();
        user["userId"] = json!(format!("canary-{number}"));
        let _ = service.post("/users", &user).await.has_status(201);
    }
    for limit in [1, 7, 22, 23, 24, 100] {
        let pages = walk(&service, &format!("/users?limit={limit}")).await;
        let mut met = BTreeMap::<String, u32>::new();
        for id in pages.iter().flatten() {
            *met.entry(id.clone()).or_default() += 1;
        }
        assert_eq!(met.len(), 23, "limit {limit}");
        assert!(met.values().all(|times| *times == 1), "{met:?}");
        assert_eq!(
            pages.len(),
            23_usize.div_ceil(limit),
            "the last page is not followed by an empty one"
        );
        assert!(pages.iter().all(|page| page.len() <= limit));
    }
}

#[tokio::test]
async fn users_that_come_and_go_during_the_walk_do_not_hide_the_others() {
    let service = Service::start().await;
    for number in 0..12 {
        let mut user = ada();
        user["userId"] = json!(format!("stays-canary-{number}"));
        let _ = service.post("/users", &user).await.has_status(201);
        let mut user = ada();
        user["userId"] = json!(format!("goes-canary-{number}"));
        let _ = service.post("/users", &user).await.has_status(201);
    }
    let mut met = Vec::new();
    let mut path = "/users?limit=3".to_owned();
    for number in 0.. {
        let page = service.get(&path).await.has_status(200);
        met.extend(ids(&page).into_iter().filter(|id| id.starts_with("stays-")));
        // Also the user that the cursor names may be gone when it is used.
        for id in ids(&page).iter().filter(|id| id.starts_with("goes-")) {
            let _ = service
                .delete(&format!("/users/{id}"))
                .await
                .has_status(204);
        }
        let mut user = ada();
        user["userId"] = json!(format!("comes-canary-{number}"));
        let _ = service.post("/users", &user).await.has_status(201);
        match page.json()["nextCursor"].as_str() {
            Some(cursor) => path = format!("/users?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    met.sort();
    let mut stayed: Vec<String> = (0..12)
        .map(|number| format!("stays-canary-{number}"))
        .collect();
    stayed.sort();
    assert_eq!(met, stayed);
}

#[tokio::test]
async fn a_page_holds_50_users_unless_asked_otherwise() {
    let service = Service::start().await;
    for number in 0..51 {
        service
            .put_item(json!({ "userId": { "S": format!("canary-{number}") } }))
            .await;
    }
    let pages = walk(&service, "/users").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [50, 1]);
}

#[tokio::test]
async fn a_page_ends_where_dynamodbs_megabyte_does_and_the_walk_goes_on() {
    let service = Service::start().await;
    let large = "x".repeat(300 * 1024);
    for number in 0..8 {
        let item =
            json!({ "userId": { "S": format!("canary-{number}") }, "notes": { "S": large } });
        service.put_item(item).await;
    }
    let pages = walk(&service, "/users?limit=100").await;
    assert!(pages.len() > 1);
    let mut met = pages.concat();
    met.sort();
    assert_eq!(
        met,
        (0..8)
            .map(|number| format!("canary-{number}"))
            .collect::<Vec<_>>()
    );
}

/// A page that Lambda lets out. A debug build on a busy machine can take longer than one
/// call's timeout to read a megabyte of escapes; the answer then has `Retry-After`.
async fn page_within_the_limit(service: &Service, event: &Value) -> Answer {
    for _ in 0..10 {
        let Outcome::Response(response) = service.invoke(event).await else {
            panic!("the function failed");
        };
        assert!(response.to_string().len() <= MAX_RESPONSE_BYTES);
        let answer = Answer::from_proxy_response(&response);
        if answer.header("retry-after").is_empty() {
            return answer.has_status(200);
        }
    }
    panic!("DynamoDB was busy ten times");
}

#[tokio::test]
async fn a_page_of_users_that_swell_on_their_way_stays_within_lambdas_six_megabytes() {
    let setup = Setup {
        through: Some(Through::Lambda),
        ..Setup::default()
    };
    let service = setup.start().await;
    // 64 KiB of JSON, 11 kB as it is stored, and 76 kB in the answer.
    let swells = "\u{1}".repeat(10_920);
    let users = (0..85).map(|number| {
        json!({ "userId": { "S": format!("canary-{number}") }, "metadata": { "M": { "k": { "S": swells } } } })
    });
    service.put_items(users.collect()).await;
    let mut event = with_query(rest_event("GET", "/users"), "limit", "100");
    let mut met = Vec::new();
    loop {
        let page = page_within_the_limit(&service, &event).await;
        met.extend(ids(&page));
        let page = page.json();
        assert_ne!(page["items"], json!([]));
        match page["nextCursor"].as_str() {
            Some(cursor) => event["multiValueQueryStringParameters"]["cursor"] = json!([cursor]),
            None => break,
        }
    }
    met.sort();
    let mut expected: Vec<_> = (0..85).map(|number| format!("canary-{number}")).collect();
    expected.sort();
    assert_eq!(met, expected);
}

#[tokio::test]
async fn a_list_shows_whole_items_and_any_key_can_stand_at_the_end_of_a_page() {
    let service = Service::start().await;
    let odd = ["a b", "ключ", "tab\there", "\u{1}", &"ü".repeat(1024)];
    for id in odd {
        let item = json!({ "userId": { "S": id }, "tags": { "SS": ["x"] } });
        service.put_item(item).await;
    }
    let mut met = walk(&service, "/users?limit=1&consistent=true")
        .await
        .concat();
    met.sort();
    let mut ids = odd.map(str::to_owned);
    ids.sort();
    assert_eq!(met, ids);
    let page = service.get("/users?limit=1").await.has_status(200).json();
    assert_eq!(page["items"][0]["tags"], json!(["x"]));
}

#[tokio::test]
async fn a_bad_limit_or_a_forged_cursor_is_refused_by_name() {
    let service = Service::start().await;
    for limit in [
        "0",
        "101",
        "-1",
        "+5",
        "1.5",
        "ten",
        "",
        "1e1",
        "99999999999999999999",
    ] {
        let refused = service.get(&format!("/users?limit={limit}")).await;
        assert_eq!(
            refused.has_problem(400, "invalid_parameter").field_errors()[0].0,
            "/limit",
            "{limit}"
        );
    }
    let too_long = "AWFh".repeat(1000);
    for cursor in [
        "", "x", "!!!", "AQ", "Aj==", "Awd4", "Af8", &too_long, "%00",
    ] {
        let refused = service.get(&format!("/users?cursor={cursor}")).await;
        let refused = refused.has_problem(400, "invalid_parameter");
        assert_eq!(refused.field_errors()[0].0, "/cursor", "{cursor}");
    }
    let beyond_the_end = service.get("/users?cursor=AX8_").await.has_status(200);
    assert_eq!(beyond_the_end.body, r#"{"items":[]}"#);
    let repeated = service
        .get("/users?limit=1&limit=2")
        .await
        .has_problem(400, "invalid_parameter");
    assert_eq!(
        repeated.field_errors(),
        [("/limit".to_owned(), "is given more than once".to_owned())]
    );
}

#[tokio::test]
async fn a_parameter_that_a_list_does_not_know_is_refused_with_the_nearest_name() {
    let service = Service::start().await;
    for (name, nearest) in [
        ("emial", "email"),
        ("e-mail", "email"),
        ("Email", "email"),
        ("userid", "userId"),
        ("user_id", "userId"),
        ("USERID", "userId"),
        ("Limit", "limit"),
        ("cursors", "cursor"),
        ("consistant", "consistent"),
    ] {
        let path = format!("/users?{name}=1");
        let refused = service.get(&path).await;
        let refused = refused.has_problem(400, "invalid_parameter");
        let message = format!("is not a parameter of this request; did you mean {nearest}?");
        assert_eq!(
            refused.field_errors(),
            [(format!("/{name}"), message.clone())]
        );
        assert_eq!(refused.json()["message"], format!("{name} {message}"));
        let head = service.send(Method::HEAD, &path, &[], "").await;
        let _ = head.has_status(400);
    }
    for name in ["name", "page", "offset", "_", "x"] {
        let refused = service.get(&format!("/users?limit=1&{name}=1")).await;
        let refused = refused.has_problem(400, "invalid_parameter");
        let message = "is not a parameter of this request; there are userId, email, verified, \
                       limit, cursor, consistent";
        assert_eq!(
            refused.field_errors(),
            [(format!("/{name}"), message.to_owned())]
        );
    }
}

#[tokio::test]
async fn every_unknown_parameter_is_named_once_and_the_answer_stays_small() {
    let service = Service::start().await;
    let refused = service.get("/users?emial=1&lmit=2&emial=3&limit=4").await;
    let refused = refused.has_problem(400, "invalid_parameter");
    let names = refused.field_errors().into_iter().map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["/emial", "/lmit"]);

    let slashes = service.get("/users?a%2Fb~c=1").await;
    let slashes = slashes.has_problem(400, "invalid_parameter");
    assert_eq!(slashes.field_errors()[0].0, "/a~1b~0c");

    let many: String = (0..1_500).map(|number| format!("{number}&")).collect();
    for query in ["x".repeat(8_000), "%0A%1B%00".repeat(800), many] {
        let refused = service.get(&format!("/users?{query}")).await;
        let refused = refused.has_problem(400, "invalid_parameter");
        assert!(refused.field_errors().len() <= 100);
        assert!(refused.body.len() < 25_000, "{}", refused.body.len());
    }
}

#[tokio::test]
async fn a_lookup_by_email_refuses_what_it_does_not_know_and_one_by_user_id_ignores_it() {
    let service = Service::start().await;
    let user = service.post("/users", &ada()).await.has_status(201);
    let (id, email) = (user.json()["userId"].clone(), user.json()["email"].clone());
    let (id, email) = (id.as_str().unwrap(), email.as_str().unwrap());
    let refused = service
        .get(&format!("/users?email={email}&conistent=true"))
        .await;
    let refused = refused.has_problem(400, "invalid_parameter");
    assert_eq!(refused.field_errors()[0].0, "/conistent");
    for path in [
        format!("/users?userId={id}&_=1700000000&emial=x"),
        format!("/users/{id}?_=1700000000"),
    ] {
        assert_eq!(service.get(&path).await.has_status(200).body, user.body);
    }
}

#[tokio::test]
async fn the_parameters_of_a_signed_url_are_no_mistake() {
    let service = Service::start().await;
    let signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260131T093000Z&X-Amz-Expires=60\
                  &X-Amz-SignedHeaders=host&X-Amz-Signature=5d672d79c15b13162d9279b0855cfba6";
    let _ = service
        .get(&format!("/users?limit=1&{signed}"))
        .await
        .has_status(200);
}

#[tokio::test]
async fn a_mistake_in_a_parameter_that_changes_nothing_is_told_all_the_same() {
    let service = Service::start().await;
    for path in ["/users?userId=1&limit=0", "/users?userId=1&cursor=x"] {
        let refused = service.get(path).await;
        let _ = refused.has_problem(400, "invalid_parameter");
    }
    for name in ["if-match", "if-none-match"] {
        for (value, status) in [("1", 400), ("\"1\"", 200)] {
            let headers = [(name, value)];
            let list = service.send(Method::GET, "/users", &headers, "").await;
            assert_eq!(list.status, status, "{name}: {value}");
        }
    }
}
