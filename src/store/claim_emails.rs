//! The calls to DynamoDB of the command `claim-emails` (feature `local`). The command adds missing
//! claims and releases claims that are left over.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::{
    Author, Consistency, Decision, Error, Holder, Limit, Read, StartKey, UserStore, WriteError,
    action::{Action, Compared},
    call::failure,
    claims::holder_in,
    commit::RecordedClaim,
    pauses::Pauses,
    string, text,
    transaction::Cancelled,
    user,
    write::Plan,
};
use crate::user::{Actor, EmailKey, Timestamp, User, UserId};

/// The author of the writes. They change only the service's own state, so they leave no record in
/// the history.
const AUTHOR: Author<'_> = Author::command(&Actor::Command("claim-emails"));

/// What is read of a user or a claim, to compare the two.
const CLAIMED: &[&str] = &["userId", "email"];

/// A claim on an email address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    email: String,
    user_id: String,
}

impl Claim {
    /// Reads a claim from an item. `None` if the item has no email address or no `userId`. Another
    /// client wrote such an item.
    fn read(item: &HashMap<String, AttributeValue>) -> Option<Self> {
        Some(Self {
            email: text(item, "email")?,
            user_id: holder_in(item)?.as_str().to_owned(),
        })
    }

    /// The address. `None` if no user can have it.
    pub fn email(&self) -> Option<EmailKey> {
        EmailKey::stored(&self.email)
    }

    /// The `userId` of the holder.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Whether the claim belongs to `user`, and `user` has the address of the claim.
    fn is_of(&self, user: &User) -> bool {
        user.user_id() == self.user_id
            && user
                .email_key()
                .is_some_and(|email| email.as_str() == self.email)
    }
}

/// Who holds the claim on the address of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The user holds the claim, which has just been written.
    Now,
    /// The user already held the claim.
    Before,
    /// Another user, with this `userId`, holds the claim.
    ByAnother(String),
    /// The claim on the address names no user.
    Unreadable,
    /// There is nothing to claim: the user has no address or does not exist, or the service keeps
    /// no claims.
    Nothing,
}

/// Why a claim for a user was not written.
enum Unwritten {
    Ended(Claimed),
    Failed(WriteError),
}

impl From<WriteError> for Unwritten {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}

