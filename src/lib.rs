//! stub
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
