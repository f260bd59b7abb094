//! The end of a user and what follows it: deletion, restoration, erasure; and what is kept of a user.

use super::{Caller, Error, Precondition, UserService, admitted, error::NotStored};
use crate::{
    store::{Compared, Consistency, Decision, HistoryRecord, Limit, Page, StartKey, Stored},
    user::{DeletedUser, Restoration, User, UserId},
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
        let decide = admitted(caller, |stored, _| {
            let user = stored.user.as_ref().ok_or(Error::NotFound)?;
            caller.may_act_on(user)?;
            precondition.check(user)?;
            Ok::<_, Error>(Decision::Delete)
        });
        let actor = caller.actor();
        let author = self.author(caller, &actor, Some(user_id));
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
        let decide = admitted(caller, |stored, _| {
            caller.may_act_on_all(stored)?;
            match (&stored.user, &stored.deleted) {
                (Some(user), _) => precondition.check(user)?,
                (None, Some(deleted)) => {
                    caller.may_act_on_deleted(deleted)?;
                    precondition.check_absent()?;
                }
                (None, None) => return Err(Error::NotFound),
            }
            Ok::<_, Error>(Decision::Erase)
        });
        let actor = caller.actor();
        let author = self.author(caller, &actor, Some(user_id));
        let erasure = self.store.change_both(author, user_id, decide);
        erasure.await.map(drop)
    }

    /// One page of deleted users.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list_deleted(
        &self,
        caller: &Caller,
        limit: Limit,
        start: Option<&StartKey>,
        consistency: Consistency,
    ) -> Result<Page<DeletedUser>, Error> {
        self.admit(caller, None).await?;
        let page = self.store.list_deleted(limit, start, consistency);
        Ok(page.await?)
    }

    /// The deleted user with this `userId`.
    ///
    /// # Errors
    /// [`Error::NoDeletedUser`], [`Error::Store`].
    pub async fn get_deleted(
        &self,
        caller: &Caller,
        user_id: &UserId,
    ) -> Result<DeletedUser, Error> {
        self.admit(caller, None).await?;
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
        let decide = admitted(caller, |stored, now| {
            let deleted = stored.deleted.as_ref().ok_or(Error::NoDeletedUser)?;
            caller.may_act_on_deleted(deleted)?;
            let user = restoration.apply(deleted, now, &actor);
            Ok::<_, NotStored>(Decision::Store(Box::new(user)))
        });
        let author = self.author(caller, &actor, None);
        let restored = self.store.change_deleted(author, user_id, decide).await;
        let restored = restored.map_err(|error| error.told(caller))?;
        restored.ok_or(Error::NoDeletedUser)
    }

    /// Erases a deleted user. A user with the same `userId` stays.
    ///
    /// # Errors
    /// [`Error::NoDeletedUser`], [`Error::UserDisabled`], [`Error::Store`].
    pub async fn erase_deleted(&self, caller: &Caller, user_id: &UserId) -> Result<(), Error> {
        let decide = admitted(caller, |stored, _| {
            let deleted = stored.deleted.as_ref().ok_or(Error::NoDeletedUser)?;
            caller.may_act_on_deleted(deleted)?;
            Ok::<_, Error>(Decision::Erase)
        });
        let actor = caller.actor();
        let author = self.author(caller, &actor, None);
        let erasure = self.store.change_deleted(author, user_id, decide);
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
        self.admit(caller, Some(user_id)).await?;
        let stored = match caller.is(user_id) {
            true => Some(self.store.get_stored(user_id).await?),
            false => None,
        };
        if let Some(stored) = &stored {
            caller.may_act_on_all(stored)?;
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
        self.admit(caller, Some(user_id)).await?;
        let stored = self.store.get_stored(user_id).await?;
        caller.may_act_on_all(&stored)?;
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
