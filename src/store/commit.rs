//! Writes a user in one transaction. The difference between the user that was read and the new
//! user determines the actions of the transaction.

use serde_dynamo::Item;

use super::{
    Author, Error, HistoryRecord, IdempotencyRecord, Retention, UserStore, WriteError,
    action::{Action, Compared},
    history::SECONDS_IN_A_DAY,
    transaction::Cancelled,
    user,
};
use crate::user::{DeletedUser, EmailKey, Event, EventType, Timestamp, User, UserId, WriteId};

/// A write of one user.
#[derive(Clone, Copy)]
pub(super) struct Write<'a> {
    /// The user that was read. `None` if there is no such user.
    pub(super) before: Option<&'a User>,
    /// The `userId` at which there must be no user, if the write stores no user there either.
    pub(super) vacant: Option<&'a UserId>,
    /// The new user. `None` deletes the user.
    pub(super) after: Option<&'a User>,
    /// The deleted user that the write restores or erases.
    pub(super) taken: Option<&'a DeletedUser>,
    /// Whether a user without an `after` is erased. Otherwise it goes to the deleted users.
    pub(super) erases: bool,
    /// Which attributes of the stored user must be unchanged.
    pub(super) compared: Compared,
    /// Whether the user must not be created over a deleted user.
    pub(super) refuses_deleted: bool,
    /// The record of the request that creates the user.
    pub(super) record: Option<&'a IdempotencyRecord>,
    /// Whether the user holds the claim that its item records.
    pub(super) recorded_claim: RecordedClaim,
    /// Another user, from whom this one takes the address: as it was read, and without the address.
    pub(super) loser: Option<(&'a User, &'a User)>,
    /// A record of the history that the write follows, besides the writes of the user.
    pub(super) follows: Option<WriteId>,
    /// Who writes.
    pub(super) author: Author<'a>,
    /// When the write was decided.
    pub(super) now: Timestamp,
}

/// Whether the user holds the claim that its item records. The record can be wrong, for example
/// after one of the tables was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordedClaim {
    /// The user holds the claim, or nobody holds it.
    Own,
    /// Another user holds the claim. The write does not release it.
    Anothers,
    /// Unknown. The write makes the claim again.
    Unknown,
    /// The claim is left over. The write releases it, takes its record out of the item, and makes no
    /// other claim.
    LeftOver,
}

/// Why a write failed. After [`Error::Unavailable`], the outcome is unknown. After all other
/// refusals, nothing is stored.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// The user has changed, or another transaction on the same items is in progress.
    Overtaken,
    /// Another user holds the claim that the write would release.
    ClaimIsAnothers,
    /// Repeating the write does not help.
    Final(WriteError),
}

