//! Tokens of the issuers that an HTTP API takes, in its events, through the Lambda binary.

use serde_json::{Value, json};

use crate::support::{
    Answer, Service, Setup, Through, ada,
    events::{http_event, with_body, with_token},
    some_id,
};

const SCOPES: &str = "openid users/read users/write";

/// The claims of an access token of an issuer, for a subject in these groups.
type Claims = fn(subject: &str, groups: &[&str]) -> Value;

/// An issuer, and the tokens that it gives.
struct Issuer {
    kind: &'static str,
    /// The token of a user.
    user: Claims,
    /// What stands before the random part of a subject, in a token and in the `userId`.
    prefix: (&'static str, &'static str),
    /// The token of a client without a user. The gateway refuses that of Entra, which has no scopes.
    client: fn(client: &str) -> Value,
}

const ISSUERS: [Issuer; 6] = [
    Issuer {
        kind: "auth0",
        user: |subject, groups| {
            json!({
                "iss": "https://tenant.eu.auth0.com/", "sub": subject, "azp": "canary",
                "aud": ["https://users.example.com", "https://tenant.eu.auth0.com/userinfo"],
                "exp": 4102444800_u64, "scope": SCOPES, "permissions": groups,
            })
        },
        prefix: ("auth0|", "auth0~7C"),
        client: |client| json!({ "sub": format!("{client}@clients"), "gty": "client-credentials", "scope": SCOPES }),
    },
    Issuer {
        kind: "cognito",
        user: |subject, groups| {
            json!({
                "iss": "https://cognito-idp.eu-north-1.amazonaws.com/eu-north-1_abc", "sub": subject,
                "client_id": "canary", "token_use": "access", "username": "canary",
                "scope": SCOPES, "cognito:groups": groups,
            })
        },
        prefix: ("", ""),
        client: |client| json!({ "sub": client, "client_id": client, "scope": SCOPES }),
    },
    Issuer {
        kind: "entra",
        user: |subject, groups| {
            json!({
                "iss": "https://login.microsoftonline.com/tenant/v2.0", "ver": "2.0",
                "sub": "canary-pairwise", "oid": subject, "scp": "users/read users/write",
                "roles": groups, "groups": ["9c1a4c1e-0000-4000-8000-000000000000"],
            })
        },
        prefix: ("", ""),
        client: |client| {
            json!({ "sub": client, "oid": client, "azp": "canary", "idtyp": "app", "roles": ["x"],
                "scp": "users/read users/write" })
        },
    },
    Issuer {
        kind: "keycloak",
        user: |subject, groups| {
            json!({
                "iss": "https://sso.example.com/realms/staff", "sub": subject, "azp": "canary",
                "scope": SCOPES, "groups": groups, "realm_access": { "roles": ["admin"] },
            })
        },
        prefix: ("", ""),
        client: |client| {
            json!({
                "sub": client, "azp": "canary", "client_id": "canary", "scope": SCOPES,
                "preferred_username": "service-account-canary", "clientHost": "192.0.2.1",
            })
        },
    },
    Issuer {
        kind: "okta",
        user: |subject, groups| {
            json!({
                "iss": "https://tenant.okta.com/oauth2/default", "sub": "canary@example.com",
                "uid": subject, "cid": "canary", "scp": ["openid", "users/read", "users/write"],
                "groups": groups,
            })
        },
        prefix: ("00u", "00u"),
        client: |client| json!({ "sub": client, "cid": client, "scp": ["users/read", "users/write"] }),
    },
    Issuer {
        kind: "other",
        user: |subject, groups| json!({ "sub": subject, "scope": SCOPES, "groups": groups }),
        prefix: ("https://id.example.com/", "https~3A~2F~2Fid.example.com~2F"),
        client: |client| json!({ "sub": client, "azp": client, "scope": SCOPES }),
    },
];

/// The service behind an HTTP API with the tokens of an issuer.
async fn of(environment: &'static [(&'static str, &'static str)]) -> Service {
    Setup {
        through: Some(Through::Lambda),
        auth_mode: "JWT",
        environment,
        ..Setup::default()
    }
    .start()
    .await
}

