//! The service on this machine (feature `local`): a gateway that sends the events that API
//! Gateway would send, and a DynamoDB.

pub mod dynamodb;
pub mod gateway;
pub mod http;