impl Write<'_> {
    /// The email address on which the user holds a claim after the write.
    fn wanted_claim(&self) -> Option<EmailKey> {
        let keeps_one = self.recorded_claim != RecordedClaim::LeftOver;
        self.after.filter(|_| keeps_one).and_then(User::email_key)
    }

    /// The id of the write. It follows the earlier writes of the user.
    fn id(&self) -> WriteId {
        let of_user = self.before.and_then(User::last_write);
        let of_deleted = self.taken.and_then(DeletedUser::last_write);
        let previous = of_user.max(of_deleted).max(self.follows);
        match (self.after, previous) {
            (None, Some(previous)) => previous.ended(self.now),
            (None, None) | (Some(_), _) => WriteId::after(previous, self.now),
        }
    }

    /// The user that goes to the deleted users. `None` if there is none, or if none is kept.
    fn deleted_user(&self, id: WriteId, retention: Retention) -> Option<DeletedUser> {
        let ended = self
            .before
            .filter(|_| self.after.is_none() && !self.erases)?;
        let seconds = u64::from(retention.deleted_users_days) * SECONDS_IN_A_DAY;
        let deleted = DeletedUser::new(ended.clone(), self.author.actor, id, self.now, seconds);
        (seconds > 0).then_some(deleted)
    }

    /// What the write did, for the history.
    fn event(&self) -> Option<Event> {
        match (self.before, self.after, self.taken) {
            (None, Some(after), None) => Event::created(after),
            (None, Some(after), Some(taken)) => Event::restored(&taken.user, after),
            (Some(before), Some(after), _) => Event::changed(before, after),
            (Some(before), None, _) if !self.erases => {
                Some(Event::ended(EventType::Deleted, before))
            }
            (Some(ended), None, _) => Some(Event::ended(EventType::Erased, ended)),
            (None, None, Some(taken)) => Some(Event::ended(EventType::Erased, &taken.user)),
            (None, None, None) => None,
        }
    }

    /// The record of the write in the history of its user.
    fn record_of_event(&self, id: WriteId, retention: Retention) -> Option<HistoryRecord> {
        let event = self.event()?;
        let of_deleted = self.taken.map(|taken| &taken.user);
        let subject = self.after.or(self.before).or(of_deleted)?;
        let user_id = subject.user_id();
        let record = HistoryRecord::new(&event, user_id, self.author, id, self.now, retention)?;
        Some(match event.event_type {
            EventType::Erased => record.of_a_user_created_at(subject.created_at()),
            EventType::Created
            | EventType::Updated
            | EventType::Disabled
            | EventType::Enabled
            | EventType::Deleted
            | EventType::Restored => record,
        })
    }

    /// The record of the loss of an address in the history of the other user.
    fn record_of_loss(&self, id: WriteId, retention: Retention) -> Option<HistoryRecord> {
        let (read, after) = self.loser?;
        let event = Event::changed(read, after)?;
        HistoryRecord::new(
            &event,
            after.user_id(),
            self.author,
            id,
            self.now,
            retention,
        )
    }
}

