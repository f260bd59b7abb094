//! The end of a user and what follows it: deletion, restoration, erasure; and what is kept of a user.

use super::{Caller, Error, Precondition, UserService};
use crate::{
    store::{Compared, Consistency, Decision, HistoryRecord, Limit, Page, StartKey, Stored},
    user::{DeletedUser, Restoration, Timestamp, User, UserId},
};

/// What is kept of a user.
#[derive(Debug)]
pub struct Export {
    /// The user, and the deleted user with the same `userId`.
    pub stored: Stored,
    /// The newest records of its history. `None` if the service keeps no history.
    pub history: Option<Page<HistoryRecord>>,
}

impl UserService {
    /// Deletes a user. It goes to the deleted users, unless none are kept.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PreconditionFailed`], [`Error::UserDisabled`],
    /// [`Error::TooLarge`], [`Error::Store`].
    pub async fn delete(
        &self,
        caller: &Caller,
        user_id: &UserId,
        precondition: Precondition<'_>,
    ) -> Result<(), Error> {
        let decide = |read: &Stored, _: Timestamp| {
            let user = read.user.as_ref().ok_or(Error::NotFound)?;
            caller.may_act_on(user)?;
            precondition.check(user)?;
            Ok::<_, Error>(Decision::Delete)
        };
        let actor = caller.actor();
        let author = self.author(&actor);
        let deletion = self
            .store
            .change(author, user_id, Compared::All, decide, None);
        deletion.await.map(drop)
    }

    /// Erases a user, and the deleted user with the same `userId`. It is enough if there is one of
    /// them. A precondition is for the user.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PreconditionFailed`], [`Error::UserDisabled`],
    /// [`Error::Store`].
    pub async fn erase(
        &self,
        caller: &Caller,
        user_id: &UserId,
        precondition: Precondition<'_>,
    ) -> Result<(), Error> {
        let decide = |read: &Stored, _: Timestamp| {
            for user in read.users() {
                caller.may_act_on(user)?;
            }
            match (&read.user, &precondition) {
                (None, _) if read.deleted.is_none() => return Err(Error::NotFound),
                (None, Precondition::Holds(_)) => return Err(Error::PreconditionFailed),
                (None, Precondition::None) => {}
                (Some(user), precondition) => precondition.check(user)?,
            }
            Ok::<_, Error>(Decision::Erase)
        };
        let actor = caller.actor();
        let erasure = self.store.change_both(self.author(&actor), user_id, decide);
        erasure.await.map(drop)
    }

    /// One page of deleted users.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list_deleted(
        &self,
        limit: Limit,
        start: Option<&StartKey>,
        consistency: Consistency,
    ) -> Result<Page<DeletedUser>, Error> {
        let page = self.store.list_deleted(limit, start, consistency);
        Ok(page.await?)
    }

    /// The deleted user with this `userId`.
    ///
    /// # Errors
    /// [`Error::NoDeletedUser`], [`Error::Store`].
    pub async fn get_deleted(&self, user_id: &UserId) -> Result<DeletedUser, Error> {
        let deleted = self.store.get_deleted(user_id).await?;
        deleted.ok_or(Error::NoDeletedUser)
    }

    /// Restores a deleted user, and returns it.
    ///
    /// # Errors
    /// [`Error::NoDeletedUser`], [`Error::UserExists`], [`Error::EmailTaken`],
    /// [`Error::UserDisabled`], [`Error::Store`].
    pub async fn restore(
        &self,
        caller: &Caller,
        user_id: &UserId,
        restoration: &Restoration,
    ) -> Result<User, Error> {
        let actor = caller.actor();
        let decide = |read: &Stored, now: Timestamp| {
            let deleted = read.deleted.as_ref().ok_or(Error::NoDeletedUser)?;
            caller.may_act_on(&deleted.user)?;
            let user = restoration.apply(deleted, now, &actor);
            Ok::<_, Error>(Decision::Store(Box::new(user)))
        };
        let author = self.author(&actor);
        let restored = self.store.change_deleted(author, user_id, decide).await?;
        restored.ok_or(Error::NoDeletedUser)
    }

    /// Erases a deleted user. A user with the same `userId` stays.
    ///
    /// # Errors
    /// [`Error::NoDeletedUser`], [`Error::UserDisabled`], [`Error::Store`].
    pub async fn erase_deleted(&self, caller: &Caller, user_id: &UserId) -> Result<(), Error> {
        let decide = |read: &Stored, _: Timestamp| {
            let deleted = read.deleted.as_ref().ok_or(Error::NoDeletedUser)?;
            caller.may_act_on(&deleted.user)?;
            Ok::<_, Error>(Decision::Erase)
        };
        let actor = caller.actor();
        let erasure = self
            .store
            .change_deleted(self.author(&actor), user_id, decide);
        erasure.await.map(drop)
    }

    /// One page of the history of a user, newest first.
    ///
    /// # Errors
    /// [`Error::HistoryIsOff`], [`Error::UserDisabled`] if the user itself asks and is disabled,
    /// [`Error::NotFound`] if there are neither records nor a user, [`Error::Store`].
    pub async fn history(
        &self,
        caller: &Caller,
        user_id: &UserId,
        limit: Limit,
        start: Option<&StartKey>,
    ) -> Result<Page<HistoryRecord>, Error> {
        if !self.store.keeps_history() {
            return Err(Error::HistoryIsOff);
        }
        let stored = match caller.is(user_id) {
            true => Some(self.store.get_stored(user_id).await?),
            false => None,
        };
        for user in stored.iter().flat_map(Stored::users) {
            caller.may_act_on(user)?;
        }
        let page = self.store.history(user_id, limit, start).await?;
        if page.items.is_empty() && page.next.is_none() && start.is_none() {
            let stored = match stored {
                Some(stored) => stored,
                None => self.store.get_stored(user_id).await?,
            };
            if stored == Stored::default() {
                return Err(Error::NotFound);
            }
        }
        Ok(page)
    }

    /// What is kept of a user.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is kept, [`Error::UserDisabled`] if the user itself asks and is
    /// disabled, [`Error::Store`].
    pub async fn export(&self, caller: &Caller, user_id: &UserId) -> Result<Export, Error> {
        let stored = self.store.get_stored(user_id).await?;
        for user in stored.users() {
            caller.may_act_on(user)?;
        }
        let history = match self.store.keeps_history() {
            true => Some(self.store.history(user_id, Limit::EXPORT, None).await?),
            false => None,
        };
        let has_history = history.as_ref().is_some_and(|page| !page.items.is_empty());
        if stored == Stored::default() && !has_history {
            return Err(Error::NotFound);
        }
        Ok(Export { stored, history })
    }
}
