//! Signed calls of AWS services other than DynamoDB. Each of them is called in one place, with one
//! operation. An SDK for each would make the first build longer and the function larger.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{
    Credentials, ProvideCredentials, SharedCredentialsProvider,
    endpoint::{DefaultResolver, Params, ResolveEndpoint},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE, header::HOST};
use thiserror::Error;
use tokio::time::timeout;

use crate::store::{HyperClient, TrustedRoots, hyper_client};

/// The time limit of a call. A function behind API Gateway answers within 29 s.
const TIMEOUT: Duration = Duration::from_secs(35);

/// A client for one AWS service in one region.
#[derive(Clone)]
pub(crate) struct AwsClient {
    http: HyperClient<SdkBody>,
    credentials: SharedCredentialsProvider,
    region: String,
    service: &'static str,
    endpoint: String,
}

/// Why a call has no answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// There are no credentials, or they cannot sign.
    #[error("the call cannot be signed: {0}")]
    Unsigned(String),
    /// The service was not reached, or did not answer in time.
    #[error("{service} was not reached at {endpoint}: {cause}")]
    NotAnswered {
        /// The service.
        service: &'static str,
        /// Its URL.
        endpoint: String,
        /// Why.
        cause: String,
    },
}

impl AwsClient {
    /// A client for `service`, by the name that signatures and endpoints have for it. Uses the region,
    /// the credentials and the endpoint of `config`. Without an endpoint, it is that of the region.
    ///
    /// # Errors
    /// [`CallError::Unsigned`] if there is no region or no source of credentials.
    pub(crate) async fn new(service: &'static str, config: &SdkConfig) -> Result<Self, CallError> {
        let lacks = |what: &str| CallError::Unsigned(format!("there {what}"));
        let region = config.region().ok_or_else(|| lacks("is no AWS region"))?;
        let credentials = config.credentials_provider();
        let credentials = credentials.ok_or_else(|| lacks("are no AWS credentials"))?;
        let endpoint = endpoint(service, config).await?;
        let roots = match config.endpoint_url() {
            Some(_) => TrustedRoots::System,
            None => TrustedRoots::for_region(region.as_ref()),
        };
        Ok(Self {
            http: hyper_client(roots),
            credentials,
            region: region.to_string(),
            service,
            endpoint,
        })
    }

    /// Sends a signed `POST` to `path`, which is percent-encoded. `fields` are further header fields.
    ///
    /// # Errors
    /// [`CallError`]. An answer with any status is no error.
    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &'static str,
        fields: &[(&'static str, &'static str)],
        body: String,
    ) -> Result<Response<Vec<u8>>, CallError> {
        let credentials = self.credentials.provide_credentials().await;
        let credentials = credentials.map_err(|error| CallError::Unsigned(error.to_string()))?;
        let mut request = Request::new(SdkBody::from(body.clone()));
        *request.method_mut() = Method::POST;
        let uri = format!("{}{path}", self.endpoint);
        *request.uri_mut() = uri
            .parse()
            .map_err(|_| CallError::Unsigned(format!("{uri} is no URL")))?;
        let host = request.uri().authority().map(ToString::to_string);
        let headers = request.headers_mut();
        if let Some(Ok(host)) = host.as_deref().map(HeaderValue::from_str) {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in fields {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        self.sign(&mut request, &uri, &body, credentials)?;
        let answer = timeout(TIMEOUT, self.send(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(String::from("there was no answer in time")));
        answer.map_err(|cause| CallError::NotAnswered {
            service: self.service,
            endpoint: self.endpoint.clone(),
            cause,
        })
    }

    fn sign(
        &self,
        request: &mut Request<SdkBody>,
        uri: &str,
        body: &str,
        credentials: Credentials,
    ) -> Result<(), CallError> {
        let unsigned = |error: &dyn std::error::Error| CallError::Unsigned(error.to_string());
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let headers = request.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            uri,
            headers,
            SignableBody::Bytes(body.as_bytes()),
        );
        let signable = signable.map_err(|error| unsigned(&error))?;
        let signed = sign(signable, &parameters).map_err(|error| unsigned(&error))?;
        let (instructions, _) = signed.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }

    async fn send(&self, request: Request<SdkBody>) -> Result<Response<Vec<u8>>, String> {
        let answer = self.http.request(request).await;
        let (parts, body) = answer.map_err(|error| error.to_string())?.into_parts();
        let body = ByteStream::new(SdkBody::from_body_1_x(body))
            .collect()
            .await;
        let body = body.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(parts, body.to_vec()))
    }
}

/// The URL of `service`, without a slash at its end: the endpoint of `config`, or else that of its
/// region.
async fn endpoint(service: &str, config: &SdkConfig) -> Result<String, CallError> {
    let url = match config.endpoint_url() {
        Some(url) => url.to_owned(),
        None => {
            // The SDK knows the domains of all regions. They are the same for all services.
            let region = config.region().map(ToString::to_string);
            let parameters = Params::builder().set_region(region).build();
            let parameters = parameters.map_err(|error| CallError::Unsigned(error.to_string()))?;
            let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await;
            let endpoint = endpoint.map_err(|error| CallError::Unsigned(error.to_string()))?;
            endpoint.url().replacen("dynamodb", service, 1)
        }
    };
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};

    use super::*;

    #[tokio::test]
    async fn the_endpoint_is_the_configured_one_or_that_of_the_region() {
        for (region, configured, expected) in [
            (
                "us-east-1",
                None,
                "https://cloudformation.us-east-1.amazonaws.com",
            ),
            (
                "cn-north-1",
                None,
                "https://cloudformation.cn-north-1.amazonaws.com.cn",
            ),
            (
                "us-iso-east-1",
                None,
                "https://cloudformation.us-iso-east-1.c2s.ic.gov",
            ),
            (
                "us-east-1",
                Some("http://127.0.0.1:4566"),
                "http://127.0.0.1:4566",
            ),
        ] {
            let mut config = SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(region));
            config.set_endpoint_url(configured.map(str::to_owned));
            assert_eq!(
                endpoint("cloudformation", &config.build()).await.unwrap(),
                expected
            );
        }
    }
}
