//! Read, decide, commit: the loop of every write.

use super::{
    Consistency, UserStore, WriteError,
    action::Compared,
    commit::{RecordedClaim, Refusal, Write},
    idempotency::IdempotencyRecord,
    pauses::Pauses,
};
use crate::user::{User, UserId};

impl UserStore {
    /// Stores a new user. With a record, nothing is stored if its key is on record.
    ///
    /// # Errors
    /// [`WriteError`], and everything is as it was.
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
            };
            match self.commit(write, &mut has_attempt_to_follow).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Overtaken | Refusal::ClaimIsAnothers) => pauses.pause().await?,
            }
        }
    }

    /// Reads a user, makes a new one with `decide`, and writes and returns it. `decide` gets `None`
    /// if there is no such user. It returns `None` to delete the user. If another writer changes
    /// the user in between, this reads and decides again, until the deadline.
    ///
    /// # Errors
    /// Those of `decide`, and [`WriteError`]; everything is as it was then.
    pub async fn change<E: From<WriteError>>(
        &self,
        user_id: &UserId,
        compared: Compared,
        decide: impl Fn(Option<&User>) -> Result<Option<User>, E>,
    ) -> Result<Option<User>, E> {
        self.change_with(user_id, compared, RecordedClaim::Own, decide)
            .await
    }

    /// The same, if the item may record a claim that the user does not hold.
    pub(super) async fn change_with<E: From<WriteError>>(
        &self,
        user_id: &UserId,
        compared: Compared,
        recorded_claim: RecordedClaim,
        decide: impl Fn(Option<&User>) -> Result<Option<User>, E>,
    ) -> Result<Option<User>, E> {
        let mut pauses = Pauses::of(self);
        let mut has_attempt_to_follow = false;
        let mut is_anothers = false;
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
            };
            match self.commit(write, &mut has_attempt_to_follow).await {
                Ok(()) => return Ok(after),
                Err(Refusal::Final(error)) => return Err(error.into()),
                Err(Refusal::ClaimIsAnothers) => is_anothers = true,
                Err(Refusal::Overtaken) => is_anothers = false,
            }
            pauses.pause().await.map_err(WriteError::from)?;
        }
    }
}
