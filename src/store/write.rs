//! The loop of every write: read, decide, commit.

use super::{
    Author, Consistency, Error, Found, Stored, UserStore, WriteError,
    action::Compared,
    commit::{RecordedClaim, Refusal, Write},
    idempotency::IdempotencyRecord,
    pauses::Pauses,
};
use crate::user::{Timestamp, User, UserId, WriteId};

/// What a write makes of what was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Stores this user, in place of the user that was read. If a deleted user was read, and no user,
    /// the deleted user is restored.
    Store(Box<User>),
    /// Deletes the user. It goes to the deleted users, see [`Retention`](super::Retention).
    Delete,
    /// Erases the user that was read, and the deleted user that was read.
    Erase,
}

/// Makes a user without its email address, which goes to another user. `None` if it keeps the
/// address.
pub type Lose<'a> = &'a (dyn Fn(&User, Timestamp) -> Option<User> + Sync);

/// What a write reads and compares.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    reads: Reads,
    compared: Compared,
    recorded_claim: RecordedClaim,
    follows: Option<WriteId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    User,
    Deleted,
    Both,
}

impl Plan {
    /// A change or a deletion of a user.
    pub(super) const fn change(compared: Compared, recorded_claim: RecordedClaim) -> Self {
        Self {
            reads: Reads::User,
            compared,
            recorded_claim,
            follows: None,
        }
    }

    /// The same plan. The id of the write also follows this one.
    #[cfg(feature = "local")]
    pub(super) const fn after(self, id: WriteId) -> Self {
        Self {
            follows: Some(id),
            ..self
        }
    }

    /// A write that reads these, and compares all attributes.
    pub(super) const fn of(reads: Reads) -> Self {
        Self {
            reads,
            compared: Compared::All,
            recorded_claim: RecordedClaim::Own,
            follows: None,
        }
    }
}

impl UserStore {
    /// Stores a new user, and `record` if given. Stores nothing if there is already a record with
    /// the same key.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn create(
        &self,
        author: Author<'_>,
        user: &User,
        record: Option<&IdempotencyRecord>,
    ) -> Result<(), WriteError> {
        let mut pauses = Pauses::of(self);
        let mut has_attempt_to_follow = false;
        loop {
            let write = Write {
                before: None,
                vacant: None,
                after: Some(user),
                taken: None,
                erases: false,
                compared: Compared::All,
                record,
                recorded_claim: RecordedClaim::Own,
                loser: None,
                follows: None,
                author,
                now: self.timestamp(),
            };
            match self.commit(write, &mut has_attempt_to_follow).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Overtaken | Refusal::ClaimIsAnothers) => pauses.pause().await?,
            }
        }
    }

    /// Reads a user, calls `decide`, and writes what it decides. `decide` gets the user that was
    /// read and the current time. If another writer changes the user between the read and the
    /// write, this reads and decides again, until the deadline. Returns the new user, if there is
    /// one.
    ///
    /// If another user has the new address, `lose`, if given, makes that user without it, and both
    /// users are written together. `lose` returns `None` if the other user keeps the address.
    ///
    /// # Errors
    /// The errors of `decide`, and [`WriteError`].
    pub async fn change<E: From<WriteError>>(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        compared: Compared,
        decide: impl Fn(&Stored, Timestamp) -> Result<Decision, E>,
        lose: Option<Lose<'_>>,
    ) -> Result<Option<User>, E> {
        let plan = Plan::change(compared, RecordedClaim::Own);
        self.write(author, user_id, plan, decide, lose).await
    }

    /// The same as [`UserStore::change`], for a deleted user, which may be restored or erased.
    ///
    /// # Errors
    /// The errors of `decide`, and [`WriteError`].
    pub async fn change_deleted<E: From<WriteError>>(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        decide: impl Fn(&Stored, Timestamp) -> Result<Decision, E>,
    ) -> Result<Option<User>, E> {
        let plan = Plan::of(Reads::Deleted);
        self.write(author, user_id, plan, decide, None).await
    }

    /// The same as [`UserStore::change`], for a user and the deleted user with the same `userId`.
    ///
    /// # Errors
    /// The errors of `decide`, and [`WriteError`].
    pub async fn change_both<E: From<WriteError>>(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        decide: impl Fn(&Stored, Timestamp) -> Result<Decision, E>,
    ) -> Result<Option<User>, E> {
        let plan = Plan::of(Reads::Both);
        self.write(author, user_id, plan, decide, None).await
    }

    /// The loop of every write but a creation, which reads nothing.
    pub(super) async fn write<E: From<WriteError>>(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        plan: Plan,
        decide: impl Fn(&Stored, Timestamp) -> Result<Decision, E>,
        lose: Option<Lose<'_>>,
    ) -> Result<Option<User>, E> {
        let mut pauses = Pauses::of(self);
        let mut has_attempt_to_follow = false;
        let mut is_anothers = false;
        let mut loser = None;
        loop {
            let read = self.read(user_id, plan.reads).await;
            let stored = read.map_err(WriteError::from)?;
            let now = self.timestamp();
            let (after, erases) = match decide(&stored, now)? {
                Decision::Store(after) => (Some(*after), false),
                Decision::Delete => (None, false),
                Decision::Erase => (None, true),
            };
            let write = Write {
                before: stored.user.as_ref(),
                vacant: (plan.reads == Reads::Both).then_some(user_id),
                after: after.as_ref(),
                taken: stored.deleted.as_ref(),
                erases,
                compared: plan.compared,
                record: None,
                recorded_claim: match is_anothers {
                    true => RecordedClaim::Anothers,
                    false => plan.recorded_claim,
                },
                loser: loser.as_ref().map(|(read, after)| (read, after)),
                follows: plan.follows,
                author,
                now,
            };
            match self.commit(write, &mut has_attempt_to_follow).await {
                Ok(()) => return Ok(after),
                Err(Refusal::Final(error)) => {
                    let is_taken = matches!(error, WriteError::Taken { email: true, .. });
                    let lose = lose.filter(|_| is_taken);
                    let other = self.loser(after.as_ref(), lose, now).await;
                    loser = other.map_err(WriteError::from)?;
                    if loser.is_none() {
                        return Err(error.into());
                    }
                    continue; // nothing is in the way of the next attempt
                }
                Err(Refusal::ClaimIsAnothers) => is_anothers = true,
                Err(Refusal::Overtaken) => (is_anothers, loser) = (false, None),
            }
            pauses.pause().await.map_err(WriteError::from)?;
        }
    }

    async fn read(&self, user_id: &UserId, reads: Reads) -> Result<Stored, Error> {
        match reads {
            Reads::User => Ok(Stored {
                user: self.get(user_id, Consistency::Strong).await?,
                deleted: None,
            }),
            Reads::Deleted => Ok(Stored {
                user: None,
                deleted: self.get_deleted(user_id).await?,
            }),
            Reads::Both => self.get_stored(user_id).await,
        }
    }

    /// The user who has the address of `after`, and the same user without it. `None` if it keeps the
    /// address, or if nobody has it.
    async fn loser(
        &self,
        after: Option<&User>,
        lose: Option<Lose<'_>>,
        now: Timestamp,
    ) -> Result<Option<(User, User)>, Error> {
        let (Some(email), Some(lose)) = (after.and_then(User::email_key), lose) else {
            return Ok(None);
        };
        Ok(match self.find(&email).await? {
            Found::User(user) => lose(&user, now).map(|after| (*user, after)),
            Found::Nobody | Found::NoClaims => None,
        })
    }
}
