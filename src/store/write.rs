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

/// What one round of a write has read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// What is stored at the `userId` that is written.
    pub stored: Stored,
    /// What is stored at [`Author::user_id`].
    pub author: Stored,
}

/// What a creation must not find.
#[derive(Clone, Copy, Debug, Default)]
pub struct Creation<'a> {
    /// The record of the request: there must be none with the same key. It is stored with the user.
    pub record: Option<&'a IdempotencyRecord>,
    /// Whether there must be no deleted user with the same `userId`.
    pub refuses_deleted: bool,
}

/// What a write reads and compares.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    reads: Reads,
    compared: Compared,
    creation: Creation<'a>,
    recorded_claim: RecordedClaim,
    follows: Option<WriteId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Nothing,
    User,
    Deleted,
    Both,
}

impl<'a> Plan<'a> {
    /// A creation. It reads nothing.
    const fn creation(creation: Creation<'a>) -> Self {
        Self {
            creation,
            ..Self::of(Reads::Nothing)
        }
    }

    /// A change or a deletion of a user.
    pub(super) const fn change(compared: Compared, recorded_claim: RecordedClaim) -> Self {
        Self {
            compared,
            recorded_claim,
            ..Self::of(Reads::User)
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
            creation: Creation {
                record: None,
                refuses_deleted: false,
            },
            recorded_claim: RecordedClaim::Own,
            follows: None,
        }
    }
}

impl UserStore {
    /// Stores the new user that `decide` makes, unless `creation` forbids it.
    ///
    /// # Errors
    /// The errors of `decide`, and [`WriteError`].
    pub async fn create<E: From<WriteError>>(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        creation: Creation<'_>,
        decide: impl Fn(&Read, Timestamp) -> Result<Decision, E>,
    ) -> Result<Option<User>, E> {
        let plan = Plan::creation(creation);
        self.write(author, user_id, plan, decide, None).await
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
        decide: impl Fn(&Read, Timestamp) -> Result<Decision, E>,
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
        decide: impl Fn(&Read, Timestamp) -> Result<Decision, E>,
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
        decide: impl Fn(&Read, Timestamp) -> Result<Decision, E>,
    ) -> Result<Option<User>, E> {
        let plan = Plan::of(Reads::Both);
        self.write(author, user_id, plan, decide, None).await
    }

    /// The loop of every write.
    pub(super) async fn write<E: From<WriteError>>(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        plan: Plan<'_>,
        decide: impl Fn(&Read, Timestamp) -> Result<Decision, E>,
        lose: Option<Lose<'_>>,
    ) -> Result<Option<User>, E> {
        let mut pauses = Pauses::of(self);
        let mut has_attempt_to_follow = false;
        let mut is_anothers = false;
        let mut loser = None;
        loop {
            let read = self.read(author, user_id, plan.reads).await;
            let read = read.map_err(WriteError::from)?;
            let now = self.timestamp();
            let (after, erases) = match decide(&read, now)? {
                Decision::Store(after) => (Some(*after), false),
                Decision::Delete => (None, false),
                Decision::Erase => (None, true),
            };
            let write = Write {
                before: read.stored.user.as_ref(),
                vacant: (plan.reads == Reads::Both).then_some(user_id),
                after: after.as_ref(),
                taken: read.stored.deleted.as_ref(),
                erases,
                compared: plan.compared,
                refuses_deleted: plan.creation.refuses_deleted,
                record: plan.creation.record,
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
                    let is_taken = error == WriteError::EmailTaken;
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

    async fn read(
        &self,
        author: Author<'_>,
        user_id: &UserId,
        reads: Reads,
    ) -> Result<Read, Error> {
        let author = match author.user_id {
            Some(own) => self.get_stored(own).await?,
            None => Stored::default(),
        };
        let stored = match reads {
            Reads::Nothing => Stored::default(),
            Reads::User => Stored {
                user: self.get(user_id, Consistency::Strong).await?,
                deleted: None,
            },
            Reads::Deleted => Stored {
                user: None,
                deleted: self.get_deleted(user_id).await?,
            },
            Reads::Both => self.get_stored(user_id).await?,
        };
        Ok(Read { stored, author })
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
