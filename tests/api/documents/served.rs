//! The contract as it is served, and its page.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Service, Setup, Through};

/// What the page loads, from its own text.
fn references(html: &str) -> Vec<String> {
    let attributes = html.split(['"', '\'']).skip(1).step_by(2);
    let references = attributes.filter(|value| value.contains('/') && !value.contains(' '));
    references.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_start_leads_to_the_page_and_the_page_has_all_it_loads() {
    let service = Service::start().await;
    for path in ["/", "/docs/"] {
        let start = service.get(path).await;
        assert_eq!(
            (start.status.as_u16(), start.header("location")),
            (307, "/docs"),
            "{path}"
        );
    }
    let page = service.get("/docs").await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let assets = references(&page.body);
    assert_eq!(assets.len(), 3, "{assets:?}");
    for asset in assets {
        // Relative to /docs, and so of this service wherever it is mounted.
        assert!(asset.starts_with("docs/"), "{asset}");
        let asset = service.get(&format!("/{asset}")).await;
        assert_eq!(asset.status, 200);
        assert!(
            ["text/css", "text/javascript"]
                .iter()
                .any(|kind| asset.header("content-type").starts_with(kind))
        );
        assert!(asset.body.len() > 100);
    }
}

#[tokio::test]
async fn the_page_may_load_and_ask_nothing_of_another_host() {
    let service = Service::start().await;
    for path in ["/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"] {
        let answer = service.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn the_contract_is_served_as_json_and_as_yaml_without_what_is_the_gateways() {
    let service = Service::start().await;
    let as_json = service.get("/openapi.json").await;
    assert_eq!(as_json.header("content-type"), "application/json");
    let as_yaml = service.get("/openapi.yaml").await;
    assert_eq!(as_yaml.header("content-type"), "application/yaml");
    let from_yaml: Value = serde_saphyr::from_str(&as_yaml.body).unwrap();
    assert_eq!(from_yaml, as_json.json());
    let document: Value = serde_saphyr::from_str(include_str!("../../../openapi.yaml")).unwrap();
    assert_eq!(
        from_yaml["components"]["schemas"],
        document["components"]["schemas"]
    );
    assert_eq!(from_yaml["servers"][0]["url"], "/");
    for gateways in ["x-amazon-apigateway", "Fn::", "signedRead", "proxy+"] {
        assert!(!as_json.body.contains(gateways), "{gateways}");
    }
}

#[tokio::test]
async fn documents_are_only_read() {
    let service = Service::start().await;
    for path in ["/", "/docs", "/openapi.json"] {
        let refused = service.send(Method::POST, path, &[], "").await;
        let refused = refused.has_problem(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
        let head = service.send(Method::HEAD, path, &[], "").await;
        assert_eq!(
            (head.status, head.body.as_str()),
            (service.get(path).await.status, "")
        );
    }
}

#[tokio::test]
async fn every_operation_takes_a_local_caller_on_this_machine_and_none_does_on_lambda() {
    let caller = (json!([{}, { "caller": [] }]), json!("X-Local-Caller"));
    for (through, expected) in [
        (Through::InProcess, caller),
        (Through::Lambda, (Value::Null, Value::Null)),
    ] {
        let setup = Setup {
            through: Some(through),
            ..Setup::default()
        };
        let document = setup.start().await.get("/openapi.json").await.json();
        let scheme = &document["components"]["securitySchemes"]["caller"];
        assert_eq!(
            (document["security"].clone(), scheme["name"].clone()),
            expected
        );
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation.get("security").is_none(), "{method} {path}");
            }
        }
    }
}
