//! Holds answers against `openapi.yaml`.

use std::{collections::BTreeMap, sync::LazyLock};

use http::HeaderName;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::Answer;

/// `openapi.yaml`.
pub static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("../../../openapi.yaml")).unwrap());

/// The contract of `openapi.yaml`.
pub static CONTRACT: LazyLock<Contract> = LazyLock::new(|| Contract::new(DOCUMENT.clone()));

/// The same, where only this service has written users: they have no member that the document does
/// not name.
static CONTRACT_OF_OWN_USERS: LazyLock<Contract> = LazyLock::new(|| {
    let mut document = DOCUMENT.clone();
    document["components"]["schemas"]["User"]["additionalProperties"] = json!(false);
    Contract::new(document)
});

/// The same, without the types of the fields of a user: another client can put values of other
/// types into the table.
static CONTRACT_OF_OTHER_TYPES: LazyLock<Contract> = LazyLock::new(|| {
    let mut document = DOCUMENT.clone();
    let user = &mut document["components"]["schemas"]["User"];
    for (field, schema) in user["properties"].as_object_mut().unwrap() {
        if field != "userId" {
            *schema = json!({});
        }
    }
    Contract::new(document)
});

/// Header fields that any answer may have, documented or not: those that the
/// description of the API names for all answers, and those of HTTP and CORS.
const OF_EVERY_ANSWER: [&str; 6] = [
    "cache-control",
    "content-length",
    "content-type",
    "date",
    "vary",
    "x-content-type-options",
];

/// What is served beside the API: the document itself, and its page.
pub const DOCUMENTS: [&str; 8] = [
    "/",
    "/docs",
    "/docs/",
    "/docs/swagger-ui.css",
    "/docs/swagger-ui-bundle.js",
    "/docs/initializer.js",
    "/openapi.json",
    "/openapi.yaml",
];

/// Statuses that only the gateway answers; `gateway.rs` holds those answers against the
/// document.
pub const OF_THE_GATEWAY: [&str; 2] = ["429", "504"];

/// The schema of an error.
pub fn problem_schema() -> Validator {
    CONTRACT.schema(&json!({ "$ref": "#/components/schemas/Problem" }))
}

/// Checks `answer` to a request against the document. Only the service has written users.
///
/// The document cannot list two cases: a path that is not in it (404), and a method that a path
/// does not have (405). Other tests check these.
#[track_caller]
pub fn check(method: &str, path: &str, answer: &Answer) {
    CONTRACT_OF_OWN_USERS.check(method, path, answer);
}

/// As [`check`], where another client has written users, too.
#[track_caller]
pub fn check_with_other_clients(method: &str, path: &str, answer: &Answer) {
    CONTRACT.check(method, path, answer);
}

/// As [`check`], where another client has put values of other types into the fields of a user.
#[track_caller]
pub fn check_with_other_types(method: &str, path: &str, answer: &Answer) {
    CONTRACT_OF_OTHER_TYPES.check(method, path, answer);
}