impl Refusal {
    /// The same refusal, or [`Error::Unavailable`] if an earlier attempt may still reach DynamoDB
    /// and the refusal says that the `userId` or the email address is taken. They may be free when
    /// the attempt arrives. DynamoDB then executes the attempt, so the outcome is unknown.
    fn after(self, has_attempt_to_follow: bool) -> Self {
        match self {
            Self::Final(
                WriteError::UserExists { .. } | WriteError::UserDeleted(_) | WriteError::EmailTaken,
            ) if has_attempt_to_follow => {
                let cause = "an attempt timed out before a condition failed, and may follow";
                Error::Unavailable(cause.to_owned()).into()
            }
            Self::Overtaken | Self::ClaimIsAnothers | Self::Final(_) => self,
        }
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        Self::Final(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Final(error.into())
    }
}

impl UserStore {
    /// Writes the user, the claim on its address, the record in its history, and the idempotency
    /// record or the deleted user, or nothing. Stores a new revision in the item. Sets `has_attempt_to_follow` if a condition failed after an
    /// attempt timed out. That attempt may still reach DynamoDB.
    ///
    /// # Errors
    /// Why the write failed.
    pub(super) async fn commit(
        &self,
        write: Write<'_>,
        has_attempt_to_follow: &mut bool,
    ) -> Result<(), Refusal> {
        let keeps_claims = self.tables.emails.is_some();
        let id = write.id();
        let after = write.after.map(|after| {
            let held = if keeps_claims {
                write.wanted_claim()
            } else {
                write.before.and_then(User::held_claim)
            };
            after.clone().revised(id, held.as_ref())
        });
        let deleted = write.deleted_user(id, self.retention);
        if deleted.as_ref().is_some_and(|deleted| !deleted.fits()) {
            return Err(WriteError::TooLarge.into());
        }
        let loser = write.loser.map(|(read, after)| {
            let id = WriteId::after(read.last_write(), write.now);
            (id, after.clone().revised(id, None))
        });
        let id_of_loss = loser.as_ref().map(|(id, _)| *id);
        let loser = loser.as_ref().map(|(_, after)| after);
        let write = Write {
            after: after.as_ref(),
            loser: write
                .loser
                .zip(loser)
                .map(|((read, _), after)| (read, after)),
            ..write
        };
        let mut actions = actions(&write, keeps_claims);
        actions.extend(match (&deleted, write.before, write.after, write.taken) {
            (Some(deleted), ..) => Some(Action::PutDeleted(deleted)),
            // There may be an entry that has expired, or that was added since the read.
            (None, Some(ended), None, None) if write.vacant.is_some() || !write.erases => {
                Some(Action::DropDeleted(ended.user_id()))
            }
            (None, ..) => None,
        });
        let loss = id_of_loss.and_then(|id| write.record_of_loss(id, self.retention));
        let records = [write.record_of_event(id, self.retention), loss];
        actions.extend(records.into_iter().flatten().map(Action::PutHistory));
        let refusal = match self.transact(&actions).await {
            Ok(()) => return Ok(()),
            Err(Cancelled::Conflict) => Refusal::Overtaken,
            Err(Cancelled::Failed(error)) => error.into(),
            Err(Cancelled::Conditions { found, may_follow }) => {
                *has_attempt_to_follow |= may_follow;
                refusal(&actions, found, keeps_claims).after(*has_attempt_to_follow)
            }
        };
        if refusal == Refusal::Overtaken {
            self.counters.count_conflict();
        }
        Err(refusal)
    }
}

/// The email address on which the user may hold a claim. If the user has a state, this is the
/// address that the state records. A legacy user has no state, so this is the user's own address.
fn claim_to_release(user: &User) -> Option<EmailKey> {
    match user.state() {
        Some(_) => user.held_claim(),
        None => user.email_key(),
    }
}

/// The actions of `write`. They are derived from the difference between `before` and `after`.
fn actions<'a>(write: &Write<'a>, keeps_claims: bool) -> Vec<Action<'a>> {
    let mut actions = Vec::from_iter(user_action(write));
    if let Some(after) = write.after.filter(|_| write.refuses_deleted) {
        actions.push(Action::CheckNoDeleted(after.user_id(), write.now));
    }
    actions.extend(write.taken.map(Action::TakeDeleted));
    actions.extend(write.record.map(Action::PutRecord));
    if !keeps_claims {
        return actions;
    }
    let wanted = write.wanted_claim();
    if let (Some(after), Some(wanted)) = (write.after, &wanted)
        && (write.recorded_claim == RecordedClaim::Unknown
            || write.before.and_then(User::held_claim).as_ref() != Some(wanted)
            // Another client may have changed the address, and the claim may no longer exist.
            || write.before.and_then(User::email_key).as_ref() != Some(wanted))
    {
        let holder = write.loser.map_or(after, |(loser, _)| loser);
        actions.push(Action::Claim(
            wanted.clone(),
            after.user_id(),
            holder.user_id(),
        ));
    }
    if let Some((read, after)) = write.loser {
        actions.push(Action::UpdateUser(read, after, Compared::Known));
    }
    if let Some(before) = write.before
        && write.recorded_claim != RecordedClaim::Anothers
        && let Some(held) = claim_to_release(before)
        && wanted.as_ref() != Some(&held)
    {
        actions.push(Action::Release(held, before.user_id()));
    }
    actions
}

fn user_action<'a>(write: &Write<'a>) -> Option<Action<'a>> {
    Some(match (write.before, write.after) {
        (None, None) => Action::CheckUser(write.vacant?.as_str(), None),
        (None, Some(after)) => Action::PutUser(after),
        // If another client wrote `_userService`, there is no new revision. The users can be equal.
        (Some(before), Some(after)) if before == after => {
            Action::CheckUser(before.user_id(), Some(before))
        }
        (Some(before), Some(after)) => Action::UpdateUser(before, after, write.compared),
        (Some(before), None) => Action::DeleteUser(before),
    })
}

