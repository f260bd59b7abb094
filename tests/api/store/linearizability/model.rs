//! What the API says of users where requests come one after the other: the users, their
//! addresses and the record of a key, as a pure function.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checker::Model;

/// How many users one history is about. They compete for addresses.
pub const USERS: usize = 2;

/// An object of the client's own.
pub type Metadata = BTreeMap<String, Option<u32>>;

/// What a client may write of a user.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Input {
    pub name: String,
    pub email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// What a `PATCH` changes: what is `None` stays.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Patch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// What a request says of the state that it is for.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Nothing.
    None,
    /// `If-Match`.
    Tag(String),
    /// `version` in the body of a `PUT`.
    Version(u64),
}

/// A request. A number names the user.
#[derive(Clone, Debug)]
pub enum Call {
    /// `POST`, under the key of the history or without one.
    Create(usize, Input, bool),
    /// `PUT` with `If-None-Match: *`.
    CreateAt(usize, Input),
    /// `PUT`.
    Replace(usize, Input, Condition),
    /// `PATCH`.
    Change(usize, Patch, Condition),
    /// `DELETE`.
    Delete(usize, Condition),
    /// `GET`.
    Read(usize),
    /// `GET /users?email=`.
    LookUp(String),
}

/// A user as it is stored.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct User {
    pub input: Input,
    pub version: u64,
    /// When it was created: `None` while no answer has told.
    pub created_at: Option<String>,
    /// Its entity-tag, which has times in it: `None` while no answer has told.
    pub tag: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The code of a problem, else empty.
    pub code: String,
    /// The user that it shows.
    pub user: Option<(usize, User)>,
}

/// All that is stored of the users of one history.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct State {
    users: [Option<User>; USERS],
    /// What was created under the key of the history.
    record: Option<(usize, User)>,
}

/// What a request comes to.
enum Outcome {
    /// A problem of this status and code. Nothing changes.
    Refused(u16, &'static str),
    /// The user becomes this, and the answer with this status shows it.
    Written(u16, usize, User),
    /// The user is gone.
    Deleted(usize),
    /// The answer with this status shows the user, which stays as it is.
    Shown(usize, User),
    /// The answer shows what was created under the key.
    Repeated(usize, User),
}

/// The users of one history.
pub struct Users;

impl Model for Users {
    type State = State;
    type Call = Call;
    type Answer = Answer;

    fn step(state: &State, call: &Call, answer: Option<&Answer>) -> Option<State> {
        let outcome = state.outcome(call, answer);
        let mut after = state.clone();
        match answer {
            None => after.take(outcome, call).then_some(after),
            Some(answer) => {
                let outcome = outcome.learned(answer)?;
                after.take(outcome, call);
                Some(after)
            }
        }
    }
}

impl State {
    /// The outcome of `call`. `answer` decides where the state does not know the entity-tag that
    /// the call names.
    fn outcome(&self, call: &Call, answer: Option<&Answer>) -> Outcome {
        match call {
            Call::Create(who, input, true) => match &self.record {
                Some((_, user)) if user.input != *input => {
                    Outcome::Refused(422, "idempotency_key_reused")
                }
                Some((whose, _)) if whose != who => Outcome::Refused(422, "idempotency_key_reused"),
                Some((who, user)) => Outcome::Repeated(*who, user.clone()),
                None => self.created(*who, input, (409, "user_exists")),
            },
            Call::Create(who, input, false) => self.created(*who, input, (409, "user_exists")),
            Call::CreateAt(who, input) => self.created(*who, input, (412, "precondition_failed")),
            Call::Replace(who, input, condition) => {
                self.changed(*who, condition, answer, |_| input.clone())
            }
            Call::Change(who, patch, condition) => {
                self.changed(*who, condition, answer, |before| patch.applied_to(before))
            }
            Call::Delete(who, condition) => match &self.users[*who] {
                None => NOT_FOUND,
                Some(user) if !user.meets(condition, answer) => MISMATCH,
                Some(_) => Outcome::Deleted(*who),
            },
            Call::Read(who) => self.shown(Some(*who)),
            Call::LookUp(email) => self.shown(self.holder(email)),
        }
    }