/// The service with the claims of an issuer.
async fn of_kind(kind: &str) -> Service {
    let environment: &'static [_] = match kind {
        "auth0" => &[("ISSUER_KIND", "auth0")],
        "cognito" => &[("ISSUER_KIND", "cognito")],
        "entra" => &[("ISSUER_KIND", "entra")],
        "keycloak" => &[("ISSUER_KIND", "keycloak")],
        "okta" => &[("ISSUER_KIND", "okta")],
        other => {
            assert_eq!(other, "other");
            &[("ISSUER_KIND", "other")]
        }
    };
    of(environment).await
}

/// Sends a request with a token that has these claims.
async fn send(service: &Service, method: &str, path: &str, claims: &Value, body: &Value) -> Answer {
    let mut event = with_token(http_event(method, path), claims);
    if !body.is_null() {
        event = with_body(event, body);
    }
    service.answer(&event).await
}

async fn get(service: &Service, path: &str, claims: &Value) -> Answer {
    send(service, "GET", path, claims, &Value::Null).await
}

#[tokio::test]
async fn a_user_of_each_issuer_acts_on_itself_and_an_admin_on_everyone() {
    for Issuer {
        kind, user, prefix, ..
    } in ISSUERS
    {
        let service = of_kind(kind).await;
        let part = some_id();
        let own = user(&format!("{}{part}", prefix.0), &["editors"]);
        let user_id = format!("{}{part}", prefix.1);
        let created = send(&service, "POST", "/users", &own, &ada()).await;
        let created = created.has_status(201);
        assert_eq!(created.json()["userId"], user_id, "{kind}");
        let path = format!("/users/{user_id}");
        assert_eq!(created.header("location"), path);
        let read = get(&service, &path, &own).await.has_status(200);
        assert_eq!(read.body, created.body, "{kind}");
        let change = json!({ "name": "Ada canary" });
        let patched = send(&service, "PATCH", &path, &own, &change).await;
        let _ = patched.has_status(200);
        let _ = get(&service, "/users", &own)
            .await
            .has_problem(403, "access_denied");

        // To another user, it is not there.
        let another = user(&format!("{}{}", prefix.0, some_id()), &["editors"]);
        for method in ["GET", "DELETE"] {
            let hidden = send(&service, method, &path, &another, &Value::Null).await;
            let _ = hidden.has_problem(404, "user_not_found");
        }

        let admin = user(&format!("{}{}", prefix.0, some_id()), &["editors", "admin"]);
        let listed = get(&service, "/users", &admin).await.has_status(200);
        assert_eq!(listed.json()["items"][0]["createdBy"]["id"], user_id);
        let _ = send(&service, "DELETE", &path, &own, &Value::Null)
            .await
            .has_status(204);
        let _ = get(&service, &format!("/deleted-users/{user_id}"), &admin)
            .await
            .has_status(200);
    }
}

#[tokio::test]
async fn a_client_without_a_user_is_a_user_whose_id_no_person_can_have() {
    for Issuer {
        kind, user, client, ..
    } in ISSUERS
    {
        let service = of_kind(kind).await;
        let id = some_id();
        let claims = client(&id);
        let created = send(&service, "POST", "/users", &claims, &ada()).await;
        let created = created.has_status(201);
        let user_id = match kind {
            "auth0" => format!("~client-{id}~40clients"),
            _ => format!("~client-{id}"),
        };
        assert_eq!(created.json()["userId"], user_id, "{kind}");
        let path = format!("/users/{user_id}");
        let read = get(&service, &path, &claims).await.has_status(200);
        assert_eq!(read.body, created.body, "{kind}");
        let _ = get(&service, "/users", &claims)
            .await
            .has_problem(403, "access_denied");
        // A person with the same subject is another user, and so is one who is called like the client.
        for subject in [&id, &format!("{id}@clients"), &user_id] {
            // Auth0 writes the connection of each person before its id.
            let connection = if kind == "auth0" { "auth0|" } else { "" };
            let person = user(&format!("{connection}{subject}"), &[]);
            let hidden = get(&service, &path, &person).await;
            let _ = hidden.has_problem(404, "user_not_found");
            let created = send(&service, "POST", "/users", &person, &ada()).await;
            assert_ne!(created.has_status(201).json()["userId"], user_id, "{kind}");
        }
    }
}

