//! The service as a Lambda function behind API Gateway: an event comes in, a proxy response goes
//! out. Only this module names `lambda_http`.

pub mod canary;
mod event;
mod mount;
mod token;

use std::time::{Duration, Instant, SystemTime};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use lambda_http::{
    Body, Context, LambdaEvent, aws_lambda_events::apigw::ApiGatewayProxyResponse, lambda_runtime,
    lambda_runtime::Diagnostic, service_fn,
};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use uuid::Uuid;

use self::{event::Event, mount::Mounted};
use crate::{
    http::{Api, Response, base_path::BasePath, request::Request},
    service::{ClaimNames, UserService},
    settings::Settings,
    store::{self, UserStore},
};

/// Answers the events of Lambda until Lambda ends the process.
///
/// # Errors
/// The errors of the Lambda runtime.
pub async fn run(settings: Settings) -> Result<(), lambda_http::Error> {
    let config = sdk_config(&settings);
    let store = UserStore::new(
        &config,
        settings.tables,
        settings.retention,
        SystemTime::now,
    );
    let priming = match settings.priming {
        true => prime(&store).await,
        false => None,
    };
    let users = UserService::new(store);
    let api = Api::new(users, settings.auth_mode, settings.allowed_origins).primed(priming);
    let function = Function::new(api, settings.base_path).with_claims(settings.claims);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        function.answer(&event.payload, &event.context).await
    }))
    .await
}

/// Opens the connection to DynamoDB during init. Lambda gives an init more processor time than a
/// request. If DynamoDB cannot be reached, the function starts all the same. Returns how long it
/// took, or `None` if it failed.
async fn prime(store: &UserStore) -> Option<Duration> {
    let started = Instant::now();
    let primed = store.prime().await;
    let elapsed = started.elapsed();
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    match primed {
        Ok(()) => {
            tracing::info!(ms, "primed");
            Some(elapsed)
        }
        Err(error) => {
            tracing::warn!(ms, cause = %error, "not primed");
            None
        }
    }
}

/// The configuration of the AWS SDK. Lambda sets the region and the credentials in the environment,
/// so only the environment is read. The default chain of providers takes longer at a cold start.
fn sdk_config(settings: &Settings) -> SdkConfig {
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(store::http_client(settings.trusted_roots))
        .region(Region::new(settings.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    let endpoint = settings.endpoint.as_ref();
    config.set_endpoint_url(endpoint.map(|endpoint| endpoint.url.clone()));
    config.build()
}

/// The function that Lambda runs.
#[derive(Clone, Debug)]
pub struct Function {
    api: Api,
    base_path: BasePath,
    claims: ClaimNames,
}

/// The event is not a request from API Gateway. It can be a test event of the console, or a
/// schedule.
#[derive(Debug, thiserror::Error)]
#[error("the event is not an HTTP request of API Gateway: it has no method")]
pub struct NotHttp;

/// The outcome of the invocation, as the Lambda runtime reports it.
impl From<NotHttp> for Diagnostic {
    fn from(error: NotHttp) -> Self {
        Self {
            error_type: String::from("NotHttp"),
            error_message: error.to_string(),
        }
    }
}

impl Function {
    /// The function that answers with `api`, behind a custom domain with this base path.
    pub fn new(api: Api, base_path: BasePath) -> Self {
        Self {
            api,
            base_path,
            claims: ClaimNames::default(),
        }
    }

    /// The same function, which reads the claims of tokens in this way.
    pub fn with_claims(self, claims: ClaimNames) -> Self {
        Self { claims, ..self }
    }

    /// The proxy response to an event, as a gateway gets it. As in Lambda, each invocation has an id of
    /// its own.
    ///
    /// # Errors
    /// [`NotHttp`].
    pub async fn invoke(&self, event: Value) -> Result<Value, NotHttp> {
        let event = to_raw_value(&event).unwrap_or_default();
        let mut context = Context::default();
        context.request_id = Uuid::new_v4().to_string();
        let response = self.answer(&event, &context).await?;
        Ok(serde_json::to_value(response).unwrap_or_default())
    }

    async fn answer(
        &self,
        event: &RawValue,
        context: &Context,
    ) -> Result<ApiGatewayProxyResponse, NotHttp> {
        let request = self.request(Event::read(event), context);
        let request =
            request.inspect_err(|error| tracing::warn!(cause = %error, "not answered"))?;
        Ok(proxy_response(self.api.handle(request).await))
    }

    fn request(&self, event: Event<'_>, context: &Context) -> Result<Request, NotHttp> {
        let path = event.path();
        let Mounted { mount, path } = event.place(&path).find(&self.base_path);
        let headers = event.headers();
        let credentials = event.credentials(&self.claims, &headers);
        let deadline = Duration::from_millis(context.deadline);
        Ok(Request {
            id: event.request_id().unwrap_or(&context.request_id).to_owned(),
            method: event.method().ok_or(NotHttp)?.to_owned(),
            path,
            mount,
            query: event.query(),
            headers,
            credentials,
            deadline: (!deadline.is_zero()).then(|| SystemTime::UNIX_EPOCH + deadline),
            body: event.into_body(),
        })
    }
}

/// A proxy response that REST and HTTP APIs both read. It has one value for each header field,
/// because no answer repeats a field.
fn proxy_response(response: Response) -> ApiGatewayProxyResponse {
    let (parts, body) = response.into_parts();
    let mut proxy_response = ApiGatewayProxyResponse::default();
    proxy_response.status_code = i64::from(parts.status.as_u16());
    proxy_response.headers = parts.headers;
    proxy_response.body = (!body.is_empty()).then_some(Body::Text(body));
    proxy_response
}
