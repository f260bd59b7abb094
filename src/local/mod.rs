//! The service on this machine: a gateway that sends the events API Gateway
//! would, and a DynamoDB; and what an operator runs here.

pub mod claim_emails;
pub mod dynamodb;
pub mod gateway;
pub mod http;