    fn created(&self, who: usize, input: &Input, exists: (u16, &'static str)) -> Outcome {
        if self.users[who].is_some() {
            return Outcome::Refused(exists.0, exists.1);
        }
        if self.holder(&input.email).is_some() {
            return EMAIL_TAKEN;
        }
        let user = User {
            input: input.clone(),
            version: 1,
            created_at: None,
            tag: None,
        };
        Outcome::Written(201, who, user)
    }

    fn changed(
        &self,
        who: usize,
        condition: &Condition,
        answer: Option<&Answer>,
        change: impl FnOnce(&Input) -> Input,
    ) -> Outcome {
        let Some(before) = &self.users[who] else {
            return NOT_FOUND;
        };
        if !before.meets(condition, answer) {
            return MISMATCH;
        }
        let input = change(&before.input);
        if self
            .holder(&input.email)
            .is_some_and(|holder| holder != who)
        {
            return EMAIL_TAKEN;
        }
        let user = User {
            input,
            version: before.version + 1,
            created_at: before.created_at.clone(),
            tag: None,
        };
        Outcome::Written(200, who, user)
    }

    fn shown(&self, who: Option<usize>) -> Outcome {
        match who.and_then(|who| Some((who, self.users[who].clone()?))) {
            Some((who, user)) => Outcome::Shown(who, user),
            None => NOT_FOUND,
        }
    }

    /// Who has the address, in whatever spelling.
    fn holder(&self, email: &str) -> Option<usize> {
        self.users.iter().position(|user| {
            let user = user.as_ref();
            user.is_some_and(|user| user.input.email.eq_ignore_ascii_case(email))
        })
    }

    /// Stores an outcome, and says whether there was anything to store.
    fn take(&mut self, outcome: Outcome, call: &Call) -> bool {
        match outcome {
            Outcome::Refused(..) => return false,
            Outcome::Written(_, who, user) => {
                if let Call::Create(_, _, true) = call {
                    self.record = Some((who, user.clone()));
                }
                self.users[who] = Some(user);
            }
            Outcome::Deleted(who) => self.users[who] = None,
            Outcome::Shown(who, user) => self.users[who] = Some(user),
            Outcome::Repeated(who, user) => self.record = Some((who, user)),
        }
        true
    }
}

const NOT_FOUND: Outcome = Outcome::Refused(404, "user_not_found");
const MISMATCH: Outcome = Outcome::Refused(412, "version_mismatch");
const EMAIL_TAKEN: Outcome = Outcome::Refused(409, "email_taken");

impl Outcome {
    /// The outcome with what `answer` tells: none where the answer is of another outcome.
    fn learned(self, answer: &Answer) -> Option<Self> {
        let told = |status: u16, who: usize, user: &User| {
            let (shown_who, shown) = answer.user.as_ref()?;
            let is_told = answer.status == status && *shown_who == who && user.may_be(shown);
            is_told.then(|| shown.clone())
        };
        match self {
            Self::Refused(status, code) => {
                let is_told = answer.status == status && answer.code == code;
                is_told.then_some(self)
            }
            Self::Deleted(_) => (answer.status == 204).then_some(self),
            Self::Written(status, who, user) => {
                Some(Self::Written(status, who, told(status, who, &user)?))
            }
            Self::Shown(who, user) => Some(Self::Shown(who, told(200, who, &user)?)),
            Self::Repeated(who, user) => Some(Self::Repeated(who, told(201, who, &user)?)),
        }
    }
}

impl User {
    /// Whether it may be the user that is `shown`, as far as it is known.
    fn may_be(&self, shown: &Self) -> bool {
        let may_be = |known: &Option<String>, shown| known.is_none() || known == shown;
        self.input == shown.input
            && self.version == shown.version
            && may_be(&self.created_at, &shown.created_at)
            && may_be(&self.tag, &shown.tag)
    }

    /// Whether it is as the `condition` says. Where its tag is not known, either is possible.
    fn meets(&self, condition: &Condition, answer: Option<&Answer>) -> bool {
        match (condition, &self.tag) {
            (Condition::None, _) => true,
            (Condition::Version(version), _) => self.version == *version,
            (Condition::Tag(tag), Some(own)) => tag == own,
            (Condition::Tag(_), None) => answer.is_none_or(|answer| answer.status != 412),
        }
    }
}

impl Patch {
    fn applied_to(&self, before: &Input) -> Input {
        let mut after = before.clone();
        if let Some(name) = &self.name {
            after.name.clone_from(name);
        }
        if let Some(email) = &self.email {
            after.email.clone_from(email);
        }
        if let Some(patch) = &self.metadata {
            let metadata = after.metadata.get_or_insert_default();
            for (key, value) in patch {
                match value {
                    Some(_) => metadata.insert(key.clone(), *value),
                    None => metadata.remove(key),
                };
            }
        }
        after
    }
}