/// Converts failed conditions to a refusal. `found` has one element for each of `actions`: the
/// stored item if the condition failed, else `None`.
fn refusal(actions: &[Action<'_>], found: Vec<Option<Item>>, keeps_claims: bool) -> Refusal {
    let (mut exists, mut deleted, mut recorded) = (None, None, None);
    let (mut email, mut claim_is_anothers) = (false, false);
    for (action, found) in actions.iter().zip(found) {
        let Some(found) = found else { continue };
        match action {
            Action::UpdateUser(..)
            | Action::DeleteUser(_)
            | Action::CheckUser(..)
            | Action::TakeDeleted(_)
            | Action::DropDeleted(_)
            | Action::PutDeleted(_)
            | Action::PutHistory(_) => return Refusal::Overtaken,
            #[cfg(feature = "local")]
            Action::RenewDeleted(..) => return Refusal::Overtaken,
            // The claim to take is no longer that of the user who was read.
            Action::Claim(_, user_id, holder) if user_id != holder => return Refusal::Overtaken,
            Action::PutRecord(_) => recorded = Some(found),
            Action::PutUser(new) => {
                // The claim's condition holds if the stored user holds the claim, because both
                // users have the same `userId`. So this compares the addresses.
                let stored = user(found.into_inner());
                email |= keeps_claims
                    && new.email_key().is_some()
                    && stored.email_key() == new.email_key();
                exists = Some(Box::new(stored));
            }
            Action::CheckNoDeleted(..) => deleted = Some(found),
            Action::Claim(..) => email = true,
            Action::Release(..) => claim_is_anothers = true,
        }
    }
    if let Some(record) = recorded {
        match IdempotencyRecord::from_item(record) {
            Ok(record) => WriteError::Recorded(Box::new(record)).into(),
            Err(error) => error.into(),
        }
    } else if let Some(stored) = exists {
        WriteError::UserExists { stored, email }.into()
    } else if let Some(deleted) = deleted {
        match DeletedUser::from_attributes(deleted.into_inner()) {
            Some(deleted) => WriteError::UserDeleted(Box::new(deleted)).into(),
            None => {
                let cause = "the item of the deleted user cannot be read";
                Error::Failed(cause.to_owned()).into()
            }
        }
    } else if email || !claim_is_anothers {
        WriteError::EmailTaken.into()
    } else {
        Refusal::ClaimIsAnothers
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;
    use crate::user::Actor;

    fn stored(item: Value) -> User {
        let item: Item = serde_json::from_value(item).unwrap();
        user(item.into_inner())
    }

    /// A user with this address. The user holds the claim on `held`.
    fn claimed(email: &str, held: &str) -> User {
        stored(json!({
            "userId": { "S": "1" },
            "email": { "S": email },
            "_userService": { "M": { "revision": { "S": "a" }, "emailKey": { "S": held } } },
        }))
    }

    /// A user whose item has no record of a claim.
    fn legacy(email: &str) -> User {
        stored(json!({ "userId": { "S": "1" }, "email": { "S": email } }))
    }

    fn write<'a>(before: Option<&'a User>, after: Option<&'a User>) -> Write<'a> {
        Write {
            before,
            after,
            compared: Compared::Known,
            refuses_deleted: false,
            record: None,
            recorded_claim: RecordedClaim::Own,
            loser: None,
            follows: None,
            vacant: None,
            taken: None,
            erases: false,
            author: Author {
                actor: &Actor::Command("test"),
                request_id: "",
                user_id: None,
            },
            now: Timestamp::from(UNIX_EPOCH),
        }
    }

    /// The claims that a write makes, and the claims that it releases.
    fn claims(before: Option<&User>, after: Option<&User>) -> Vec<(&'static str, String)> {
        let claims = actions(&write(before, after), true).into_iter();
        let claims = claims.filter_map(|action| match action {
            Action::Claim(email, ..) => Some(("claims", email.as_str().to_owned())),
            Action::Release(email, _) => Some(("releases", email.as_str().to_owned())),
            Action::PutUser(_)
            | Action::UpdateUser(..)
            | Action::DeleteUser(_)
            | Action::CheckUser(..)
            | Action::PutDeleted(_)
            | Action::RenewDeleted(..)
            | Action::CheckNoDeleted(..)
            | Action::TakeDeleted(_)
            | Action::DropDeleted(_)
            | Action::PutHistory(_)
            | Action::PutRecord(_) => None,
        });
        claims.collect()
    }

    #[test]
    fn a_write_claims_and_releases_what_differs_from_what_the_item_says() {
        let (a, a_again) = (
            claimed("A@example.com", "a@example.com"),
            claimed("a@EXAMPLE.com", "a@example.com"),
        );
        let b = claimed("b@example.com", "b@example.com");
        let moved_by_another_client = claimed("b@example.com", "a@example.com");
        let (old_a, old_b) = (legacy("a@example.com"), legacy("b@example.com"));
        let claims_of = |names: &[(&'static str, &str)]| -> Vec<_> {
            names
                .iter()
                .map(|(what, email)| (*what, (*email).to_owned()))
                .collect()
        };
        let (claims_a, claims_b) = (("claims", "a@example.com"), ("claims", "b@example.com"));
        let releases_a = ("releases", "a@example.com");
        for (before, after, expected) in [
            (None, Some(&a), vec![claims_a]),
            (Some(&a), Some(&a_again), vec![]),
            (Some(&a), Some(&b), vec![claims_b, releases_a]),
            (Some(&a), None, vec![releases_a]),
            (Some(&old_a), Some(&a), vec![claims_a]),
            (Some(&old_a), Some(&old_b), vec![claims_b, releases_a]),
            (Some(&old_a), None, vec![releases_a]),
            (Some(&moved_by_another_client), Some(&a), vec![claims_a]),
            (
                Some(&moved_by_another_client),
                Some(&b),
                vec![claims_b, releases_a],
            ),
            (Some(&moved_by_another_client), None, vec![releases_a]),
        ] {
            assert_eq!(
                claims(before, after),
                claims_of(&expected),
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn a_write_leaves_claims_alone_where_addresses_are_shared_and_where_they_are_anothers() {
        let (a, b) = (
            claimed("a@example.com", "a@example.com"),
            claimed("b@example.com", "b@example.com"),
        );
        let shared = actions(&write(Some(&a), Some(&b)), false);
        assert_eq!(shared, [Action::UpdateUser(&a, &b, Compared::Known)]);
        let anothers = Write {
            recorded_claim: RecordedClaim::Anothers,
            ..write(Some(&a), None)
        };
        assert_eq!(actions(&anothers, true), [Action::DeleteUser(&a)]);
    }

    #[test]
    fn failed_conditions_say_what_is_taken_and_what_has_changed() {
        let (a, b) = (
            claimed("a@example.com", "a@example.com"),
            claimed("b@example.com", "b@example.com"),
        );
        let item = |email: &str| -> Item {
            serde_json::from_value(json!({ "userId": { "S": "1" }, "email": { "S": email } }))
                .unwrap()
        };
        let nothing = || Item::default();
        let create = actions(&write(None, Some(&a)), true);
        let create_itself = Write {
            refuses_deleted: true,
            ..write(None, Some(&a))
        };
        let create_itself = actions(&create_itself, true);
        let deleted = DeletedUser::new(
            a.clone(),
            &Actor::Command("test"),
            WriteId::after(None, Timestamp::from(UNIX_EPOCH)),
            Timestamp::from(UNIX_EPOCH),
            1,
        );
        let deleted_item = || Item::from(deleted.to_attributes());
        let move_to_b = actions(&write(Some(&a), Some(&b)), true);
        let exists = |stored: Item, email| {
            let stored = Box::new(user(stored.into_inner()));
            Refusal::Final(WriteError::UserExists { stored, email })
        };
        let is_deleted = || Refusal::Final(WriteError::UserDeleted(Box::new(deleted.clone())));
        let email_taken = || Refusal::Final(WriteError::EmailTaken);
        for (actions, found, expected) in [
            (
                &create,
                vec![Some(item("b@example.com")), None],
                exists(item("b@example.com"), false),
            ),
            (
                &create,
                vec![Some(item("A@example.com")), None],
                exists(item("A@example.com"), true),
            ),
            (&create, vec![None, Some(nothing())], email_taken()),
            (
                &create_itself,
                vec![None, Some(deleted_item()), Some(nothing())],
                is_deleted(),
            ),
            (
                &create_itself,
                vec![Some(item("b@example.com")), Some(deleted_item()), None],
                exists(item("b@example.com"), false),
            ),
            (
                &move_to_b,
                vec![Some(nothing()), Some(nothing()), None],
                Refusal::Overtaken,
            ),
            (
                &move_to_b,
                vec![None, Some(nothing()), Some(nothing())],
                email_taken(),
            ),
            (
                &move_to_b,
                vec![None, None, Some(nothing())],
                Refusal::ClaimIsAnothers,
            ),
        ] {
            assert_eq!(refusal(actions, found, true), expected);
        }
    }
}
