//! The promises of the service, kept through its API: HTTP in, DynamoDB behind.

#![allow(missing_docs, clippy::unwrap_used)]

/// What the tests share: a service for each test, and what stands around it.
mod support;

/// Users, one file for each operation and each topic.
mod users {
    mod bans;
    mod create;
    mod delete;
    mod deletion;
    mod emails;
    mod entity_tags;
    mod get;
    mod history;
    mod idempotency;
    mod legacy_items;
    mod list;
    mod patch;
    mod put_back;
    mod replace;
    mod service_state;
    mod status;
    mod take_email;
    mod verified_emails;
    mod views;
}

/// Any request, whatever it asks for.
mod requests {
    mod access;
    mod bad_input;
    mod disabled_callers;
    mod methods;
    mod parameters;
    mod tokens;
}

/// Where the service runs: behind API Gateway, and on this machine.
mod hosts {
    mod canary;
    mod dependencies;
    mod events;
    mod issuers;
    mod lambda_binary;
    mod local_gateway;
    mod logs;
    mod metrics;
    mod priming;
}

/// DynamoDB: the calls, and what happens when they fail or other writers are quicker.
mod store {
    mod calls;
    mod contention;
    mod crashes;
    mod failures;
    mod history;
    mod linearizability;
}

/// `openapi.yaml` and the documents in Markdown say what the service does.
mod documents {
    mod architecture;
    mod contract;
    mod gateway;
    mod markdown;
    mod operating;
    mod operations;
    mod served;
}

/// The command line of `user-service`.
mod commands {
    mod claim_emails;
    mod claim_emails_options;
    mod data_file;
    mod doctor;
    mod doctor_options;
    mod dynamodb_elsewhere;
    mod events;
    mod forget_erased;
    mod reconcile;
    mod restore;
    mod serve;
    mod vacuum;
}
