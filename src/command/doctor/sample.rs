//! Looks at a sample of users, claims and deleted users.
//!
//! The service may be writing meanwhile. So what looks wrong in a page is only a suspect. After a
//! pause, each suspect is read again, at one moment.

use std::{collections::BTreeSet, time::Duration};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::sleep;

use super::super::{Error, patiently, progress::Progress};
use crate::{
    store::{
        Consistency, DeletedEntry, HistoryFault, Holder, Limit, Moment, Reconciled, UserStore,
        may_be_same,
    },
    user::{EmailKey, User, UserId},
};

/// The pause before suspects are read again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a user is read that changes meanwhile. A user that changes so often is in use, and
/// each of its writes makes it right.
const MAX_LOOKS: usize = 5;
/// The number of histories that are read at once.
const QUERIES_AT_ONCE: usize = 16;
/// After how many seconds an expired item should be deleted. DynamoDB says that it takes a few days.
const SECONDS_TO_DELETE: u64 = 7 * 24 * 60 * 60;

/// Which tables can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readable {
    pub(super) users: bool,
    pub(super) claims: bool,
    pub(super) deleted_users: bool,
    pub(super) history: bool,
}

impl Readable {
    /// Whether what `reconcile` compares can be read.
    fn can_reconcile(self) -> bool {
        self.users && self.deleted_users && self.history
    }
}

/// What was seen, and what is wrong: the `userId`s of the users, by the fault.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) users: usize,
    pub(super) claims: usize,
    pub(super) deleted_users: usize,
    pub(super) histories: usize,
    pub(super) claim_missing: Vec<String>,
    pub(super) claim_of_another: Vec<String>,
    pub(super) claim_left_over: Vec<String>,
    /// The number of claims that name no user.
    pub(super) claims_unreadable: usize,
    /// Users whose address has such a claim.
    pub(super) claim_unreadable: Vec<String>,
    pub(super) claim_of_deleted_user: Vec<String>,
    pub(super) history_write_missing: Vec<String>,
    pub(super) history_version_wrong: Vec<String>,
    pub(super) deleted_user_unreadable: Vec<String>,
    pub(super) deleted_user_expired: Vec<String>,
    pub(super) deleted_user_is_user: Vec<String>,
    pub(super) user_behind_history: Vec<String>,
}

/// A user, and an address.
type UserAndAddress = (String, String);

/// What looks wrong.
#[derive(Debug, Default)]
struct Suspects {
    /// Users that seem to have no claim on their address.
    without_claim: BTreeSet<UserAndAddress>,
    /// Holders of claims that seem to have no such address.
    holders: BTreeSet<UserAndAddress>,
    /// Users whose history seems to lack their last write.
    histories: BTreeSet<String>,
    /// Deleted users that cannot be read, or should be gone.
    deleted: BTreeSet<String>,
    /// Users and deleted users for whom `reconcile` seems to have work.
    unreconciled: BTreeSet<String>,
}

impl Suspects {
    fn len(&self) -> usize {
        self.without_claim.len()
            + self.holders.len()
            + self.histories.len()
            + self.deleted.len()
            + self.unreconciled.len()
    }
}

/// Looks at up to `size` users, claims and deleted users.
///
/// # Errors
/// A call to DynamoDB failed.
pub(super) async fn take(
    store: &UserStore,
    size: usize,
    readable: Readable,
) -> Result<Sample, Error> {
    let (mut sample, mut suspects) = (Sample::default(), Suspects::default());
    if readable.users {
        look_at_users(store, size, readable, &mut sample, &mut suspects).await?;
    }
    if readable.users && readable.claims {
        look_at_claims(store, size, &mut sample, &mut suspects).await?;
    }
    if readable.deleted_users {
        look_at_deleted_users(store, size, readable, &mut sample, &mut suspects).await?;
    }
    if suspects.len() > 0 {
        sleep(PAUSE).await;
        look_again(store, readable, suspects, &mut sample).await?;
    }
    Ok(sample)
}

/// The limit of the next page of a sample that still lacks `left` items. `None` if it lacks none.
fn next_limit(left: usize) -> Option<Limit> {
    let left = u16::try_from(left).unwrap_or(u16::MAX);
    (left > 0).then(|| Limit::new(left).unwrap_or(Limit::MAX))
}

