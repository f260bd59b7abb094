//! `user-service doctor`: checks a deployment, and changes nothing.

mod fault;
mod report;
mod sample;
mod stack;

use std::{path::PathBuf, process::ExitCode};

use aws_config::SdkConfig;
use clap::Args;

use self::{
    fault::{Code, Fault},
    report::Report,
    sample::{Readable, Sample},
};
use super::{
    Error, cloudformation, patiently, say,
    store::{self, Place, TableOptions},
};
use crate::{
    local::dynamodb::{AccessKeyId, EmbeddedDynamoDb},
    settings::{Endpoint, is_http_url, is_on_this_machine},
    store::{TableFault, TableRole, UserStore},
};

/// Checks a deployment: its tables, a sample of their items, the clock and the version
///
/// It changes nothing, and can run while the service runs. For each fault, it says what is wrong and
/// what to do. The tables are those of the stack of --stack. Without --stack, they are in the file of
/// --data, in the DynamoDB at AWS_ENDPOINT_URL_DYNAMODB, or with --aws in the DynamoDB of your AWS
/// configuration. The exit code is 0 if there are no faults, 1 if there are faults, and 2 if the
/// command could not check.
#[derive(Debug, Args)]
pub(super) struct DoctorOptions {
    /// Check the tables in this file of the local server
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// Check the tables in AWS, with the credentials and the region of your AWS configuration
    #[arg(long)]
    aws: bool,
    /// Check this stack: its status, its version, and the tables that it names
    #[arg(long, value_name = "NAME", conflicts_with_all = NAMED_BY_STACK)]
    stack: Option<String>,
    /// The number of users, of claims and of deleted users to check: 0 to 1,000,000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    sample: u32,
    /// Do not count this fault; can be given several times
    #[arg(long, value_name = "CODE", hide_possible_values = true)]
    ignore: Vec<Code>,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
}

/// The options that a stack replaces.
const NAMED_BY_STACK: [&str; 8] = [
    "table",
    "emails_table",
    "idempotency_table",
    "deleted_users_table",
    "history_table",
    "history",
    "history_days",
    "unique_emails",
];
/// The name of the command.
const COMMAND: &str = "doctor";
/// The exit code if there are faults.
const FAULTS: u8 = 1;
/// The exit code if the command could not check.
pub(super) const NOT_CHECKED: u8 = 2;
/// The difference between two clocks that is a fault. AWS refuses requests at five minutes, and the
/// ids of the history follow the clock.
const MAX_SECONDS_APART: u64 = 30;

/// What is checked.
struct Target {
    store: UserStore,
    /// The tables that are known.
    roles: Vec<TableRole>,
    /// Whether an option or the stack names the table of idempotency records. If not, it may have
    /// another name.
    are_keys_named: bool,
    /// Whether the tables have point-in-time recovery and deletion protection.
    is_protected: bool,
    /// Where the tables are, as an option of the other commands. Empty if the environment says so.
    place: String,
}

/// Runs the command, and reports what it found. `endpoint` is that of DynamoDB.
///
/// # Errors
/// Why the command could not check.
pub(super) async fn run(
    options: DoctorOptions,
    tables: &TableOptions,
    endpoint: Option<Endpoint>,
    of_cloudformation: Option<Endpoint>,
) -> Result<ExitCode, Error> {
    let mut report = Report::new();
    let target = match &options.stack {
        Some(name) => {
            if options.data.is_some() {
                return Err("--stack and --data are two places; give one of them".into());
            }
            of_stack(name, endpoint, of_cloudformation, &mut report).await?
        }
        None => {
            let place = store::place(COMMAND, options.data, options.aws, endpoint)?;
            of_tables(tables, place, &mut report).await?
        }
    };
    check(&target, options.sample, &mut report).await?;
    report.ignore(&options.ignore);
    if options.json {
        say(&serde_json::to_string_pretty(&report)?);
    } else {
        say(&report.to_string());
    }
    Ok(if report.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAULTS)
    })
}