/// The answers that a document allows.
pub struct Contract {
    /// The document.
    pub document: Value,
    /// The answers of each operation (path, method in lower case), by status.
    pub operations: BTreeMap<(&'static str, String), BTreeMap<String, Response>>,
}

/// An answer of an operation, as the document has it.
pub struct Response {
    headers: BTreeMap<String, Header>,
    /// Media type and schema; none for an answer without a body.
    content: Option<(String, Validator)>,
}

struct Header {
    is_required: bool,
    schema: Validator,
}

impl Contract {
    fn new(mut document: Value) -> Self {
        nullable_as_json_schema_says_it(&mut document);
        let mut contract = Self {
            document,
            operations: BTreeMap::new(),
        };
        for (path, item) in contract.object("/paths").clone() {
            let path: &'static str = path.leak();
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" || method.starts_with("x-") {
                    continue;
                }
                let responses = contract.responses(operation);
                let key = (path, method.clone());
                contract.operations.insert(key, responses);
            }
        }
        contract
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        if DOCUMENTS.contains(&path) {
            return;
        }
        let Some(item) = self.path_item(path) else {
            assert_eq!(answer.status, 404, "{method} {path}: {answer:#?}");
            return Self::check_problem(answer);
        };
        let Some(responses) = self
            .operations
            .get(&(item, method.to_lowercase()))
            .filter(|_| method == method.to_uppercase())
        else {
            assert!(
                [400, 405].contains(&answer.status.as_u16()),
                "{method} {path}: {answer:#?}"
            );
            return Self::check_problem(answer);
        };
        responses
            .get(answer.status.as_str())
            .unwrap_or_else(|| panic!("no such status of {method} {item}: {answer:#?}"))
            .check(answer, method == "HEAD");
    }

    /// The object at a JSON pointer.
    pub fn object(&self, pointer: &str) -> &Map<String, Value> {
        self.document
            .pointer(pointer)
            .and_then(Value::as_object)
            .unwrap()
    }

    /// The value, or what its `$ref` points to.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref") {
            Some(reference) => {
                let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
                self.document.pointer(pointer).unwrap()
            }
            None => value,
        }
    }

    /// The validator of a schema.
    pub fn schema(&self, schema: &Value) -> Validator {
        let schema = json!({ "allOf": [schema], "components": self.document["components"] });
        jsonschema::draft4::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap()
    }

    fn responses(&self, operation: &Value) -> BTreeMap<String, Response> {
        let responses = operation["responses"].as_object().unwrap();
        responses
            .iter()
            .map(|(status, response)| (status.clone(), self.response(response)))
            .collect()
    }

    fn response(&self, response: &Value) -> Response {
        let response = self.resolve(response);
        let entries = |name: &str| {
            response
                .get(name)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
        };
        let mut content = entries("content")
            .map(|(name, media_type)| (name.clone(), self.schema(&media_type["schema"])));
        let response = Response {
            headers: entries("headers")
                .map(|(name, header)| (name.to_lowercase(), self.header(header)))
                .collect(),
            content: content.next(),
        };
        assert!(
            content.next().is_none(),
            "the service has one media type for each answer"
        );
        response
    }

    fn header(&self, header: &Value) -> Header {
        let header = self.resolve(header);
        Header {
            is_required: header["required"] == true,
            schema: self.schema(&header["schema"]),
        }
    }

    /// The path in the document that `path`, of a request, is an instance of.
    fn path_item(&self, path: &str) -> Option<&'static str> {
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        let is_instance = |template: &str| {
            let template: Vec<_> = template.split('/').collect();
            template.len() == segments.len()
                && template.iter().zip(&segments).all(|(template, segment)| {
                    template == segment || (template.starts_with('{') && !segment.is_empty())
                })
        };
        self.operations
            .keys()
            .map(|(path, _)| *path)
            .find(|template| is_instance(template))
    }

    #[track_caller]
    fn check_problem(answer: &Answer) {
        if !answer.body.is_empty() {
            conforms(&problem_schema(), &answer.json(), answer);
        }
    }
}

impl Response {
    #[track_caller]
    fn check(&self, answer: &Answer, is_head: bool) {
        for (name, header) in &self.headers {
            match answer.headers.get(name) {
                Some(value) => {
                    let text = value.to_str().unwrap();
                    let number = text.parse::<i64>().map(Value::from);
                    let conforms = header.schema.is_valid(&json!(text))
                        || number.is_ok_and(|number| header.schema.is_valid(&number));
                    assert!(conforms, "{name} of {answer:#?}");
                }
                None => assert!(!header.is_required, "{name} is missing in {answer:#?}"),
            }
        }
        for name in answer.headers.keys().map(HeaderName::as_str) {
            let documented = self.headers.contains_key(name)
                || OF_EVERY_ANSWER.contains(&name)
                || name.starts_with("access-control-")
                || is_head;
            assert!(documented, "{name} is not in the document: {answer:#?}");
        }
        match &self.content {
            _ if is_head => assert_eq!(answer.body, "", "{answer:#?}"),
            None => assert_eq!(
                (answer.body.as_str(), answer.header("content-type")),
                ("", ""),
                "{answer:#?}"
            ),
            Some((media_type, schema)) => {
                assert_eq!(answer.header("content-type"), media_type, "{answer:#?}");
                conforms(schema, &answer.json(), answer);
            }
        }
    }
}

#[track_caller]
fn conforms(schema: &Validator, body: &Value, answer: &Answer) {
    let errors: Vec<String> = schema
        .iter_errors(body)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?} in {answer:#?}");
}

/// OpenAPI 3.0 says `nullable: true` where JSON Schema adds "null" to the types.
fn nullable_as_json_schema_says_it(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.remove("nullable") == Some(Value::Bool(true)) {
                let types = json!([object["type"], "null"]);
                object.insert("type".into(), types);
            }
            object
                .values_mut()
                .for_each(nullable_as_json_schema_says_it);
        }
        Value::Array(values) => values.iter_mut().for_each(nullable_as_json_schema_says_it),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