async fn look_at_users(
    store: &UserStore,
    size: usize,
    readable: Readable,
    sample: &mut Sample,
    suspects: &mut Suspects,
) -> Result<(), Error> {
    let progress = Progress::start("users", u64::try_from(size).ok());
    let mut start = None;
    while let Some(limit) = next_limit(size - sample.users) {
        let page = patiently(|| store.list(limit, start.as_ref(), Consistency::Strong)).await?;
        sample.users += page.items.len();
        progress.advance(page.items.len());
        if readable.claims {
            let claimed = patiently(|| store.have_claims(&page.items)).await?;
            let users = page.items.iter().zip(claimed);
            let unclaimed = users.filter_map(|(user, claimed)| (!claimed).then_some(user));
            suspects
                .without_claim
                .extend(unclaimed.filter_map(with_address));
        }
        if readable.history {
            let faults = stream::iter(&page.items)
                .map(|user| patiently(move || store.history_fault(user)))
                .buffered(QUERIES_AT_ONCE)
                .try_collect::<Vec<_>>();
            for (user, fault) in page.items.iter().zip(faults.await?) {
                sample.histories += 1;
                let user_id = user.user_id().to_owned();
                match fault {
                    Some(HistoryFault::UserBehind) if readable.can_reconcile() => {
                        suspects.unreconciled.insert(user_id);
                    }
                    Some(HistoryFault::WriteMissing | HistoryFault::OtherVersion) => {
                        suspects.histories.insert(user_id);
                    }
                    Some(HistoryFault::UserBehind) | None => {}
                }
            }
        }
        start = page.next;
        if start.is_none() {
            break;
        }
    }
    Ok(())
}

async fn look_at_claims(
    store: &UserStore,
    size: usize,
    sample: &mut Sample,
    suspects: &mut Suspects,
) -> Result<(), Error> {
    let progress = Progress::start("claims", u64::try_from(size).ok());
    let mut start = None;
    while sample.claims < size {
        let (mut claims, unreadable, next) = patiently(|| store.claims(start.as_ref())).await?;
        let unreadable = unreadable.min(size - sample.claims);
        sample.claims_unreadable += unreadable;
        sample.claims += unreadable;
        claims.truncate(size - sample.claims);
        sample.claims += claims.len();
        progress.advance(unreadable + claims.len());
        let left_over = patiently(|| store.left_over(claims.clone())).await?;
        let holders = left_over.iter().filter_map(|claim| {
            let email = claim.email()?;
            Some((claim.user_id().to_owned(), email.as_str().to_owned()))
        });
        suspects.holders.extend(holders);
        start = next;
        if start.is_none() {
            break;
        }
    }
    Ok(())
}

async fn look_at_deleted_users(
    store: &UserStore,
    size: usize,
    readable: Readable,
    sample: &mut Sample,
    suspects: &mut Suspects,
) -> Result<(), Error> {
    let progress = Progress::start("deleted users", u64::try_from(size).ok());
    let mut start = None;
    while let Some(limit) = next_limit(size - sample.deleted_users) {
        let (entries, next) = patiently(|| store.deleted_entries(limit, start.as_ref())).await?;
        sample.deleted_users += entries.len();
        progress.advance(entries.len());
        let wrong = entries
            .iter()
            .filter(|entry| is_wrong(store, entry).is_some());
        suspects
            .deleted
            .extend(wrong.map(|entry| entry.user_id.clone()));
        if readable.can_reconcile() {
            look_at_histories_of_deleted_users(store, &entries, sample, suspects).await?;
        }
        if readable.users && readable.claims {
            let users = entries.into_iter().filter_map(|entry| entry.deleted);
            let users: Vec<User> = users.map(|deleted| deleted.user).collect();
            let claimed = patiently(|| store.have_claims(&users)).await?;
            let users = users.iter().zip(claimed);
            let holders = users.filter_map(|(user, claimed)| claimed.then_some(user));
            suspects.holders.extend(holders.filter_map(with_address));
        }
        start = next;
        if start.is_none() {
            break;
        }
    }
    Ok(())
}

