//! Posts events, signed as Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use backon::{ExponentialBuilder, Retryable};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::{Request, body::Bytes, header::CONTENT_TYPE};
use serde_json::Value;
use sha2::Sha256;
use tokio::time::timeout;
use uuid::Uuid;

use crate::store::{HyperClient, TrustedRoots, hyper_client};

/// How long a consumer may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How often an event is posted again. The pauses grow from 100 ms to 5 s.
const REPEATS: usize = 8;
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The secret that signs: `whsec_` and 24 to 64 bytes in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

const PREFIX: &str = "whsec_";

impl Secret {
    /// A random secret of 32 bytes.
    pub fn random() -> Self {
        let halves = [Uuid::new_v4(), Uuid::new_v4()];
        Self(halves.iter().flat_map(|half| *half.as_bytes()).collect())
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// What to change, as a phrase.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = text.strip_prefix(PREFIX);
        let bytes = bytes.and_then(|bytes| BASE64_STANDARD.decode(bytes).ok());
        bytes
            .filter(|bytes| (24..=64).contains(&bytes.len()))
            .map(Self)
            .ok_or("must be whsec_ and 24 to 64 bytes in base64")
    }

    /// The signature of a message: the version of the scheme, and an HMAC-SHA256 in base64.
    fn sign(&self, id: &str, seconds: u64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key");
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        format!("v1,{signature}")
    }
}

/// As [`Secret::parse`] reads it.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64_STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A consumer that gets each event in a `POST`.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: String,
    secret: Secret,
    client: HyperClient<Full<Bytes>>,
}

impl Webhook {
    /// The consumer at `url`.
    pub fn new(url: String, secret: Secret) -> Self {
        Self {
            url,
            secret,
            client: hyper_client(TrustedRoots::System),
        }
    }

    /// Posts an event, and posts it again until the answer is a success, at most 8 times. A failure
    /// is logged.
    pub async fn post(&self, event: &Value) {
        let (shortest, longest) = PAUSES;
        let repeats = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .with_max_times(REPEATS);
        let id = event["id"].as_str().unwrap_or_default();
        if let Err(cause) = (|| self.attempt(id, event)).retry(repeats).await {
            tracing::warn!(event = id, cause, "an event was not delivered");
        }
    }

    async fn attempt(&self, id: &str, event: &Value) -> Result<(), String> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = seconds.unwrap_or_default().as_secs();
        let body = event.to_string();
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/cloudevents+json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.secret.sign(id, seconds, &body))
            .body(Full::from(body))
            .map_err(|error| error.to_string())?;
        match timeout(ANSWER_TIMEOUT, self.client.request(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("the answer was {}", answer.status())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(String::from("there was no answer in 15 s")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_signature_of_the_specification() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature = secret.sign(id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_read_as_it_is_shown() {
        let secret = Secret::random();
        assert_eq!(Secret::parse(&secret.to_string()), Ok(secret));
        for text in ["", "whsec_", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(Secret::parse(text).is_err(), "{text}");
        }
    }
}
