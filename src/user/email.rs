//! An email address, and when two spellings are the same address.

use icu_normalizer::ComposingNormalizer;

use super::MAX_KEY_BYTES;

/// The normalized form of an email address. All spellings of an address have the same key. Unless
/// users may share an address, at most one user has each key.
///
/// White space around the address is removed. The domain is the part after the last `@`:
///
/// - Domains are compared in their ASCII form, which UTS 46 defines
///   (<https://www.unicode.org/reports/tr46/#ToASCII>, non-transitional). Mail servers look up
///   this form. An old item can have a domain that is not valid in IDNA. Such a domain is
///   compared in NFC and in lower case.
/// - Local parts are compared in NFC, as RFC 6532 section 3.1 recommends, and in lower case. RFC
///   5321 section 2.4 leaves their case to the receiving host, and practically all hosts ignore
///   it. So addresses that differ only in case are one mailbox. Compatibility forms, dots and `+`
///   tags stay as they are, because other spellings can be other mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailKey(String);

impl EmailKey {
    /// The key of the address `email`. `None` if the key is empty, or too long for
    /// DynamoDB.
    pub fn of(email: &str) -> Option<Self> {
        let email = email.trim();
        let key = match email.rsplit_once('@') {
            Some((local_part, domain)) => {
                let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| folded(domain));
                format!("{}@{domain}", folded(local_part))
            }
            None => folded(email),
        };
        Self(key).within_limits()
    }

    /// The key that is stored in an item or a claim. `None` if `key` is empty or too long.
    pub fn stored(key: &str) -> Option<Self> {
        Self(key.to_owned()).within_limits()
    }

    fn within_limits(self) -> Option<Self> {
        (1..=MAX_KEY_BYTES).contains(&self.0.len()).then_some(self)
    }

    /// The key of an address from a query. The address can be that of an old item, which may break
    /// the rules for new addresses. But it has a local part and a domain, and no space, because a
    /// `+` in a query is read as a space.
    ///
    /// # Errors
    /// What to change, as a phrase that follows the name of the parameter.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const NO_ADDRESS: &str = "must be an email address, such as ada@example.com";
        if text.contains(' ') {
            return Err("must not hold a space; in a query, a + is written as %2B");
        }
        let local_part = text.rsplit_once('@').map(|(local_part, _)| local_part);
        let is_blank = |c: char| c.is_control() || c.is_whitespace();
        if local_part.is_none_or(str::is_empty) || text.contains(is_blank) {
            return Err(NO_ADDRESS);
        }
        let key = Self::of(text).ok_or("must be at most 2,048 bytes")?;
        match key.0.ends_with('@') {
            true => Err(NO_ADDRESS),
            false => Ok(key),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` in lower case and in NFC.
fn folded(text: &str) -> String {
    let composed = ComposingNormalizer::new_nfc();
    let lower_case = composed.normalize(text).to_lowercase();
    composed.normalize(&lower_case).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_an_address_have_one_key() {
        for (email, key) in [
            ("ada@example.com", Some("ada@example.com")),
            (" Ada@EXAMPLE.com ", Some("ada@example.com")),
            ("ada@bücher.example", Some("ada@xn--bcher-kva.example")),
            (
                "ada@xn--bcher-kva.example",
                Some("ada@xn--bcher-kva.example"),
            ),
            ("a@b@example.com", Some("a@b@example.com")),
            ("E\u{301}ve@example.com", Some("\u{e9}ve@example.com")),
            ("ada+tag@example.com", Some("ada+tag@example.com")),
            ("no address", Some("no address")),
            (" ", None),
        ] {
            assert_eq!(
                EmailKey::of(email).as_ref().map(EmailKey::as_str),
                key,
                "{email}"
            );
        }
        assert_eq!(EmailKey::of(&"a".repeat(MAX_KEY_BYTES + 1)), None);
    }

    #[test]
    fn a_query_holds_an_address_that_some_item_can_have() {
        const NO_ADDRESS: &str = "must be an email address, such as ada@example.com";
        const SPACE: &str = "must not hold a space; in a query, a + is written as %2B";
        const TOO_LONG: &str = "must be at most 2,048 bytes";
        for (text, key) in [
            ("ada+tag@example.com", Ok("ada+tag@example.com")),
            ("a@b@example.com", Ok("a@b@example.com")),
            ("ada@-", Ok("ada@-")),
            ("a b@example.com", Err(SPACE)),
            (" ada@example.com", Err(SPACE)),
            ("ada@example.com ", Err(SPACE)),
            ("", Err(NO_ADDRESS)),
            ("\t", Err(NO_ADDRESS)),
            ("ada", Err(NO_ADDRESS)),
            ("@", Err(NO_ADDRESS)),
            ("@example.com", Err(NO_ADDRESS)),
            ("ada@", Err(NO_ADDRESS)),
            ("ada@\u{ad}", Err(NO_ADDRESS)),
            ("ada\n@example.com", Err(NO_ADDRESS)),
            (&format!("{}@example.com", "a".repeat(2048)), Err(TOO_LONG)),
        ] {
            let parsed = EmailKey::parse(text);
            assert_eq!(
                parsed.as_ref().map(EmailKey::as_str),
                key.as_ref().copied(),
                "{text:?}"
            );
        }
    }
}
