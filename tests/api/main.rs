//! The promises of the service, kept through its API: HTTP in, DynamoDB behind.

#![allow(missing_docs, clippy::unwrap_used)]

mod access;
mod bad_input;
mod binaries;
mod claim_emails;
mod contention;
mod contract;
mod crashes;
mod create;
mod delete;
mod docs;
mod documents;
mod emails;
mod entity_tags;
mod events;
mod gateway;
mod get;
mod harness;
mod idempotency;
mod legacy_items;
mod linearizability;
mod list;
mod local_gateway;
mod logs;
mod methods;
mod patch;
mod put_back;
mod replace;
#[path = "../runtime_api/mod.rs"]
mod runtime_api;
mod store_failures;
mod store_faults;
mod store_proxy;
