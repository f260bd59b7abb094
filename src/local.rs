//! The service on this machine (feature `local`): a gateway that sends the events that API
//! Gateway would send, a DynamoDB, and the events that the stack would push.

pub mod dynamodb;
pub mod events;
pub mod gateway;
pub mod http;
