//! The faults that `doctor` finds, each with its sentence and its remedy.

use clap::ValueEnum;
use serde::Serialize;

use crate::store::TableFault;

/// How many `userId`s of a fault are shown.
const MAX_SHOWN: usize = 5;

/// The name of a kind of fault, for scripts. A name never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(super) enum Code {
    AccessDenied,
    ClaimLeftOver,
    ClaimMissing,
    ClaimOfAnother,
    ClaimOfDeletedUser,
    ClaimUnreadable,
    ClockSkew,
    DeletedUserExpired,
    DeletedUserIsUser,
    DeletedUserUnreadable,
    HistoryVersionWrong,
    HistoryWriteMissing,
    KeyWrong,
    ProtectionOff,
    RecoveryOff,
    StackStatus,
    TableMissing,
    TableNotActive,
    TtlAttributeWrong,
    TtlOff,
    TtlUnwanted,
    UserBehindHistory,
    VersionDiffers,
}

impl Code {
    /// The name, such as `ttl_off`.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// The table that it is about. `None` if it is about no single table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) table: Option<String>,
    /// A sentence that says what is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) remedy: String,
    /// How many items of the sample have this fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<usize>,
    /// Some of the users, for the report in text.
    #[serde(skip)]
    pub(super) users: Vec<String>,
}

impl Fault {
    /// A fault of the whole deployment.
    pub(super) fn new(code: Code, message: String, remedy: String) -> Self {
        Self {
            code,
            table: None,
            message,
            remedy,
            count: None,
            users: Vec::new(),
        }
    }

    /// A fault of a table.
    pub(super) fn of_table(table: &str, fault: &TableFault) -> Self {
        let (code, message, remedy) = described(table, fault);
        Self {
            table: Some(table.to_owned()),
            ..Self::new(code, message, remedy)
        }
    }

    /// A fault of items of `table`: of these `users`. `None` if there are none. The first of the
    /// `sentences` says which items these are, and the second what follows from it, if that is not plain.
    pub(super) fn of_items(
        code: Code,
        table: &str,
        users: Vec<String>,
        sentences: [&str; 2],
        remedy: String,
    ) -> Option<Self> {
        Self::of_some(code, table, users.len(), users, sentences, remedy)
    }

    /// A fault of `count` items of `table`, of which some are about these `users`. See
    /// [`Fault::of_items`].
    pub(super) fn of_some(
        code: Code,
        table: &str,
        count: usize,
        users: Vec<String>,
        [what, so]: [&str; 2],
        remedy: String,
    ) -> Option<Self> {
        (count > 0).then(|| Self {
            table: Some(table.to_owned()),
            count: Some(count),
            users: users.into_iter().take(MAX_SHOWN).collect(),
            ..Self::new(
                code,
                format!("{what}: {count} in the sample. {so}")
                    .trim_end()
                    .to_owned(),
                remedy,
            )
        })
    }
}

/// The code, the sentence and the remedy of a fault of a table.
fn described(table: &str, fault: &TableFault) -> (Code, String, String) {
    let time_to_live = |is_enabled: bool, attribute: &str| {
        format!(
            "aws dynamodb update-time-to-live --table-name {table} --time-to-live-specification \
             Enabled={is_enabled},AttributeName={attribute}"
        )
    };
    match fault {
        TableFault::Missing => (
            Code::TableMissing,
            "The table does not exist.".to_owned(),
            "Check the name of the table, and the region. If the table is lost, restore it with \
             point-in-time recovery or from a backup."
                .to_owned(),
        ),
        TableFault::NotActive(status) => (
            Code::TableNotActive,
            format!("The status of the table is {status}, so it cannot be used."),
            format!("aws dynamodb describe-table --table-name {table} shows the reason."),
        ),
        TableFault::Key { found, wanted } => (
            Code::KeyWrong,
            format!("The key of the table is {found}, and the service uses {wanted}."),
            "Check the name of the table. The key of a table cannot be changed: create a table with the \
             right key, and copy the items."
                .to_owned(),
        ),
        TableFault::TimeToLiveOff => (
            Code::TtlOff,
            "Time to Live is off, so expired items stay.".to_owned(),
            time_to_live(true, "expiresAt"),
        ),
        TableFault::TimeToLiveAttribute(attribute) => (
            Code::TtlAttributeWrong,
            format!("Time to Live uses the attribute {attribute}, so expired items stay."),
            format!(
                "{}, and then, after up to an hour: {}",
                time_to_live(false, attribute),
                time_to_live(true, "expiresAt")
            ),
        ),
        TableFault::TimeToLiveUnwanted(attribute) => (
            Code::TtlUnwanted,
            format!(
                "Time to Live is on, with the attribute {attribute}. DynamoDB deletes items that \
                 have this attribute, and the service does not notice."
            ),
            time_to_live(false, attribute),
        ),
        TableFault::RecoveryOff => (
            Code::RecoveryOff,
            "Point-in-time recovery is off, so a lost table cannot be restored.".to_owned(),
            format!(
                "aws dynamodb update-continuous-backups --table-name {table} \
                 --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
            ),
        ),
        TableFault::ProtectionOff => (
            Code::ProtectionOff,
            "Deletion protection is off, so one call can delete the table.".to_owned(),
            format!("aws dynamodb update-table --table-name {table} --deletion-protection-enabled"),
        ),
        TableFault::Denied(operation) => (
            Code::AccessDenied,
            format!("These credentials do not allow dynamodb:{operation}."),
            format!("Allow dynamodb:{operation} on the table {table}."),
        ),
    }
}
