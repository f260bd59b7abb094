//! The replacement of a user (`PUT`).

use serde_dynamo::AttributeValue;

use super::{
    Error, Field, FieldErrors, User, UserId,
    input::{Reader, UserInput},
    json::Members,
};

/// A user as a client writes it, or sends it back as it has read it. A field that the client may
/// not write must be as it is stored.
#[derive(Clone, Debug)]
pub struct Replacement {
    input: UserInput,
    /// The `version` that the client has read: a condition, like `If-Match`.
    version: Option<AttributeValue>,
    /// Every other attribute that a client may not write.
    read_only: Vec<(String, AttributeValue)>,
}

impl Replacement {
    /// Reads a replacement of the user `addressed`. A `userId` in it must be the same.
    ///
    /// # Errors
    /// All that is wrong.
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

    /// The values of all fields that clients write. If a client sends a value back as answers show
    /// it, the stored value stays. For example, a set stays a set, although answers show an array.
    ///
    /// # Errors
    /// [`Error::OtherVersion`], and [`Error::Invalid`] if it changes what a client may not.
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
