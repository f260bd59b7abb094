//! The contract, and a page that shows it and sends requests (feature `docs`).
//!
//! The page is Swagger UI. Its assets are in the binary, so it loads nothing from another host.

use std::sync::LazyLock;

use http::{
    HeaderValue,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
};
use rawzip::ZipArchive;
use serde_json::{Value, json};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

use super::{Response, answer, request::Request};

/// A document that this module serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `/`: redirects to the page.
    Start,
    /// `/docs`: the page.
    Page,
    /// The page's style sheet.
    Style,
    /// Swagger UI.
    Script,
    /// The script that starts Swagger UI.
    Initializer,
    /// `/openapi.json`: the contract.
    OpenApiJson,
    /// `/openapi.yaml`: the contract.
    OpenApiYaml,
}

/// A header field in which any request may name its caller, in addition to those of the contract.
#[derive(Clone, Copy, Debug)]
pub struct HeaderField {
    /// Its name.
    pub name: &'static str,
    /// What it means, in Markdown.
    pub description: &'static str,
}

/// The content security policy of the page. It may load only what this service serves, and the
/// small pictures in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The contract without the parts for API Gateway. The security schemes are among these parts,
/// because the gateway authenticates callers.
static CONTRACT: LazyLock<Value> = LazyLock::new(|| {
    let document = serde_saphyr::from_str(include_str!("../../openapi.yaml"));
    let mut document = document.expect("the tests read this very document");
    remove_gateway_extensions(&mut document);
    remove_security(&mut document);
    document
});

// Unpacked once, by the first request.
static STYLE: LazyLock<String> = LazyLock::new(|| swagger_ui("swagger-ui.css"));
static SCRIPT: LazyLock<String> = LazyLock::new(|| swagger_ui("swagger-ui-bundle.js"));

impl Document {
    /// The document at `path`.
    pub fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/" | "/docs/" => Self::Start,
            "/docs" => Self::Page,
            "/docs/swagger-ui.css" => Self::Style,
            "/docs/swagger-ui-bundle.js" => Self::Script,
            "/docs/initializer.js" => Self::Initializer,
            "/openapi.json" => Self::OpenApiJson,
            "/openapi.yaml" => Self::OpenApiYaml,
            _ => return None,
        })
    }

    /// The path of the document, for the log.
    pub fn template(self) -> &'static str {
        match self {
            Self::Start => "/",
            Self::Page => "/docs",
            Self::Style | Self::Script | Self::Initializer => "/docs/{asset}",
            Self::OpenApiJson => "/openapi.json",
            Self::OpenApiYaml => "/openapi.yaml",
        }
    }

    /// The answer to a `GET` of the document. The contract has `gateway_header` for all operations.
    pub fn answer(self, request: &Request, gateway_header: Option<&HeaderField>) -> Response {
        const HTML: &str = "text/html; charset=utf-8";
        const CSS: &str = "text/css; charset=utf-8";
        const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
        let (content_type, body) = match self {
            Self::Start => return answer::redirect(&format!("{}/docs", request.mount)),
            Self::Page => (HTML, include_str!("docs/index.html").to_owned()),
            Self::Style => (CSS, STYLE.clone()),
            Self::Script => (JAVASCRIPT, SCRIPT.clone()),
            Self::Initializer => (JAVASCRIPT, include_str!("docs/initializer.js").to_owned()),
            Self::OpenApiJson => {
                let contract = contract(request, gateway_header);
                ("application/json", contract.to_string())
            }
            Self::OpenApiYaml => {
                let yaml = serde_saphyr::to_string(&contract(request, gateway_header));
                ("application/yaml", yaml.expect("all JSON can be YAML"))
            }
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

/// The text of an asset of Swagger UI.
fn swagger_ui(asset: &str) -> String {
    let text = unpack(&format!("dist/{asset}")).and_then(|bytes| String::from_utf8(bytes).ok());
    text.expect("the tests read this very asset")
}

/// The file at `path` in the release of Swagger UI, which is a ZIP archive of one folder.
fn unpack(path: &str) -> Option<Vec<u8>> {
    let archive = ZipArchive::from_slice(SWAGGER_UI_VENDORED).ok()?;
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().ok()? {
        let name = entry.file_path();
        let below = name.as_ref().splitn(2, |byte| *byte == b'/').nth(1);
        if below == Some(path.as_bytes()) {
            let packed = archive.get_entry(entry.wayfinder()).ok()?;
            return miniz_oxide::inflate::decompress_to_vec(packed.data()).ok();
        }
    }
    None
}

/// The contract with `gateway_header`. Its server is the address that the client used.
fn contract(request: &Request, gateway_header: Option<&HeaderField>) -> Value {
    let mut contract = CONTRACT.clone();
    let url = if request.mount.is_empty() {
        "/"
    } else {
        &request.mount
    };
    contract["servers"] = json!([{ "url": url }]);
    if let Some(header) = gateway_header {
        add_caller(&mut contract, header);
    }
    contract
}

/// Adds a security scheme with `header`, so that a page has one field for it. A request may do
/// without.
fn add_caller(contract: &mut Value, header: &HeaderField) {
    contract["components"]["securitySchemes"] = json!({ "caller": {
        "type": "apiKey",
        "in": "header",
        "name": header.name,
        "description": header.description,
    } });
    contract["security"] = json!([{}, { "caller": [] }]);
}

/// Removes the security schemes and requirements, and the paths that only the gateway answers.
fn remove_security(document: &mut Value) {
    if let Some(components) = document["components"].as_object_mut() {
        components.remove("securitySchemes");
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|_, item| item.as_object().is_some_and(|item| !item.is_empty()));
        let operations = paths.values_mut().filter_map(Value::as_object_mut);
        for operation in operations.flat_map(|item| item.values_mut()) {
            if let Some(operation) = operation.as_object_mut() {
                operation.remove("security");
            }
        }
    }
}

fn remove_gateway_extensions(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|name, _| !name.starts_with("x-amazon-apigateway-"));
            object.values_mut().for_each(remove_gateway_extensions);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_gateway_extensions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
