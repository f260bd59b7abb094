//! The operations on users, and who may call them.
//!
//! This module does not depend on HTTP. An interface, such as the JSON API in
//! [`http`](crate::http), converts requests to these operations, and results to responses.

mod access;
mod claims;
mod error;
mod idempotency;
mod life;

use std::time::{Duration, SystemTime};

pub use self::{
    access::{AuthMode, Caller, Credentials, Denial, Proof, Rule, Scope, Token, Verdict},
    claims::{ClaimNames, IssuerKind},
    error::Error,
    idempotency::IdempotencyKey,
    life::Export,
};
use self::{error::NotStored, idempotency::KeyedCreation};
use crate::{
    store::{
        Author, Compared, Consistency, Creation, Decision, Found, Limit, Lose, Page, Read,
        StartKey, Stored, Usage, UserStore, WriteError,
    },
    user::{Actor, Change, EmailKey, Timestamp, User, UserId, UserInput},
};

/// The operations on users.
#[derive(Clone, Debug)]
pub struct UserService {
    store: UserStore,
    request_id: String,
}

/// What a change may take from another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// Nothing.
    Nothing,
    /// The email address, if nobody has verified it for the other user.
    UnverifiedEmail,
}

/// The precondition of a caller for a change or a deletion.
#[derive(Clone, Copy)]
pub enum Precondition<'a> {
    /// There is no precondition.
    None,
    /// The function must return `true` for the user that was read. The check is repeated each time
    /// a write reads the user again.
    Holds(&'a (dyn Fn(&User) -> bool + Sync)),
}

impl Precondition<'_> {
    fn check(&self, user: &User) -> Result<(), Error> {
        match self {
            Self::None => Ok(()),
            Self::Holds(holds) if holds(user) => Ok(()),
            Self::Holds(_) => Err(Error::PreconditionFailed),
        }
    }

    /// The check where there is no user. No precondition holds then.
    fn check_absent(&self) -> Result<(), Error> {
        match self {
            Self::None => Ok(()),
            Self::Holds(_) => Err(Error::PreconditionFailed),
        }
    }
}

impl UserService {
    /// The operations on the users in `store`.
    pub fn new(store: UserStore) -> Self {
        Self {
            store,
            request_id: String::new(),
        }
    }

    /// The same operations, for the request `request_id`. The request must end within `time_left`,
    /// or within 29 s if `time_left` is `None`.
    pub fn for_request(&self, request_id: &str, time_left: Option<Duration>) -> Self {
        Self {
            store: self.store.for_request(time_left),
            request_id: request_id.to_owned(),
        }
    }

    /// The current time.
    pub fn now(&self) -> SystemTime {
        self.store.now()
    }

    /// What this request has used of DynamoDB.
    pub fn usage(&self) -> Usage {
        self.store.usage()
    }

    /// One page of users. See [`UserStore::list`].
    ///
    /// # Errors
    /// [`Error::UserDisabled`], [`Error::Store`].
    pub async fn list(
        &self,
        caller: &Caller,
        limit: Limit,
        start: Option<&StartKey>,
        consistency: Consistency,
    ) -> Result<Page<User>, Error> {
        self.admit(caller, None).await?;
        Ok(self.store.list(limit, start, consistency).await?)
    }

    /// The user with this `userId`.
    ///
    /// # Errors
    /// [`Error::UserDisabled`], [`Error::NotFound`], [`Error::Store`].
    pub async fn get(
        &self,
        caller: &Caller,
        user_id: &UserId,
        consistency: Consistency,
    ) -> Result<User, Error> {
        self.admit(caller, Some(user_id)).await?;
        let user = self.store.get(user_id, consistency).await?;
        user.ok_or(Error::NotFound)
    }

    /// The user who has an email address.
    ///
    /// # Errors
    /// [`Error::UserDisabled`], [`Error::NotFound`], [`Error::EmailsAreShared`], [`Error::Store`].
    pub async fn find(&self, caller: &Caller, email: &EmailKey) -> Result<User, Error> {
        self.admit(caller, None).await?;
        match self.store.find(email).await? {
            Found::User(user) => Ok(*user),
            Found::Nobody => Err(Error::NotFound),
            Found::NoClaims => Err(Error::EmailsAreShared),
        }
    }

