//! What the stack of `--stack` says about a deployment.

use std::{collections::BTreeMap, time::SystemTime};

use aws_config::SdkConfig;

use super::{
    super::{Error, cloudformation::Stack},
    fault::{Code, Fault},
};
use crate::{
    settings::MAX_DAYS,
    store::{Retention, Tables, UserStore},
};

/// The statuses of a stack that is as its template says.
const RIGHT: [&str; 3] = ["CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"];
/// The output with the name of the table of idempotency records.
pub(super) const KEYS_OUTPUT: &str = "IdempotencyTableName";

/// The store of a stack, in the DynamoDB of `config`. If the stack does not name its table of
/// idempotency records, the store has none.
///
/// # Errors
/// It is another stack.
pub(super) fn store(name: &str, stack: &Stack, config: &SdkConfig) -> Result<UserStore, Error> {
    let Stack {
        parameters,
        outputs,
        ..
    } = stack;
    let table = |name: &str| outputs.get(name).or_else(|| parameters.get(name)).cloned();
    let switch = |name: &str| parameters.get(name).is_none_or(|value| value != "off");
    let tables = || {
        let emails = switch("UniqueEmails").then(|| table("EmailsTableName"));
        Some(Tables {
            users: table("TableName")?,
            emails: match emails {
                Some(emails) => Some(emails?),
                None => None,
            },
            idempotency_keys: outputs.get(KEYS_OUTPUT).cloned().unwrap_or_default(),
            deleted_users: table("DeletedUsersTableName")?,
            history: table("HistoryTableName")?,
        })
    };
    let tables = tables().ok_or_else(|| {
        format!("the stack {name} does not name its tables; is it a stack of this service?")
    })?;
    let default = Retention::default();
    let retention = Retention {
        deleted_users_days: days(parameters, "DeletedUsersDays")
            .unwrap_or(default.deleted_users_days),
        history_days: match switch("History") {
            true => days(parameters, "HistoryDays").or(default.history_days),
            false => None,
        },
    };
    Ok(UserStore::new(config, tables, retention, SystemTime::now))
}

fn days(parameters: &BTreeMap<String, String>, name: &str) -> Option<u16> {
    let days = parameters.get(name)?.parse().ok()?;
    (days <= MAX_DAYS).then_some(days)
}

/// What is wrong with the stack `name` itself.
pub(super) fn faults(name: &str, stack: &Stack) -> Vec<Fault> {
    let status = &stack.status;
    let status = (!RIGHT.contains(&status.as_str())).then(|| {
        let (message, remedy) = if status.ends_with("_IN_PROGRESS") {
            (
                format!("The stack {name} is being changed: its status is {status}."),
                "Wait until the change has ended, and run doctor again.".to_owned(),
            )
        } else {
            (
                format!("The stack {name} is not as its template says: its status is {status}."),
                format!(
                    "aws cloudformation describe-stack-events --stack-name {name} shows the \
                     reason. Fix it, and deploy again."
                ),
            )
        };
        Fault::new(Code::StackStatus, message, remedy)
    });
    let own = env!("CARGO_PKG_VERSION");
    let version = match stack.outputs.get("Version") {
        Some(version) if version == own => None,
        Some(version) => Some(format!("version {version}")),
        // A stack whose creation failed has no outputs.
        None if status.is_some() => None,
        None => Some("a version that it does not name".to_owned()),
    };
    let version = version.map(|deployed| {
        Fault::new(
            Code::VersionDiffers,
            format!("The stack {name} has {deployed}, and this program is version {own}."),
            format!(
                "Deploy version {own} with `sam build && sam deploy`, or use the user-service of \
                 the deployed version."
            ),
        )
    });
    status.into_iter().chain(version).collect()
}
