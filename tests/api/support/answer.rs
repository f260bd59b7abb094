//! An answer of the service, and checks of it.

use std::{collections::HashMap, panic::Location};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What came back.
#[must_use]
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The answer that a proxy response stands for.
    pub fn from_proxy_response(response: &Value) -> Self {
        let headers: HashMap<String, String> =
            serde_json::from_value(response["headers"].clone()).unwrap();
        Self {
            status: u16::try_from(response["statusCode"].as_u64().unwrap())
                .unwrap()
                .try_into()
                .unwrap(),
            headers: HeaderMap::try_from(&headers).unwrap(),
            body: response["body"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Checks the status code, and what every answer must have.
    #[track_caller]
    pub fn has_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:#?}");
        assert_eq!(
            self.header("x-content-type-options"),
            "nosniff",
            "{self:#?}"
        );
        if !self.body.is_empty() {
            let error = status >= 400;
            let media_type = if error {
                "application/problem+json"
            } else {
                "application/json"
            };
            assert_eq!(self.header("content-type"), media_type, "{self:#?}");
        }
        self
    }

    /// Checks that it is a complete problem document with this code.
    #[track_caller]
    pub fn has_problem(self, status: u16, code: &str) -> Self {
        let answer = self.has_status(status);
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{answer:#?}");
        assert_eq!(problem["status"], status, "{answer:#?}");
        assert_eq!(problem["message"], problem["detail"], "{answer:#?}");
        for member in ["title", "detail", "requestId"] {
            let text = problem[member].as_str();
            assert!(
                text.is_some_and(|text| !text.is_empty()),
                "{member} of {answer:#?}"
            );
        }
        answer
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.body) {
            Ok(json) => json,
            Err(error) => panic!("{error} at {}: {self:#?}", Location::caller()),
        }
    }

    /// The fields in the `errors` of a problem, each with its message.
    #[track_caller]
    pub fn field_errors(&self) -> Vec<(String, String)> {
        let errors = self.json()["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        errors
            .iter()
            .map(|error| (text(&error["field"]), text(&error["message"])))
            .collect()
    }

    /// Checks that the entity-tag belongs to the body, if the answer has both: a quoted
    /// SHA-256, cut to 128 bits.
    #[track_caller]
    pub(super) fn check_entity_tag(&self) {
        let entity_tag = self.header("etag");
        if !entity_tag.is_empty() && !self.body.is_empty() {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&self.body)[..16]);
            assert_eq!(entity_tag, format!("\"{hash}\""), "{self:#?}");
        }
    }

    /// The value of a header field. It is empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}
