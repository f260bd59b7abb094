//! A REST service that stores users: one Lambda function over DynamoDB, and the same service on
//! one machine.
//!
//! # Layers
//!
//! Each module uses the modules before it in this list, and none of the modules after it:
//!
//! 1. [`user`][]: what a user is. Fields, rules and changes; no I/O.
//! 2. [`store`][]: DynamoDB. Reads, pages, and the one way to write: read, decide, commit.
//! 3. [`service`][]: the operations on users, and who may do each of them.
//! 4. [`http`][]: the JSON API. Routes, bodies, conditions, and errors as problem documents.
//! 5. [`lambda`][]: the host for API Gateway's events.
//!    `local` (feature `local`): the host for HTTP on this machine, with an embedded DynamoDB.
//! 6. `command` (feature `local`): the command line.
//!
//! [`settings`][] reads the configuration for both binaries, and [`log`][] says what is logged. `aws`
//! signs calls to AWS services other than DynamoDB.
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | a field and its rule | `user/fields.rs` |
//! | an operation, its path and who may do it | `http/operations.rs` |
//! | what a request does | `http/users.rs`, then `service.rs` |
//! | what a write stores | `store/commit.rs` |
//! | deletion, restoration, erasure, history | `service/life.rs`, then `store/deleted.rs` and `store/history.rs` |
//! | what an error tells the client | `http/error.rs` |
//! | who calls, and with which claims | `lambda/event.rs` and `lambda/token.rs`, then `service/claims.rs` and `service/access.rs` |
//! | what is logged and measured of a request | `http/log_line.rs`, `log/metrics.rs` |
//! | how a deployment checks a new version | `lambda/canary.rs` |
//! | which failures of DynamoDB are temporary | `store/call.rs` |
//! | a variable of the environment | `settings.rs` |
//!
//! # Invariants
//!
//! - Every write of a user is one transaction. Its condition is that the user has not changed since
//!   the service read it.
//! - The service can read every stored item. A change of a user does not change the attributes that
//!   the service does not know.
//! - [`http::Api::handle`] never returns an error. Each failure becomes an answer, and is logged
//!   once.
//! - Only [`store`] calls DynamoDB. Only [`lambda`] names `lambda_http`.
//! - Only [`http`] names status codes and writes sentences for clients. (The local gateway and the
//!   embedded DynamoDB write their own answers.)
//! - The binaries pass in the environment. The hosts pass in the clock.
//! - No log line holds a name, an email address, a phone number, a `userId` or a body. Only the canary
//!   names its own user.
//!
//! `ARCHITECTURE.md` explains the layers, the write protocol and the data model, and how to add a
//! field, an operation and an error.

mod aws;
#[cfg(feature = "local")]
pub mod command;
pub mod http;
pub mod lambda;
#[cfg(feature = "local")]
pub mod local;
pub mod log;
pub mod service;
pub mod settings;
pub mod store;
pub mod user;
