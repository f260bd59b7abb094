//! The one call of CloudFormation: what a stack consists of.
//!
//! It is signed and sent here. The SDK of CloudFormation has a hundred operations, and would take a
//! part of each first build.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{
    ProvideCredentials,
    endpoint::{DefaultResolver, Params, ResolveEndpoint},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use form_urlencoded::Serializer;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use roxmltree::{Document, Node};
use tokio::time::timeout;

use super::Error;
use crate::store::{TrustedRoots, hyper_client};

/// The version of CloudFormation's API
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>).
const VERSION: &str = "2010-05-15";
/// The time limit of the call.
const TIMEOUT: Duration = Duration::from_secs(10);
const FORM: &str = "application/x-www-form-urlencoded";

/// A stack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stack {
    /// Its status, such as `UPDATE_COMPLETE`.
    pub(super) status: String,
    /// The values of its parameters, by their names.
    pub(super) parameters: BTreeMap<String, String>,
    /// The values of its outputs, by their names.
    pub(super) outputs: BTreeMap<String, String>,
}

/// Describes the stack `name`. Uses the credentials, the region and the endpoint of `config`.
///
/// # Errors
/// Why CloudFormation did not describe it.
pub(super) async fn describe_stack(config: &SdkConfig, name: &str) -> Result<Stack, Error> {
    let call = timeout(TIMEOUT, call(config, name)).await;
    let (status, answer) =
        call.map_err(|_| "CloudFormation did not answer in 10 seconds".to_owned())??;
    let document = Document::parse(&answer);
    let document = document.map_err(|error| format!("CloudFormation's answer: {error}"))?;
    if status != StatusCode::OK {
        let text = |name| first(document.root(), name).and_then(|node| node.text());
        let (code, message) = (text("Code"), text("Message"));
        let (code, message) = (code.unwrap_or("no code"), message.unwrap_or_default());
        return Err(format!("CloudFormation answered {status} {code}: {message}").into());
    }
    read(&document).ok_or_else(|| "CloudFormation's answer has no stack".into())
}

/// Sends the call. Returns the status and the body of the answer.
async fn call(config: &SdkConfig, name: &str) -> Result<(StatusCode, String), Error> {
    let url = endpoint(config).await?;
    let body = Serializer::new(String::new())
        .append_pair("Action", "DescribeStacks")
        .append_pair("Version", VERSION)
        .append_pair("StackName", name)
        .finish();
    let mut request = Request::post(&url)
        .header(CONTENT_TYPE, FORM)
        .body(Full::new(Bytes::from(body.clone())))?;
    let credentials = config.credentials_provider().ok_or("no AWS credentials")?;
    let identity = credentials.provide_credentials().await?.into();
    let region = config.region().ok_or("no AWS region")?;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region.as_ref())
        .name("cloudformation")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let signable = SignableRequest::new(
        "POST",
        url.as_str(),
        [(CONTENT_TYPE.as_str(), FORM)].into_iter(),
        SignableBody::Bytes(body.as_bytes()),
    )?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    let client = hyper_client(TrustedRoots::System);
    let unreached = |error| format!("CloudFormation was not reached at {url}: {error}");
    let answer = client.request(request).await.map_err(unreached)?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

/// The URL of CloudFormation: the endpoint of `config`, or else that of its region.
async fn endpoint(config: &SdkConfig) -> Result<String, Error> {
    let url = match config.endpoint_url() {
        Some(url) => url.to_owned(),
        None => {
            // The SDK knows the domains of all regions. They are the same for both services.
            let region = config.region().map(ToString::to_string);
            let parameters = Params::builder().set_region(region).build()?;
            let endpoint = DefaultResolver::new().resolve_endpoint(&parameters).await?;
            endpoint.url().replacen("dynamodb", "cloudformation", 1)
        }
    };
    Ok(format!("{}/", url.trim_end_matches('/')))
}

/// The first stack of an answer.
fn read(document: &Document<'_>) -> Option<Stack> {
    let stack = first(first(document.root(), "Stacks")?, "member")?;
    Some(Stack {
        status: first(stack, "StackStatus")?.text()?.to_owned(),
        parameters: pairs(stack, "Parameters", ["ParameterKey", "ParameterValue"]),
        outputs: pairs(stack, "Outputs", ["OutputKey", "OutputValue"]),
    })
}

/// The members of the list `name`, each with its key and its value.
fn pairs(stack: Node<'_, '_>, name: &str, [key, value]: [&str; 2]) -> BTreeMap<String, String> {
    let lists = stack.children().filter(|node| is_named(*node, name));
    let members = lists.flat_map(|list| list.children());
    let text = |member, name| first(member, name).map(|node| node.text().unwrap_or_default());
    let pairs = members.filter_map(|member| Some((text(member, key)?, text(member, value)?)));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The first element of this name in `node`, whatever its namespace is.
fn first<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.descendants().find(|node| is_named(*node, name))
}

fn is_named(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
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
                "https://cloudformation.us-east-1.amazonaws.com/",
            ),
            (
                "cn-north-1",
                None,
                "https://cloudformation.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "us-iso-east-1",
                None,
                "https://cloudformation.us-iso-east-1.c2s.ic.gov/",
            ),
            (
                "us-east-1",
                Some("http://127.0.0.1:4566"),
                "http://127.0.0.1:4566/",
            ),
        ] {
            let mut config = SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(region));
            config.set_endpoint_url(configured.map(str::to_owned));
            assert_eq!(endpoint(&config.build()).await.unwrap(), expected);
        }
    }

    #[test]
    fn a_stack_is_read_from_an_answer_and_a_value_may_be_empty() {
        let answer = "\
            <DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
            <DescribeStacksResult><Stacks><member>\
            <StackName>users</StackName><StackStatus>UPDATE_COMPLETE</StackStatus>\
            <Outputs><member><Description>a &amp; b</Description><OutputKey>Version</OutputKey>\
            <OutputValue>1.2.3</OutputValue></member></Outputs>\
            <Parameters><member><ParameterKey>TableName</ParameterKey>\
            <ParameterValue>UserData</ParameterValue></member>\
            <member><ParameterKey>BasePath</ParameterKey><ParameterValue/></member></Parameters>\
            </member></Stacks></DescribeStacksResult></DescribeStacksResponse>";
        let stack = read(&Document::parse(answer).unwrap()).unwrap();
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let expected = Stack {
            status: "UPDATE_COMPLETE".to_owned(),
            parameters: pairs(&[("BasePath", ""), ("TableName", "UserData")]),
            outputs: pairs(&[("Version", "1.2.3")]),
        };
        assert_eq!(stack, expected);
    }
}
