//! `POST /users`

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::support::{Service, Setup, ada, some_id};

#[tokio::test]
async fn a_created_user_has_an_id_a_version_and_times_and_can_be_read_where_location_says() {
    let service = Service::start().await;
    let sent = json!({
        "name": "  Ada canary  ",
        "email": "Ada.Canary@example.com",
        "phone": "+14155550123",
        "metadata": { "team": "engines", "seats": [1, 2.50, -0.0, 1e3], "on": true, "none": null, "deep": {} },
    });
    let created = service.post("/users", &sent).await.has_status(201);
    let user = created.json();
    let id = user["userId"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    assert_eq!(created.header("location"), format!("/users/{id}"));
    assert_eq!(user["version"], 1);
    let created_at = user["createdAt"].as_str().unwrap();
    assert!(is_rfc_3339_utc_milliseconds(created_at), "{created_at}");
    let metadata = json!({
        "team": "engines", "seats": [1, 2.5, 0, 1000], "on": true, "none": null, "deep": {},
    });
    assert_eq!(
        user,
        json!({
            "userId": id,
            "name": "Ada canary",
            "email": "Ada.Canary@example.com",
            "phone": "+14155550123",
            "metadata": metadata,
            "version": 1,
            "createdAt": created_at,
            "createdBy": user["createdBy"],
            "updatedAt": created_at,
            "updatedBy": user["createdBy"],
        })
    );

    let read = service
        .get(created.header("location"))
        .await
        .has_status(200);
    assert_eq!(read.body, created.body);
    assert_eq!(read.header("etag"), created.header("etag"));
}

fn is_rfc_3339_utc_milliseconds(text: &str) -> bool {
    let shape = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c });
    shape.collect::<String>() == "0000-00-00T00:00:00.000Z"
}

#[tokio::test]
async fn a_user_may_bring_its_own_id_of_unreserved_characters() {
    let service = Service::start().await;
    for id in ["a", "AZaz09._~-", "...", &"x".repeat(128)] {
        let mut user = ada();
        user["userId"] = json!(id);
        let created = service.post("/users", &user).await.has_status(201);
        assert_eq!(created.json()["userId"], id);
        let read = service
            .get(created.header("location"))
            .await
            .has_status(200);
        assert_eq!(read.body, created.body);
    }
}

#[tokio::test]
async fn the_location_of_an_id_that_a_path_would_lose_is_a_query() {
    let service = Service::start().await;
    for id in [".", ".."] {
        let mut user = ada();
        user["userId"] = json!(id);
        let created = service.post("/users", &user).await.has_status(201);
        assert_eq!(created.header("location"), format!("/users?userId={id}"));
        let read = service
            .get(created.header("location"))
            .await
            .has_status(200);
        assert_eq!(read.json()["userId"], id);
    }
}

#[tokio::test]
async fn an_id_of_other_characters_is_refused() {
    let service = Service::start().await;
    for id in ["", "a b", "a/b", "ä", "a\n", "a+b", &"x".repeat(129)] {
        let mut user = ada();
        user["userId"] = json!(id);
        let refused = service
            .post("/users", &user)
            .await
            .has_problem(400, "invalid_user");
        assert_eq!(refused.field_errors()[0].0, "/userId", "{id}");
    }
}

#[tokio::test]
async fn a_second_user_with_the_same_id_is_a_conflict_and_the_first_is_untouched() {
    let service = Service::start().await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let first = service.post("/users", &user).await.has_status(201);
    user["name"] = json!("Another canary");
    let _ = service
        .post("/users", &user)
        .await
        .has_problem(409, "user_exists");
    let read = service.get(first.header("location")).await.has_status(200);
    assert_eq!(read.body, first.body);
}

#[tokio::test]
async fn of_64_concurrent_creates_of_one_id_one_is_201_and_63_are_409() {
    let service = Setup {
        sandboxes: 8,
        ..Setup::default()
    }
    .start()
    .await;
    let mut user = ada();
    user["userId"] = json!(some_id());
    let answers = join_all((0..64).map(|_| service.post("/users", &user))).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(201), count(409)), (1, 63), "{answers:?}");
}

#[tokio::test]
async fn optional_fields_that_are_null_count_as_left_out() {
    let service = Service::start().await;
    let sent = json!({
        "userId": null, "name": "Ada canary", "email": "ada.canary@example.com", "phone": null, "metadata": null,
    });
    let user = service.post("/users", &sent).await.has_status(201).json();
    assert!(user["userId"].is_string());
    assert!(
        user.get("phone").is_none() && user.get("metadata").is_none(),
        "{user}"
    );
}

