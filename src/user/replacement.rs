//! The replacement of a user (`PUT`).

use serde_dynamo::AttributeValue;

use super::{
    Error, Field, FieldErrors, User, UserId,
    input::{Reader, UserInput},
    json::Members,
};

/// All fields that a client writes. The client may also send back read-only fields, but their
/// values must equal the stored values.
#[derive(Clone, Debug)]
pub struct Replacement {
    input: UserInput,
    /// The `version` that the client has read. It is a precondition, like `If-Match`.
    version: Option<AttributeValue>,
    /// All other attributes in the body that a client may not write.
    read_only: Vec<(String, AttributeValue)>,
}

impl Replacement {
    /// Reads a replacement of the user `addressed`. A `userId` in the body must be the same.
    ///
    /// # Errors
    /// All errors in the body.
    pub fn read(members: Members<'_>, addressed: &UserId) -> Result<Self, FieldErrors> {
        let mut reader = Reader::new(members);
        reader.addressed(addressed);
        let (version, read_only) = reader
            .read_only()
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| name == "version");
        Ok(Self {
            input: UserInput::read(reader)?,
            version: version.into_iter().next().map(|(_, version)| version),
            read_only,
        })
    }

    /// The new values of all fields that clients write. If the client sends the value that
    /// responses show, the stored value stays. For example, a set stays a set.
    ///
    /// # Errors
    /// [`Error::OtherVersion`]. [`Error::Invalid`] if the replacement changes a read-only field.
    pub(super) fn fields(
        &self,
        stored: &User,
    ) -> Result<Vec<(&'static str, Option<AttributeValue>)>, Error> {
        let version = self.version.as_ref();
        if version.is_some_and(|version| !stored.is_shown("version", version)) {
            return Err(Error::OtherVersion);
        }
        self.check_read_only(stored)?;
        let fields = Field::of_clients().map(|(name, ..)| {
            let sent = self.input.fields().0.get(name);
            let kept = stored
                .attribute(name)
                .filter(|_| sent.is_some_and(|sent| stored.is_shown(name, sent)));
            (name, kept.or(sent).cloned())
        });
        Ok(fields.collect())
    }

    fn check_read_only(&self, stored: &User) -> Result<(), FieldErrors> {
        let mut errors = FieldErrors::default();
        for (name, sent) in &self.read_only {
            if !stored.is_shown(name, sent) {
                let message = match Field::named(name) {
                    Some(_) => "is kept by the service; leave it out, or send it as GET shows it",
                    None => "is not a field of a user; leave it out, or send it as GET shows it",
                };
                errors.push_field(name, message);
            }
        }
        errors.none_or(())
    }
}