impl UserStore {
    /// For each of at most 100 `users`, whether the user has a claim on its address.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn have_claims(&self, users: &[User]) -> Result<Vec<bool>, Error> {
        let addresses: Vec<_> = users.iter().map(User::email_key).collect();
        let keys: BTreeSet<_> = addresses.iter().flatten().map(EmailKey::as_str).collect();
        let Some(emails) = self.tables.emails.as_deref().filter(|_| !keys.is_empty()) else {
            return Ok(vec![false; users.len()]);
        };
        let claims = self.get_all(emails, "email", keys, CLAIMED).await?;
        let claims: Vec<_> = claims.iter().filter_map(Claim::read).collect();
        let claimed = users
            .iter()
            .map(|user| claims.iter().any(|claim| claim.is_of(user)));
        Ok(claimed.collect())
    }

    /// Gets the items of `table` with at most 100 `keys`. The items have only these `attributes`, or
    /// members of maps, such as `user.createdAt`.
    ///
    /// One call returns at most 16 MB, and less if DynamoDB is busy. This requests the unprocessed
    /// keys again, with growing pauses, until it has all items
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
    pub(super) async fn get_all(
        &self,
        table: &str,
        key_name: &str,
        keys: BTreeSet<&str>,
        attributes: &[&str],
    ) -> Result<Vec<HashMap<String, AttributeValue>>, Error> {
        let mut names = HashMap::new();
        let mut numbered = |name: &str| {
            let number = format!("#{}", names.len());
            names.insert(number.clone(), name.to_owned());
            number
        };
        let shown = attributes.iter().map(|path| {
            let parts: Vec<_> = path.split('.').map(&mut numbered).collect();
            parts.join(".")
        });
        let projection = shown.collect::<Vec<_>>().join(", ");
        let keys = keys
            .into_iter()
            .map(|key| HashMap::from([(key_name.to_owned(), string(key))]));
        let keys = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .consistent_read(true)
            .build()
            .expect("every request names its keys");
        let mut left = HashMap::from([(table.to_owned(), keys)]);
        let mut items = Vec::new();
        let mut pauses = Pauses::of(self);
        loop {
            let call = self
                .client
                .batch_get_item()
                .set_request_items(Some(left))
                .customize()
                .interceptor(self.attempts())
                .send();
            let output = self.in_time(call).await.map_err(failure)?;
            items.extend(output.responses.unwrap_or_default().into_values().flatten());
            left = output.unprocessed_keys.unwrap_or_default();
            if left.is_empty() {
                return Ok(items);
            }
            pauses.pause().await?;
        }
    }

    /// At most 100 claims: the claims after `start`, or the first claims if `start` is `None`. Also
    /// returns how many more of them name no user, and the start key of the next call, or `None` if
    /// there are no more claims.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn claims(
        &self,
        start: Option<&StartKey>,
    ) -> Result<(Vec<Claim>, usize, Option<StartKey>), Error> {
        let Some(emails) = &self.tables.emails else {
            return Ok((Vec::new(), 0, None));
        };
        let start = start.map(|key| HashMap::from([("email".to_owned(), string(key))]));
        let call = self
            .client
            .scan()
            .table_name(emails)
            .limit(Limit::MAX.in_call())
            .consistent_read(true)
            .set_exclusive_start_key(start)
            .customize()
            .interceptor(self.attempts())
            .send();
        let output = self.in_time(call).await.map_err(failure)?;
        let next = output.last_evaluated_key;
        let next = next.and_then(|last| text(&last, "email"));
        let items = output.items.unwrap_or_default();
        let claims: Vec<_> = items.iter().filter_map(Claim::read).collect();
        let unreadable = items.len() - claims.len();
        Ok((claims, unreadable, next))
    }

    /// Returns the `claims` that are left over: the user does not exist or has another address.
    /// `claims` has at most 100 claims.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn left_over(&self, claims: Vec<Claim>) -> Result<Vec<Claim>, Error> {
        let users: BTreeSet<_> = claims.iter().map(|claim| &*claim.user_id).collect();
        if users.is_empty() {
            return Ok(claims);
        }
        let users = self.get_all(&self.tables.users, "userId", users, CLAIMED);
        let users = users.await?;
        let users: HashMap<_, _> = users
            .into_iter()
            .map(user)
            .map(|user| (user.user_id().to_owned(), user))
            .collect();
        let is_left_over = |claim: &Claim| {
            let user = users.get(&claim.user_id);
            !user.is_some_and(|user| claim.is_of(user))
        };
        Ok(claims.into_iter().filter(is_left_over).collect())
    }

    /// Releases a claim if its user does not exist or has another address. Returns `true` if the
    /// claim was released.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn release_left_over(&self, claim: &Claim) -> Result<bool, Error> {
        let Some(email) = claim.email() else {
            return Ok(false);
        };
        let user_id = UserId::stored(&claim.user_id);
        let mut pauses = Pauses::of(self);
        loop {
            let user = self.get(&user_id, Consistency::Strong).await?;
            if let Some(user) = &user {
                if claim.is_of(user) {
                    return Ok(false);
                }
                if user.held_claim().as_ref() == Some(&email) {
                    return self.release_recorded(claim, &user_id, &email).await;
                }
            }
            let actions = [
                Action::CheckUser(user_id.as_str(), user.as_ref()),
                Action::Release(email.clone(), user_id.as_str()),
            ];
            match self.transact(&actions).await {
                Ok(()) => return Ok(true),
                // Another writer has changed the user or the claim since the read.
                Err(Cancelled::Conditions { .. }) => return Ok(false),
                Err(Cancelled::Conflict) => pauses.pause().await?,
                Err(Cancelled::Failed(error)) => return Err(error),
            }
        }
    }

    /// Releases a claim that is left over and that the item of its user records. Removes the record
    /// from the item.
    async fn release_recorded(
        &self,
        claim: &Claim,
        user_id: &UserId,
        email: &EmailKey,
    ) -> Result<bool, Error> {
        let decide = |read: &Read, _: Timestamp| match &read.stored.user {
            Some(user) if !claim.is_of(user) && user.held_claim().as_ref() == Some(email) => {
                Ok(Decision::Store(Box::new(user.clone())))
            }
            Some(_) | None => Err(Unwritten::Ended(Claimed::Nothing)),
        };
        let plan = Plan::change(Compared::All, RecordedClaim::LeftOver);
        let written = self.write(AUTHOR, user_id, plan, decide, None).await;
        match written {
            Ok(_) => Ok(true),
            Err(Unwritten::Failed(WriteError::Failed(error))) => Err(error),
            // Another writer has changed the user or the claim since the read.
            Err(Unwritten::Ended(_) | Unwritten::Failed(_)) => Ok(false),
        }
    }

    /// Claims the email address of a user, if no other user holds the claim. Records the claim in
    /// the user's item.
    ///
    /// # Errors
    /// The call to DynamoDB failed.
    pub async fn claim_for(&self, user_id: &str) -> Result<Claimed, Error> {
        let Some(emails) = &self.tables.emails else {
            return Ok(Claimed::Nothing);
        };
        let user_id = UserId::stored(user_id);
        let mut pauses = Pauses::of(self);
        loop {
            let decide = |read: &Read, _: Timestamp| match &read.stored.user {
                Some(user) if user.email_key().is_some() => {
                    Ok(Decision::Store(Box::new(user.clone())))
                }
                Some(_) | None => Err(Unwritten::Ended(Claimed::Nothing)),
            };
            let plan = Plan::change(Compared::Known, RecordedClaim::Unknown);
            let written = self.write(AUTHOR, &user_id, plan, decide, None).await;
            match written {
                Ok(_) => return Ok(Claimed::Now),
                Err(Unwritten::Ended(claimed)) => return Ok(claimed),
                Err(Unwritten::Failed(WriteError::Failed(error))) => return Err(error),
                Err(Unwritten::Failed(
                    WriteError::UserExists { .. }
                    | WriteError::UserDeleted(_)
                    | WriteError::EmailTaken
                    | WriteError::Recorded(_)
                    | WriteError::TooLarge,
                )) => {}
            }
            if let Some(user) = self.get(&user_id, Consistency::Strong).await?
                && let Some(email) = user.email_key()
            {
                match self.holder(emails, &email).await? {
                    Holder::User(owner) if owner != user_id => {
                        return Ok(Claimed::ByAnother(owner.as_str().to_owned()));
                    }
                    Holder::Unreadable => return Ok(Claimed::Unreadable),
                    Holder::User(_) | Holder::Nobody => {}
                }
            }
            pauses.pause().await?;
        }
    }

    /// Who holds the claim on an address.
    pub(super) async fn holder(&self, emails: &str, email: &EmailKey) -> Result<Holder, Error> {
        Ok(match self.claim(emails, email).await? {
            None => Holder::Nobody,
            Some(claim) => holder_in(&claim).map_or(Holder::Unreadable, Holder::User),
        })
    }
}