/// The tables that the options name. Only a local DynamoDB is sure to have the default name of the
/// table of idempotency records: a stack gives it a name of its own.
async fn of_tables(
    tables: &TableOptions,
    place: Option<Place>,
    report: &mut Report,
) -> Result<Target, Error> {
    let (config, is_local, place) = match place {
        Some(Place::File(file)) => {
            store::check_file(&file)?;
            let embedded =
                EmbeddedDynamoDb::in_file_with_expired(&file, AccessKeyId::random()).await?;
            let config = embedded.sdk_config().await;
            (config, true, format!(" --data {}", file.display()))
        }
        Some(Place::Endpoint(endpoint)) => {
            let config = store::sdk_config(Some(&endpoint)).await?;
            (config, is_on_this_machine(&endpoint.url), String::new())
        }
        None => {
            let config = store::sdk_config(None).await?;
            let is_local = config.endpoint_url().is_some_and(is_on_this_machine);
            (config, is_local, " --aws".to_owned())
        }
    };
    let store = tables.store(&config);
    let are_keys_named = tables.names_idempotency_table();
    let mut roles = roles(&store);
    if !are_keys_named && !is_local {
        skip_keys(&mut roles, report, "--idempotency-table does not name it");
    }
    Ok(Target {
        roles,
        store,
        are_keys_named,
        is_protected: !is_local,
        place,
    })
}

/// The tables that the stack `name` names. Adds what is wrong with the stack itself.
async fn of_stack(
    name: &str,
    endpoint: Option<Endpoint>,
    of_cloudformation: Option<Endpoint>,
    report: &mut Report,
) -> Result<Target, Error> {
    let of_cloudformation = of_cloudformation.as_ref();
    if let Some(Endpoint { variable, url }) = of_cloudformation
        && !is_http_url(url)
    {
        return Err(format!("{variable}: {url:?} is not an HTTP URL").into());
    }
    let config: SdkConfig = store::sdk_config(of_cloudformation).await?;
    let stack = cloudformation::describe_stack(&config, name).await?;
    report.faults.extend(stack::faults(name, &stack));
    let config = store::sdk_config(endpoint.as_ref()).await?;
    let store = stack::store(name, &stack, &config)?;
    let mut roles = roles(&store);
    if !stack.outputs.contains_key(stack::KEYS_OUTPUT) {
        skip_keys(&mut roles, report, "the stack does not name it");
    }
    Ok(Target {
        store,
        roles,
        are_keys_named: true,
        is_protected: true,
        place: match endpoint {
            Some(_) => String::new(),
            None => " --aws".to_owned(),
        },
    })
}

/// Leaves out the table of idempotency records.
fn skip_keys(roles: &mut Vec<TableRole>, report: &mut Report, reason: &str) {
    roles.retain(|role| *role != TableRole::IdempotencyKeys);
    report.skip("the table of idempotency records", reason);
}

/// The roles that have a table.
fn roles(store: &UserStore) -> Vec<TableRole> {
    let roles = TableRole::ALL.into_iter();
    roles
        .filter(|role| store.table_name(*role).is_some())
        .collect()
}

/// Checks the clock, the tables and a sample.
async fn check(target: &Target, size: u32, report: &mut Report) -> Result<(), Error> {
    // Not patiently: a DynamoDB that is not reached now is what to report.
    let ahead = target.store.clock_difference().await?;
    let is_skewed = match ahead {
        Some(seconds) if seconds.unsigned_abs() > MAX_SECONDS_APART => {
            report.faults.push(skew(seconds));
            true
        }
        Some(_) => false,
        None => {
            report.skip("the clock", "DynamoDB's answer has no time");
            false
        }
    };
    match check_tables(target, size, report).await {
        // AWS refuses requests with a wrong time. The clock is then the fault to report.
        Err(error) if is_skewed => {
            report.skip("the tables", error.to_string());
            Ok(())
        }
        checked => checked,
    }
}

