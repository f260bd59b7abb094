//! The loop of every write: read, decide, commit.

use super::{
    Consistency, Error, Found, UserStore, WriteError,
    action::Compared,
    commit::{RecordedClaim, Refusal, Write},
    idempotency::IdempotencyRecord,
    pauses::Pauses,
};
use crate::user::{User, UserId};

impl UserStore {
    /// Stores a new user, and `record` if given. Stores nothing if there is already a record with
    /// the same key.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn create(
        &self,
        user: &User,
        record: Option<&IdempotencyRecord>,
    ) -> Result<(), WriteError> {
        let mut pauses = Pauses::of(self);
        let mut has_attempt_to_follow = false;
        loop {
            let write = Write {
                before: None,
                after: Some(user),
                compared: Compared::All,
                record,
                recorded_claim: RecordedClaim::Own,
                loser: None,
            };
            match self.commit(write, &mut has_attempt_to_follow).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Overtaken | Refusal::ClaimIsAnothers) => pauses.pause().await?,
            }
        }
    }

    /// Reads a user, calls `decide` to make the new user, and writes and returns the new user.
    /// `decide` gets `None` if there is no such user, and returns `None` to delete the user. If
    /// another writer changes the user between the read and the write, this reads and decides
    /// again, until the deadline.
    ///
    /// # Errors
    /// The errors of `decide`, and [`WriteError`].
    pub async fn change<E: From<WriteError>>(
        &self,
        user_id: &UserId,
        compared: Compared,
        decide: impl Fn(Option<&User>) -> Result<Option<User>, E>,
    ) -> Result<Option<User>, E> {
        let keep = |_: &User| None;
        self.change_with(user_id, compared, RecordedClaim::Own, decide, keep)
            .await
    }

    /// The same as [`UserStore::change`]. If another user has the new address, `lose` makes that user
    /// without it, and both users are written together. `lose` returns `None` if the other user keeps
    /// the address.
    ///
    /// # Errors
    /// The errors of `decide`, and [`WriteError`].
    pub async fn change_and_take_email<E: From<WriteError>>(
        &self,
        user_id: &UserId,
        compared: Compared,
        decide: impl Fn(Option<&User>) -> Result<Option<User>, E>,
        lose: impl Fn(&User) -> Option<User>,
    ) -> Result<Option<User>, E> {
        self.change_with(user_id, compared, RecordedClaim::Own, decide, lose)
            .await
    }

    /// The same as [`UserStore::change`], for a user whose item may record a claim that the user
    /// does not hold. `recorded_claim` says who holds that claim.
    pub(super) async fn change_with<E: From<WriteError>>(
        &self,
        user_id: &UserId,
        compared: Compared,
        recorded_claim: RecordedClaim,
        decide: impl Fn(Option<&User>) -> Result<Option<User>, E>,
        lose: impl Fn(&User) -> Option<User>,
    ) -> Result<Option<User>, E> {
        let mut pauses = Pauses::of(self);
        let mut has_attempt_to_follow = false;
        let mut is_anothers = false;
        let mut loser = None;
        loop {
            let before = self
                .get(user_id, Consistency::Strong)
                .await
                .map_err(WriteError::from)?;
            let after = decide(before.as_ref())?;
            if before.is_none() && after.is_none() {
                return Ok(None);
            }
            let write = Write {
                before: before.as_ref(),
                after: after.as_ref(),
                compared,
                record: None,
                recorded_claim: match is_anothers {
                    true => RecordedClaim::Anothers,
                    false => recorded_claim,
                },
                loser: loser.as_ref().map(|(read, after)| (read, after)),
            };
            match self.commit(write, &mut has_attempt_to_follow).await {
                Ok(()) => return Ok(after),
                Err(Refusal::Final(error)) => {
                    let is_taken = matches!(error, WriteError::Taken { email: true, .. });
                    let after = after.as_ref().filter(|_| is_taken);
                    loser = self.loser(after, &lose).await.map_err(WriteError::from)?;
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
    /// The user who has the address of `after`, and the same user without it. `None` if it keeps the
    /// address, or if nobody has it.
    async fn loser(
        &self,
        after: Option<&User>,
        lose: impl Fn(&User) -> Option<User>,
    ) -> Result<Option<(User, User)>, Error> {
        let Some(email) = after.and_then(User::email_key) else {
            return Ok(None);
        };
        Ok(match self.find(&email).await? {
            Found::User(user) => lose(&user).map(|after| (*user, after)),
            Found::Nobody | Found::NoClaims => None,
        })
    }
}
