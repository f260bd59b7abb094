//! The one call of CloudFormation: what a stack consists of.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use form_urlencoded::Serializer;
use http::StatusCode;
use roxmltree::{Document, Node};

use super::Error;
use crate::aws::AwsClient;

/// The version of CloudFormation's API
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>).
const VERSION: &str = "2010-05-15";
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
    let input = Serializer::new(String::new())
        .append_pair("Action", "DescribeStacks")
        .append_pair("Version", VERSION)
        .append_pair("StackName", name)
        .finish();
    let client = AwsClient::new("cloudformation", config).await?;
    let answer = client.post("/", FORM, &[], input).await?;
    let status = answer.status();
    let answer = String::from_utf8(answer.into_body())?;
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
    use super::*;

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