fn skew(seconds: i64) -> Fault {
    let by = seconds.unsigned_abs();
    let side = if seconds > 0 { "ahead of" } else { "behind" };
    let message = format!("The clock of this machine is {by} seconds {side} DynamoDB's.");
    let remedy = "Synchronise this machine's clock, such as with `timedatectl set-ntp true`.";
    Fault::new(Code::ClockSkew, message, remedy.to_owned())
}

async fn check_tables(target: &Target, size: u32, report: &mut Report) -> Result<(), Error> {
    let Target {
        store,
        roles,
        is_protected,
        ..
    } = target;
    let mut readable = Vec::new();
    for role in roles.iter().copied() {
        let Some(table) = store.table_name(role) else {
            continue;
        };
        let examined = patiently(|| store.examine(role, *is_protected)).await?;
        let may_be_missing = role == TableRole::IdempotencyKeys && !target.are_keys_named;
        if may_be_missing && examined.faults.contains(&TableFault::Missing) {
            let reason = "--idempotency-table does not name it";
            report.skip("the table of idempotency records", reason);
            continue;
        }
        report.checked.tables += 1;
        if examined.is_readable() {
            readable.push(role);
        }
        let faults = examined.faults.iter();
        report
            .faults
            .extend(faults.map(|fault| Fault::of_table(table, fault)));
        for operation in &examined.lacks {
            let reason = format!("this DynamoDB has no {operation}");
            report.skip(what_tells(operation), reason);
        }
    }
    if !is_protected {
        let reason = "the tables are on this machine";
        report.skip("point-in-time recovery and deletion protection", reason);
    }
    let readable = to_sample(target, &readable, report);
    let sample = sample::take(store, usize::try_from(size)?, readable).await?;
    report.checked.users = sample.users;
    report.checked.claims = sample.claims;
    report.checked.deleted_users = sample.deleted_users;
    report.checked.histories = sample.histories;
    report.faults.extend(faults_of(target, sample));
    Ok(())
}

/// What is not known without an operation.
fn what_tells(operation: &str) -> &'static str {
    match operation {
        "DescribeTimeToLive" => "Time to Live",
        "DescribeContinuousBackups" => "point-in-time recovery",
        _ => "reads of the tables",
    }
}

/// Which tables a sample can be taken from. Notes the others.
fn to_sample(target: &Target, readable: &[TableRole], report: &mut Report) -> Readable {
    let mut can_read = |role: TableRole, sample: &str| {
        let is_readable = readable.contains(&role);
        if !is_readable && target.roles.contains(&role) {
            report.skip(format!("a sample of {sample}"), "its table cannot be read");
        }
        is_readable
    };
    let mut to_sample = Readable {
        users: can_read(TableRole::Users, "the users"),
        claims: can_read(TableRole::Claims, "the claims"),
        deleted_users: can_read(TableRole::DeletedUsers, "the deleted users"),
        history: can_read(TableRole::History, "the history"),
    };
    if !target.store.keeps_history() {
        report.skip("a sample of the history", "the history is off");
        to_sample.history = false;
    }
    if !target.roles.contains(&TableRole::Claims) {
        report.skip(
            "the claims",
            "users can share addresses (UniqueEmails is off)",
        );
    }
    to_sample
}

