//! A REST user service: one Lambda that creates, reads, lists, replaces, patches and
//! deletes the users of a DynamoDB table.
//!
//! # The way of a request
//!
//! ```text
//! API Gateway ───► event ──► Api::handle ──► Route, Caller ──► UserStore ──► DynamoDB
//! local gateway ──► (same)        │                                  │
//!                                 └──────────── response ◄── User or Error
//! ```
//!
//! One road: an event goes in at one door, is turned into typed values once,
//! does its work, and comes out through one place that knows HTTP.
//!
//! # Modules, in reading order
//!
//! - [`event`][]: the door, from API Gateway's event to a request and back.
//! - [`request`][]: a request as it came.
//! - [`router`][]: which operation it asks for.
//! - [`access`][]: who may do it.
//! - [`api`][]: the operations, a short function for each.
//! - [`precondition`][]: `If-Match` and `If-None-Match`.
//! - [`idempotency`][]: `Idempotency-Key`.
//! - [`page`][]: listing.
//! - [`user`][]: what a user is, what a client may write, and every rule about it.
//! - [`json`][]: between JSON and DynamoDB, with nothing lost.
//! - [`store`][]: every call of DynamoDB, and in `store/commit.rs` the one way to write users.
//! - [`endpoint`][]: where DynamoDB is, by the environment, and which hosts are this machine.
//! - [`error`][]: every way to fail.
//! - [`response`][]: the one place that makes answers.
//! - [`log`][]: where lines go, and what never gets into one.
//! - `docs` (feature `docs`): the contract and its page.
//! - `local` (feature `local`): this machine's gateway and embedded DynamoDB.
//!
//! # What always holds
//!
//! - Dependencies point one way: binaries → event → api → access → router and store →
//!   docs → response → page, idempotency and precondition → request and user → json →
//!   error. `endpoint` and `log` depend on no other module.
//!   `local` is known to `user-service` and the tests only.
//! - Only [`store`] calls DynamoDB. Only [`error`] and [`response`] name status
//!   codes, and `local` those of its gateway and its DynamoDB.
//! - [`api::Api::handle`] does not fail, and logs every failure once.
//! - The binaries hand in what they read from the environment, and the clock.
//! - An item that is stored can always be read, and what the service does not
//!   know in it is neither dropped nor rewritten.
//! - Every write of a user is one transaction, under the condition that the user is as it was
//!   read.

pub mod access;
pub mod api;
#[cfg(feature = "docs")]
pub mod docs;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod idempotency;
pub mod json;
#[cfg(feature = "local")]
pub mod local;
pub mod log;
pub mod page;
pub mod precondition;
pub mod request;
pub mod response;
pub mod router;
pub mod store;
pub mod user;