#[tokio::test]
async fn every_rule_of_a_user_is_told_with_its_field() {
    let service = Service::start().await;
    let deep = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
    let wide = "x".repeat(64 * 1024);
    for (field, value, pointer) in [
        ("name", json!(""), "/name"),
        ("name", json!("   "), "/name"),
        ("name", json!("é".repeat(201)), "/name"),
        ("name", json!("a\u{7}b"), "/name"),
        ("name", json!("a\u{0}b"), "/name"),
        ("name", json!("a\nb"), "/name"),
        ("name", json!(null), "/name"),
        ("name", json!(1), "/name"),
        ("name", json!(["a"]), "/name"),
        ("email", json!(""), "/email"),
        ("email", json!("ada"), "/email"),
        ("email", json!("ada@"), "/email"),
        ("email", json!("@example.com"), "/email"),
        ("email", json!("a b@example.com"), "/email"),
        ("email", json!("a@b\n[127.0.0.1]"), "/email"),
        (
            "email",
            json!(format!(
                "{}@{}.example.com",
                "a".repeat(60),
                "b".repeat(62).repeat(3)
            )),
            "/email",
        ),
        ("email", json!(null), "/email"),
        ("email", json!({}), "/email"),
        ("phone", json!("14155550123"), "/phone"),
        ("phone", json!("+0155550123"), "/phone"),
        ("phone", json!("+1 415 555 0123"), "/phone"),
        ("phone", json!("+1234567890123456"), "/phone"),
        ("phone", json!("+"), "/phone"),
        ("phone", json!(14_155_550_123_u64), "/phone"),
        ("metadata", json!([]), "/metadata"),
        ("metadata", json!("text"), "/metadata"),
        ("metadata", json!({ "a": wide }), "/metadata"),
        ("metadata", json!({ "": 1 }), "/metadata/"),
        (
            "metadata",
            json!({ "a/b~c": { "": 1 } }),
            "/metadata/a~1b~0c/",
        ),
        ("userId", json!(7), "/userId"),
        ("version", json!(1), "/version"),
        ("createdAt", json!("2026-01-01T00:00:00.000Z"), "/createdAt"),
        ("updatedAt", json!("2026-01-01T00:00:00.000Z"), "/updatedAt"),
        ("nickname", json!("Ada"), "/nickname"),
    ] {
        let mut user = ada();
        user[field] = value;
        let refused = service
            .post("/users", &user)
            .await
            .has_problem(400, "invalid_user");
        let errors = refused.field_errors();
        assert!(
            errors.iter().any(|(field, _)| field == pointer),
            "{pointer} in {errors:?}"
        );
    }
    let mut user = ada();
    user["metadata"] = deep(21);
    let refused = service
        .post("/users", &user)
        .await
        .has_problem(400, "invalid_user");
    assert_eq!(
        refused.field_errors()[0].0,
        format!("/metadata{}", "/a".repeat(20))
    );
    user["metadata"] = deep(20);
    let _ = service.post("/users", &user).await.has_status(201);
}