    /// Creates a user with the `userId` that the caller `asked` for. If `asked` is `None`, a user
    /// who is not an admin creates itself. Other callers create a user with a random `userId`.
    /// A retry with the same `key` returns the user as the first creation stored it.
    ///
    /// # Errors
    /// [`Error::UserExists`], [`Error::EmailTaken`], [`Error::KeyReused`], [`Error::Denied`]
    /// if the caller may not create a user with this `userId`, [`Error::UserDisabled`],
    /// [`Error::UserDeleted`] if the caller creates itself, [`Error::Store`].
    pub async fn create(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        asked: Option<UserId>,
        input: UserInput,
    ) -> Result<User, Error> {
        let now = self.now().into();
        let keyed = key.map(|key| KeyedCreation::new(caller, key, asked.as_ref(), &input));
        let user_id = caller.user_id_to_create(asked)?;
        let actor = caller.actor();
        let user = User::new(&user_id, input, now, &actor);
        let record = keyed.as_ref().map(|keyed| keyed.record(&user, now));
        let creation = Creation {
            record: record.as_ref(),
            refuses_deleted: caller.is(&user_id),
        };
        let decide = admitted(caller, |_, _| {
            Ok::<_, NotStored>(Decision::Store(Box::new(user.clone())))
        });
        let author = self.author(caller, &actor, Some(&user_id));
        let created = self.store.create(author, &user_id, creation, decide);
        match (created.await, keyed) {
            (Ok(_), _) => Ok(user),
            (Err(NotStored::Unwritten(WriteError::Recorded(record))), Some(keyed)) => {
                let user_id = UserId::stored(&record.user_id);
                if caller.is(&user_id) {
                    let stored = self.store.get_stored(&user_id).await?;
                    caller.may_act_on_all(&stored)?;
                }
                keyed.repeated(user, &record).ok_or(Error::KeyReused)
            }
            (Err(error), _) => Err(error.told(caller)),
        }
    }

    /// Applies `change` to a user, and returns the changed user. Attributes that the service does
    /// not know stay unchanged.
    ///
    /// # Errors
    /// [`Error::UserDisabled`], [`Error::NotFound`], [`Error::PreconditionFailed`],
    /// [`Error::Invalid`], [`Error::EmailTaken`], [`Error::Store`].
    pub async fn change(
        &self,
        caller: &Caller,
        user_id: &UserId,
        change: &Change,
        precondition: Precondition<'_>,
        taking: Taking,
    ) -> Result<User, Error> {
        let actor = caller.actor();
        let compared = match precondition {
            Precondition::None => Compared::Known,
            Precondition::Holds(_) => Compared::All,
        };
        let decide = admitted(caller, |stored, now| {
            let user = stored.user.as_ref().ok_or(Error::NotFound)?;
            caller.may_act_on(user)?;
            precondition.check(user)?;
            let user = change.apply(user, now, &actor)?;
            Ok::<_, Error>(Decision::Store(Box::new(user)))
        });
        let without_email = |user: &User, now: Timestamp| {
            let loses = !user.has_verified_email();
            loses.then(|| user.clone().without_email(now, &actor))
        };
        let lose: Option<Lose<'_>> = match taking {
            Taking::Nothing => None,
            Taking::UnverifiedEmail => Some(&without_email),
        };
        let author = self.author(caller, &actor, Some(user_id));
        let change = self.store.change(author, user_id, compared, decide, lose);
        let changed = change.await?;
        changed.ok_or(Error::NotFound)
    }

    /// Checks that the caller may act on the user `target`, or on no particular user, as far as its
    /// own record decides. A write does this in each round: see [`admitted`].
    ///
    /// # Errors
    /// [`Error::UserDisabled`], [`Error::Store`].
    async fn admit(&self, caller: &Caller, target: Option<&UserId>) -> Result<(), Error> {
        match caller.beside(target) {
            Some(own) => caller.may_act_on_others(&self.store.get_stored(own).await?),
            None => Ok(()),
        }
    }

    /// Who writes the user `target`, or no particular user, and for which request.
    fn author<'a>(
        &'a self,
        caller: &'a Caller,
        actor: &'a Actor,
        target: Option<&UserId>,
    ) -> Author<'a> {
        Author {
            actor,
            request_id: &self.request_id,
            user_id: caller.beside(target),
        }
    }
}

/// `decide`, if what the round has read of the caller lets it write.
fn admitted<'a, E: From<Error>>(
    caller: &'a Caller,
    decide: impl Fn(&Stored, Timestamp) -> Result<Decision, E> + 'a,
) -> impl Fn(&Read, Timestamp) -> Result<Decision, E> + 'a {
    move |read, now| {
        caller.may_act_on_others(&read.author)?;
        decide(&read.stored, now)
    }
}
