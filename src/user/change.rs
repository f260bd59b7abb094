//! Changes of a stored user.

use super::{Actor, Error, Replacement, Timestamp, User, UserPatch};

/// A change of a user.
#[derive(Clone, Debug)]
pub enum Change {
    /// All fields that clients write (`PUT`).
    Replacement(Replacement),
    /// Some fields that clients write (`PATCH`).
    Patch(UserPatch),
}

impl Change {
    /// Applies this change to the user `stored`, at the time `now`. Returns the changed user.
    ///
    /// # Errors
    /// [`Error::OtherVersion`]. [`Error::Invalid`] if the change sets a read-only field, or if the
    /// changed user breaks a rule.
    pub fn apply(&self, stored: &User, now: Timestamp, actor: &Actor) -> Result<User, Error> {
        let fields = match self {
            Self::Replacement(replacement) => replacement.fields(stored)?,
            Self::Patch(patch) => patch.fields(stored)?,
        };
        Ok(stored.clone().changed(fields, now, actor))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::{Value, json};

    use super::*;
    use crate::user::{UserId, View, json::Members};

    fn stored(item: Value) -> User {
        let item: serde_dynamo::Item = serde_json::from_value(item).unwrap();
        User::from_attributes(item.into_inner())
    }

    fn actor() -> Actor {
        Actor::User(String::from("1"))
    }

    fn legacy() -> User {
        stored(json!({
            "userId": { "S": "1" },
            "name": { "N": "5" },
            "email": { "S": "ada@example.com" },
            "tags": { "SS": ["b", "a"] },
            "version": { "N": "1.5" },
        }))
    }

    fn change(read: fn(Members<'_>, &UserId, View) -> Change, body: &str) -> Change {
        let user_id = UserId::for_lookup(String::from("1")).unwrap();
        read(serde_json::from_str(body).unwrap(), &user_id, View::Full)
    }

    fn patch(body: &str) -> Change {
        change(
            |members, id, view| Change::Patch(UserPatch::read(members, id, view).unwrap()),
            body,
        )
    }

    fn replacement(body: &str) -> Change {
        change(
            |members, id, view| Change::Replacement(Replacement::read(members, id, view).unwrap()),
            body,
        )
    }

    fn shown(user: &User) -> Value {
        let mut shown = serde_json::Map::new();
        for (name, value) in user.seen_attributes(View::Limited) {
            let value = serde_json::to_value(super::super::json::Json(value)).unwrap();
            shown.insert(name.to_owned(), value);
        }
        Value::Object(shown)
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let now = Timestamp::from(SystemTime::UNIX_EPOCH);
        let time = now.to_string();
        for (change, expected) in [
            (
                patch(r#"{"phone":"+14155550123","metadata":{"a":{"b":1}}}"#),
                json!({
                    "userId": "1", "name": 5, "email": "ada@example.com", "phone": "+14155550123",
                    "metadata": { "a": { "b": 1 } }, "version": 1, "updatedAt": time,
                    "tags": ["a", "b"],
                }),
            ),
            (
                replacement(r#"{"name":" Ada ","email":"a@example.com","tags":["b","a"]}"#),
                json!({
                    "userId": "1", "name": "Ada", "email": "a@example.com", "version": 1,
                    "updatedAt": time, "tags": ["a", "b"],
                }),
            ),
        ] {
            let changed = change.apply(&legacy(), now, &actor()).unwrap();
            assert_eq!(shown(&changed), expected);
        }
    }

    #[test]
    fn a_patch_merges_objects_and_removes_what_is_null() {
        let now = Timestamp::from(SystemTime::UNIX_EPOCH);
        let user = patch(r#"{"metadata":{"a":{"b":1,"c":2},"d":3},"phone":"+12"}"#)
            .apply(&legacy(), now, &actor())
            .unwrap();
        let user = patch(r#"{"metadata":{"a":{"b":null,"e":4},"d":null},"phone":null}"#)
            .apply(&user, now, &actor())
            .unwrap();
        assert_eq!(shown(&user)["metadata"], json!({ "a": { "c": 2, "e": 4 } }));
        assert_eq!(shown(&user)["version"], 2);
        assert_eq!(shown(&user).get("phone"), None);
    }

    #[test]
    fn a_replacement_with_another_version_or_another_read_only_field_is_refused() {
        let now = Timestamp::from(SystemTime::UNIX_EPOCH);
        for (body, error) in [
            (
                r#"{"name":"A","email":"a@example.com","version":2}"#,
                Error::OtherVersion,
            ),
            (
                r#"{"name":"A","email":"a@example.com","tags":["c"]}"#,
                Error::Invalid(FieldErrors::of(
                    "tags",
                    "is not a field of a user; leave it out, or send it as GET shows it",
                )),
            ),
        ] {
            assert_eq!(
                replacement(body).apply(&legacy(), now, &actor()),
                Err(error),
                "{body}"
            );
        }
    }

    use super::super::FieldErrors;
}