#[tokio::test]
async fn a_name_holds_no_bidirectional_controls_and_nothing_invisible() {
    let service = Service::start().await;
    let name = |name: &str| {
        let mut user = ada();
        user["name"] = json!(name);
        user
    };
    for text in [
        "Ada\u{200b}Lovelace",
        "\u{200b}",
        "\u{feff}Ada",
        "Ada\u{2060}Lovelace",
        "Ada\u{ad}Lovelace",
        "Ada\u{34f}Lovelace",
        "Ada\u{202e}ecalevoL",
        "\u{202d}Ada",
        "\u{2066}Ada\u{2069}",
        "Ada\u{200e}",
        "\u{200f}Ada",
        "\u{61c}Ada",
        "Ada\u{2028}Lovelace",
        "Ada\u{2029}Lovelace",
        "Ada\u{2800}Lovelace",
        "\u{2800}",
        "\u{3164}",
        "\u{ffa0}\u{115f}",
        "\u{17b4}",
        "Ada\u{1d173}",
        "Ada\u{e0041}\u{e0064}",
        // Joiners without a need for them.
        "Ada\u{200d}Lovelace",
        "Ada\u{200c}Lovelace",
        "\u{200d}",
        "\u{200c}\u{627}",
        "\u{627}\u{200c}",
        "\u{627}\u{200c} \u{627}",
        "\u{627} \u{200d}\u{627}",
        "\u{627}\u{200c}\u{200c}\u{627}",
        "\u{627}\u{200d}\u{200c}\u{627}",
        "\u{627}\u{180e}",
        "\u{418}\u{200c}\u{432}\u{430}\u{43d}",
        "Zo\u{eb}\u{200d}a",
        "\u{738b}\u{200d}\u{660e}",
        // Interlinear controls, and a noncharacter.
        "A\u{fff9}da\u{fffb}",
        "Ada\u{fdd0}",
        "Ada\u{1fffe}",
        // Variation selectors without a character that takes one, or more than one.
        "Ada\u{fe0f}",
        "A\u{e01ef}da",
        "\u{fe0f}",
        "\u{fe0f}Ada",
        "Ada \u{fe0f}Lovelace",
        "\u{8fbb}\u{e0100}\u{e0101}",
        "\u{1f600}\u{fe0f}\u{fe0f}",
    ] {
        let refused = service.post("/users", &name(text)).await;
        let refused = refused.has_problem(400, "invalid_user");
        let message = "must not hold invisible characters or bidirectional controls";
        assert_eq!(
            refused.field_errors(),
            [("/name".to_owned(), message.to_owned())],
            "{text:?}"
        );
    }
    for text in [
        // Arabic's letter heh in its initial form, alone.
        "\u{647}\u{200d}",
        // Persian, with a zero width non-joiner.
        "\u{639}\u{644}\u{6cc}\u{200c}\u{631}\u{636}\u{627}",
        // Sinhala and Marathi, with a zero width joiner.
        "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}",
        "\u{926}\u{93e}\u{924}\u{947} \u{928}\u{94d}\u{200d}\u{92f}",
        // Malayalam, where the joiner follows a virama at the end of a word.
        "\u{d2e}\u{d4b}\u{d39}\u{d28}\u{d4d}\u{200d}",
        "\u{d2e}\u{d4b}\u{d39}\u{d28}\u{d4d}\u{200d} \u{d15}",
        // Japanese, with ideographic variation sequences.
        "\u{8fbb}\u{e0100}",
        "\u{845b}\u{e0101}\u{57ce}",
        // Mongolian, with a free variation selector and a vowel separator.
        "\u{182d}\u{180b}\u{1820}",
        "\u{182c}\u{1820}\u{1837}\u{180e}\u{1820}",
        // Emoji sequences.
        "Ada \u{1f469}\u{1f3fd}\u{200d}\u{1f4bb}",
        "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
        "Ada 1\u{fe0f}\u{20e3}",
        // Hebrew and Arabic need no controls.
        "\u{5e2}\u{5d3}\u{5d4} Ada",
        "Zoe\u{308} O\u{2019}Neil-\u{141}ucka",
    ] {
        let created = service.post("/users", &name(text)).await.has_status(201);
        assert_eq!(created.json()["name"], text);
        let path = created.header("location");
        let patch = json!({ "name": "Ada\u{200b}" });
        let refused = service.send_json(Method::PATCH, path, &[], &patch).await;
        let _ = refused.has_problem(400, "invalid_user");
    }
}

#[tokio::test]
async fn a_stored_name_with_invisible_characters_is_still_read_and_kept() {
    let service = Service::start().await;
    let (id, name) = (some_id(), "\u{202e}Ada\u{200b} canary");
    let email = format!("{id}@example.com");
    service
        .put_item(json!({ "userId": { "S": id }, "name": { "S": name }, "email": { "S": email } }))
        .await;
    let path = format!("/users/{id}");
    assert_eq!(
        service.get(&path).await.has_status(200).json()["name"],
        name
    );
    let list = service.get("/users").await.has_status(200).json();
    assert_eq!(list["items"][0]["name"], name);
    let patch = json!({ "metadata": { "team": "engines" } });
    let patched = service.send_json(Method::PATCH, &path, &[], &patch).await;
    assert_eq!(patched.has_status(200).json()["name"], name);
}