#[tokio::test]
async fn the_claims_of_another_issuer_give_no_rights() {
    for Issuer {
        kind, user, prefix, ..
    } in ISSUERS
    {
        let service = of_kind(kind).await;
        let own = user(&format!("{}{}", prefix.0, some_id()), &["editors"]);
        for claim in [
            "permissions",
            "cognito:groups",
            "roles",
            "groups",
            "https://example.com/groups",
        ] {
            if own.get(claim) == Some(&json!(["editors"])) {
                continue; // that of the issuer
            }
            let mut claims = own.clone();
            claims[claim] = json!(["admin"]);
            let _ = get(&service, "/users", &claims)
                .await
                .has_problem(403, "access_denied");
        }
        // Without the scopes, or with those of another claim.
        let of_issuer = if own["scp"].is_null() { "scope" } else { "scp" };
        for other in ["scopes", "scp", "scope", "permissions"] {
            let mut claims = own.clone();
            claims.as_object_mut().unwrap().remove(of_issuer);
            if other != of_issuer {
                claims[other] = json!(SCOPES);
            }
            let refused = get(&service, "/users/canary", &claims).await;
            let refused = refused.has_problem(403, "access_denied");
            assert_eq!(
                refused.json()["message"],
                "The token lacks the scope users/read",
                "{kind} with {other}"
            );
        }
        // Without the subject, there is nobody, whatever else the token says.
        let mut claims = own.clone();
        for subject in ["sub", "oid", "uid", "cid"] {
            let of_issuer = match kind {
                "entra" => subject == "oid",
                "okta" => subject == "uid" || subject == "cid",
                _ => subject == "sub",
            };
            match of_issuer {
                true => claims.as_object_mut().unwrap().remove(subject),
                false => claims
                    .as_object_mut()
                    .unwrap()
                    .insert(subject.to_owned(), json!("canary")),
            };
        }
        let refused = get(&service, "/users/canary", &claims).await;
        let refused = refused.has_problem(401, "unauthenticated");
        assert_eq!(refused.header("www-authenticate"), "Bearer", "{kind}");
    }
}

#[tokio::test]
async fn the_claims_have_the_names_that_the_configuration_gives_them() {
    let service = of(&[
        ("ISSUER_KIND", "okta"),
        ("SCOPE_CLAIM", "scope"),
        ("GROUPS_CLAIM", "https://example.com/groups"),
        ("SUBJECT_CLAIM", "employee"),
    ])
    .await;
    let id = some_id();
    let claims = json!({
        "uid": "canary", "cid": "canary", "employee": id, "scp": [], "scope": SCOPES,
        "groups": [], "https://example.com/groups": ["admin", "editors"],
    });
    let mut user = ada();
    user["userId"] = json!(id);
    let created = send(&service, "POST", "/users", &claims, &user).await;
    assert_eq!(created.has_status(201).json()["createdBy"]["id"], id);
    let mut nobody = claims.clone();
    nobody.as_object_mut().unwrap().remove("employee");
    let _ = get(&service, "/users", &nobody)
        .await
        .has_problem(401, "unauthenticated");
}

#[tokio::test]
async fn no_two_subjects_are_one_user() {
    let service = of_kind("other").await;
    let claims = |subject: &str| json!({ "sub": subject, "scope": SCOPES });
    let part = some_id();
    let subjects = [
        format!("a|{part}"),
        format!("a~7C{part}"),
        format!("a%7C{part}"),
        format!("a~7E7C{part}"),
        format!("A|{part}"),
    ];
    let mut made = Vec::new();
    for subject in &subjects {
        let created = send(&service, "POST", "/users", &claims(subject), &ada()).await;
        made.push(created.has_status(201).json()["userId"].clone());
    }
    for (subject, own) in subjects.iter().zip(&made) {
        for user_id in &made {
            let path = format!("/users/{}", user_id.as_str().unwrap());
            let read = get(&service, &path, &claims(subject)).await;
            let expected = if user_id == own { 200 } else { 404 };
            assert_eq!(read.status, expected, "{subject} reads {user_id}");
        }
    }
}
