//! The service on this machine: a gateway that sends the events API Gateway
//! would, and a DynamoDB.

pub mod dynamodb;
pub mod gateway;