#[tokio::test]
async fn the_longest_of_everything_is_accepted() {
    let service = Service::start().await;
    let domain = format!(
        "{}.{}.{}.com",
        "b".repeat(61),
        "c".repeat(61),
        "d".repeat(61)
    );
    let email = format!("{}@{domain}", "a".repeat(254 - 1 - domain.len()));
    assert_eq!(email.len(), 254);
    let user = json!({
        "name": "é".repeat(200),
        "email": email,
        "phone": "+123456789012345",
        "metadata": { "a": "x".repeat(64 * 1024 - 8) },
    });
    let created = service.post("/users", &user).await.has_status(201);
    let read = service
        .get(created.header("location"))
        .await
        .has_status(200)
        .json();
    for field in ["name", "email", "phone", "metadata"] {
        assert_eq!(read[field], user[field]);
    }
}

#[tokio::test]
async fn a_required_field_that_is_missing_is_named() {
    let service = Service::start().await;
    let refused = service
        .post("/users", &json!({}))
        .await
        .has_problem(400, "invalid_user");
    let required = |field: &str| (field.to_owned(), "is required".to_owned());
    assert_eq!(
        refused.field_errors(),
        [required("/name"), required("/email")]
    );
}

#[tokio::test]
async fn all_that_is_wrong_with_a_body_comes_in_one_answer() {
    let service = Service::start().await;
    let body = r#"{ "userId": "a b", "name": "", "email": 5, "phone": "x", "metadata": {"n": 1e999}, "extra": 1, "version": 3 }"#;
    let headers = [("content-type", "application/json")];
    let refused = service
        .send("POST".parse().unwrap(), "/users", &headers, body)
        .await;
    let fields = refused.has_problem(400, "invalid_user").field_errors();
    let mut fields: Vec<_> = fields.iter().map(|(field, _)| field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "/email",
            "/extra",
            "/metadata/n",
            "/name",
            "/phone",
            "/userId",
            "/version"
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_with_known_fields_comes_before_a_crowd_of_unknown_ones() {
    let service = Service::start().await;
    let mut body = serde_json::Map::new();
    for number in 0..300 {
        body.insert(format!("a{number}"), json!(1));
    }
    body.insert("email".into(), json!("nobody"));
    let refused = service
        .post("/users", &json!(body))
        .await
        .has_problem(400, "invalid_user");
    let errors = refused.field_errors();
    assert_eq!(
        (errors[0].0.as_str(), errors[1].0.as_str(), errors.len()),
        ("/name", "/email", 100)
    );
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "name is required; and at least 99 more, see errors"
    );
}

#[tokio::test]
async fn numbers_in_metadata_keep_every_digit_that_dynamodb_holds_and_the_rest_are_refused() {
    let service = Service::start().await;
    let headers = [("content-type", "application/json")];
    let body = |number: &str| {
        let email = ada()["email"].clone();
        format!(r#"{{"name":"Ada canary","email":{email},"metadata":{{"n":{number}}}}}"#)
    };
    for number in [
        "12345678901234567890123456789012345678",
        "-0.1234567890123456789012345678901234567",
        "18446744073709551616",
        "9007199254740993",
    ] {
        let created = service
            .send("POST".parse().unwrap(), "/users", &headers, body(number))
            .await;
        let created = created.has_status(201);
        let read = service
            .get(created.header("location"))
            .await
            .has_status(200);
        assert!(
            read.body
                .contains(&format!(r#""metadata":{{"n":{number}}}"#)),
            "{read:?}"
        );
        assert_eq!(read.body, created.body);
    }
    // What the service writes and what DynamoDB gives back are the same text.
    for number in ["1e125", "1e-130", "-9.99e125", "1.10", "1E+2", "0.000001"] {
        let created = service
            .send("POST".parse().unwrap(), "/users", &headers, body(number))
            .await;
        let created = created.has_status(201);
        let read = service
            .get(created.header("location"))
            .await
            .has_status(200);
        assert_eq!(read.body, created.body, "{number}");
    }
    for number in [
        "123456789012345678901234567890123456789",
        "1e126",
        "1e-131",
        "1e400",
    ] {
        let refused = service
            .send("POST".parse().unwrap(), "/users", &headers, body(number))
            .await;
        let errors = refused.has_problem(400, "invalid_user").field_errors();
        assert_eq!(errors[0].0, "/metadata/n", "{number}");
    }
}

#[tokio::test]
async fn a_post_with_the_id_in_the_query_says_where_it_belongs() {
    let service = Service::start().await;
    let refused = service.post("/users?userId=7", &ada()).await;
    let errors = refused.has_problem(400, "invalid_parameter").field_errors();
    assert_eq!(errors[0].0, "/userId");
}