/// What is wrong in a sample.
fn faults_of(target: &Target, sample: Sample) -> Vec<Fault> {
    let name = |role| target.store.table_name(role).unwrap_or_default();
    let (users, claims) = (name(TableRole::Users), name(TableRole::Claims));
    let (deleted, history) = (name(TableRole::DeletedUsers), name(TableRole::History));
    let place = &target.place;
    let claim_emails =
        format!("user-service --table {users} --emails-table {claims} claim-emails{place}");
    let give_up = format!("{claim_emails} --give-up-left-over");
    let claims_option = match target.store.table_name(TableRole::Claims) {
        Some(claims) => format!("--emails-table {claims}"),
        None => "--unique-emails off".to_owned(),
    };
    let reconcile = format!(
        "user-service --table {users} {claims_option} --deleted-users-table {deleted} \
         --history-table {history} reconcile{place}"
    );
    let unreadable = sample.claims_unreadable.max(sample.claim_unreadable.len());
    let faults = [
        Fault::of_items(
            Code::ClaimMissing,
            users,
            sample.claim_missing,
            ["Users without a claim on their email address", "Another user can take the address."],
            claim_emails.clone(),
        ),
        Fault::of_items(
            Code::ClaimOfAnother,
            users,
            sample.claim_of_another,
            [
                "Users whose email address another user has claimed",
                "A lookup by email finds the other user.",
            ],
            format!(
                "Give one user of each pair another address, or delete that user. This lists the \
                 pairs: {claim_emails}"
            ),
        ),
        Fault::of_items(
            Code::ClaimLeftOver,
            claims,
            sample.claim_left_over,
            ["Claims that are left over", "Their users do not exist or have another address."],
            give_up.clone(),
        ),
        Fault::of_items(
            Code::ClaimOfDeletedUser,
            claims,
            sample.claim_of_deleted_user,
            ["Deleted users that still have a claim", "Nobody else can take the address."],
            give_up,
        ),
        Fault::of_some(
            Code::ClaimUnreadable,
            claims,
            unreadable,
            sample.claim_unreadable,
            ["Claims that name no user", "Nobody can have their addresses."],
            format!(
                "Find what else writes the table, and delete these claims. This lists their \
                 addresses: aws dynamodb scan --table-name {claims} --projection-expression email \
                 --filter-expression 'NOT attribute_type(userId, :text) OR userId = :empty' \
                 --expression-attribute-values '{{\":text\": {{\"S\": \"S\"}}, \":empty\": {{\"S\": \"\"}}}}'. \
                 This deletes one: aws dynamodb delete-item --table-name {claims} --key \
                 '{{\"email\": {{\"S\": \"ADDRESS\"}}}}'. Then run: {claim_emails}"
            ),
        ),
        Fault::of_items(
            Code::UserBehindHistory,
            users,
            sample.user_behind_history,
            ["Users and deleted users that are behind their history", "Their versions repeat."],
            reconcile.clone(),
        ),
        Fault::of_items(
            Code::DeletedUserIsUser,
            deleted,
            sample.deleted_user_is_user,
            ["Deleted users that are users at the same time", ""],
            reconcile,
        ),
        Fault::of_items(
            Code::HistoryWriteMissing,
            history,
            sample.history_write_missing,
            ["Users whose last write is not in the history", ""],
            "Check that the tables belong together, and that nothing else writes or restored them. \
             If the history was off, or was kept for fewer days, use --ignore \
             history_write_missing: the next write of each user adds a record."
                .to_owned(),
        ),
        Fault::of_items(
            Code::HistoryVersionWrong,
            history,
            sample.history_version_wrong,
            ["Users whose version is not that of the record of their last write", ""],
            "Find out what else writes the attribute version. After the next write of a user, both \
             agree."
                .to_owned(),
        ),
        Fault::of_items(
            Code::DeletedUserUnreadable,
            deleted,
            sample.deleted_user_unreadable,
            [
                "Items that are not deleted users",
                "The service never shows them, and they may never expire.",
            ],
            format!(
                "Find out what else writes the table. If expiresAt is not a number, set it to one, in \
                 seconds since 1970: aws dynamodb update-item --table-name {deleted} --key \
                 '{{\"userId\": {{\"S\": \"USERID\"}}}}' --update-expression 'SET expiresAt = :time' \
                 --expression-attribute-values '{{\":time\": {{\"N\": \"SECONDS\"}}}}'. If the item has \
                 no user, delete it: aws dynamodb delete-item --table-name {deleted} --key \
                 '{{\"userId\": {{\"S\": \"USERID\"}}}}'"
            ),
        ),
        Fault::of_items(
            Code::DeletedUserExpired,
            deleted,
            sample.deleted_user_expired,
            ["Deleted users that expired more than 7 days ago", "They are still stored."],
            format!(
                "Check Time to Live: aws dynamodb describe-time-to-live --table-name {deleted}. It \
                 deletes expired items within a few days after it is turned on."
            ),
        ),
    ];
    faults.into_iter().flatten().collect()
}
