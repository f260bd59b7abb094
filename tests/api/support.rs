//! What the tests share.
//!
//! A test starts a [`Service`], by itself or with a [`Setup`]. It sends requests and checks each
//! [`Answer`]. It changes tables as other clients do (`tables.rs`), and disturbs DynamoDB with the
//! [`StoreProxy`](store_proxy::StoreProxy).

mod answer;
pub mod contract;
pub mod events;
pub mod function;
mod history;
mod logs;
pub mod program;
mod random_writes;
pub mod runtime_api;
mod sandboxes;
mod service;
mod setup;
mod store_faults;
pub mod store_proxy;
mod tables;
pub mod tls;
mod users;

pub use self::{
    answer::Answer,
    history::{history, history_is_exact, history_types},
    logs::log_file,
    random_writes::{random_write, send_write},
    service::Service,
    setup::{Setup, Through},
    store_faults::{RandomFaults, Rates},
    tables::Copied,
    users::{
        CANARY, DIGITS_38, ada, all_users, claims_are_those_of_the_users, if_match,
        item_of_everything, legacy_user, some_email, some_id, take_state,
    },
};
