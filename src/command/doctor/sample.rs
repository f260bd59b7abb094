//! Looks at a sample of users, claims and deleted users.
//!
//! The service may be writing meanwhile. So what looks wrong in a page is only a suspect. After a
//! pause, each suspect is read again, at one moment.

use std::{collections::BTreeSet, time::Duration};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::sleep;

use super::super::{Error, patiently};
use crate::{
    store::{Consistency, DeletedEntry, HistoryFault, Limit, Moment, UserStore},
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
    pub(super) claim_of_deleted_user: Vec<String>,
    pub(super) history_write_missing: Vec<String>,
    pub(super) history_version_wrong: Vec<String>,
    pub(super) deleted_user_unreadable: Vec<String>,
    pub(super) deleted_user_expired: Vec<String>,
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
}

impl Suspects {
    fn is_empty(&self) -> bool {
        self.without_claim.is_empty()
            && self.holders.is_empty()
            && self.histories.is_empty()
            && self.deleted.is_empty()
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
    if !suspects.is_empty() {
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
    let mut start = None;
    while let Some(limit) = next_limit(size - sample.users) {
        let page = patiently(|| store.list(limit, start.as_ref(), Consistency::Strong)).await?;
        sample.users += page.items.len();
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
                if fault.is_some() {
                    suspects.histories.insert(user.user_id().to_owned());
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
    let mut start = None;
    while sample.claims < size {
        let (mut claims, next) = patiently(|| store.claims(start.as_ref())).await?;
        claims.truncate(size - sample.claims);
        sample.claims += claims.len();
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
    let mut start = None;
    while let Some(limit) = next_limit(size - sample.deleted_users) {
        let (entries, next) = patiently(|| store.deleted_entries(limit, start.as_ref())).await?;
        sample.deleted_users += entries.len();
        let wrong = entries
            .iter()
            .filter(|entry| is_wrong(store, entry).is_some());
        suspects
            .deleted
            .extend(wrong.map(|entry| entry.user_id.clone()));
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
    for (user_id, email) in suspects.without_claim {
        let Some(Moment { user, holder }) = moment(store, &user_id, &email).await? else {
            continue;
        };
        if !has_address(user.as_ref(), &email) {
            continue;
        }
        match holder {
            None => sample.claim_missing.push(user_id),
            Some(holder) if holder.as_str() != user_id => sample.claim_of_another.push(user_id),
            Some(_) => {}
        }
    }
    for (user_id, email) in suspects.holders {
        let Some(Moment { user, holder }) = moment(store, &user_id, &email).await? else {
            continue;
        };
        let holds = holder.is_some_and(|holder| holder.as_str() == user_id);
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
        let key = UserId::stored(&user_id);
        let Some(user) = patiently(|| store.get(&key, Consistency::Strong)).await? else {
            continue;
        };
        match patiently(|| store.history_fault(&user)).await? {
            Some(HistoryFault::WriteMissing) => sample.history_write_missing.push(user_id),
            Some(HistoryFault::OtherVersion) => sample.history_version_wrong.push(user_id),
            None => {}
        }
    }
    for user_id in suspects.deleted {
        let entry = patiently(|| store.deleted_entry(&user_id)).await?;
        match entry.and_then(|entry| is_wrong(store, &entry)) {
            Some(Wrong::Unreadable) => sample.deleted_user_unreadable.push(user_id),
            Some(Wrong::Expired) => sample.deleted_user_expired.push(user_id),
            None => {}
        }
    }
    Ok(())
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