/// Finds deleted users who are behind their history, and those who seem to be users too.
async fn look_at_histories_of_deleted_users(
    store: &UserStore,
    entries: &[DeletedEntry],
    sample: &mut Sample,
    suspects: &mut Suspects,
) -> Result<(), Error> {
    let deleted: Vec<_> = entries.iter().filter_map(|it| it.deleted.clone()).collect();
    let users = patiently(|| store.users_of(&deleted)).await?;
    let (mut alone, mut twice) = (Vec::new(), Vec::new());
    for deleted in &deleted {
        let user_id = deleted.user.user_id();
        match users.iter().find(|user| user.user_id() == user_id) {
            Some(user) if may_be_same(user, deleted) => twice.push(user_id.to_owned()),
            // The history goes on with a later user.
            Some(_) => {}
            None => alone.push(deleted),
        }
    }
    let behind = stream::iter(&alone)
        .map(|deleted| patiently(move || store.is_behind_history(deleted)))
        .buffered(QUERIES_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    sample.histories += behind.len();
    let behind = alone.iter().zip(behind).filter(|(_, is_behind)| *is_behind);
    let behind = behind.map(|(deleted, _)| deleted.user.user_id().to_owned());
    suspects
        .unreconciled
        .extend(twice.into_iter().chain(behind));
    Ok(())
}

/// A user with its address. `None` if it has none.
fn with_address(user: &User) -> Option<UserAndAddress> {
    let email = user.email_key()?;
    Some((user.user_id().to_owned(), email.as_str().to_owned()))
}

/// What is wrong with a deleted user.
enum Wrong {
    Unreadable,
    Expired,
}

fn is_wrong(store: &UserStore, entry: &DeletedEntry) -> Option<Wrong> {
    let Some(deleted) = &entry.deleted else {
        return Some(Wrong::Unreadable);
    };
    let should_be_gone = store.now() - Duration::from_secs(SECONDS_TO_DELETE);
    deleted
        .is_expired(should_be_gone.into())
        .then_some(Wrong::Expired)
}

/// Reads the suspects again, and notes what is still wrong with them.
async fn look_again(
    store: &UserStore,
    readable: Readable,
    suspects: Suspects,
    sample: &mut Sample,
) -> Result<(), Error> {
    let progress = Progress::start("suspects", u64::try_from(suspects.len()).ok());
    for (user_id, email) in suspects.without_claim {
        progress.advance(1);
        let Some(Moment { user, holder }) = moment(store, &user_id, &email).await? else {
            continue;
        };
        if !has_address(user.as_ref(), &email) {
            continue;
        }
        match holder {
            Holder::Nobody => sample.claim_missing.push(user_id),
            Holder::Unreadable => sample.claim_unreadable.push(user_id),
            Holder::User(holder) if holder.as_str() != user_id => {
                sample.claim_of_another.push(user_id);
            }
            Holder::User(_) => {}
        }
    }
    for (user_id, email) in suspects.holders {
        progress.advance(1);
        let Some(Moment { user, holder }) = moment(store, &user_id, &email).await? else {
            continue;
        };
        let holds = matches!(&holder, Holder::User(holder) if holder.as_str() == user_id);
        if !holds || has_address(user.as_ref(), &email) {
            continue;
        }
        let is_deleted = user.is_none()
            && readable.deleted_users
            && patiently(|| store.deleted_entry(&user_id)).await?.is_some();
        if is_deleted {
            sample.claim_of_deleted_user.push(user_id);
        } else {
            sample.claim_left_over.push(user_id);
        }
    }
    for user_id in suspects.histories {
        progress.advance(1);
        let key = UserId::stored(&user_id);
        let Some(user) = patiently(|| store.get(&key, Consistency::Strong)).await? else {
            continue;
        };
        match patiently(|| store.history_fault(&user)).await? {
            Some(HistoryFault::WriteMissing) => sample.history_write_missing.push(user_id),
            Some(HistoryFault::OtherVersion) => sample.history_version_wrong.push(user_id),
            // It was written since, and the next look finds it if it still is.
            Some(HistoryFault::UserBehind) | None => {}
        }
    }
    for user_id in suspects.deleted {
        progress.advance(1);
        let entry = patiently(|| store.deleted_entry(&user_id)).await?;
        match entry.and_then(|entry| is_wrong(store, &entry)) {
            Some(Wrong::Unreadable) => sample.deleted_user_unreadable.push(user_id),
            Some(Wrong::Expired) => sample.deleted_user_expired.push(user_id),
            None => {}
        }
    }
    for user_id in suspects.unreconciled {
        progress.advance(1);
        match unreconciled(store, &user_id).await? {
            // What was erased is there, and seems to be behind. The command says what to do.
            Some(Reconciled::CaughtUp | Reconciled::DeletedCaughtUp | Reconciled::Erased) => {
                sample.user_behind_history.push(user_id);
            }
            Some(Reconciled::Undeleted) => sample.deleted_user_is_user.push(user_id),
            Some(Reconciled::Agrees | Reconciled::Taken | Reconciled::Missing) | None => {}
        }
    }
    Ok(())
}

/// What `reconcile` finds for a user, at one moment. `None` if the user changes each time that it is
/// read.
async fn unreconciled(store: &UserStore, user_id: &str) -> Result<Option<Reconciled>, Error> {
    for _ in 0..MAX_LOOKS {
        let found = patiently(|| store.to_reconcile(user_id)).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The user and the holder of the claim on an address, at one moment. `None` if the user changes
/// each time that it is read.
async fn moment(store: &UserStore, user_id: &str, email: &str) -> Result<Option<Moment>, Error> {
    let Some(email) = EmailKey::stored(email) else {
        return Ok(None);
    };
    for _ in 0..MAX_LOOKS {
        let moment = patiently(|| store.moment(user_id, &email)).await?;
        if moment.is_some() {
            return Ok(moment);
        }
    }
    Ok(None)
}

fn has_address(user: Option<&User>, email: &str) -> bool {
    let address = user.and_then(User::email_key);
    address.is_some_and(|address| address.as_str() == email)
}
