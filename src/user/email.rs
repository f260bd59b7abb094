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

    /// The key of an address from a request.
    ///
    /// # Errors
    /// What to change, as a phrase that follows the name of the parameter.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let has_both_parts = text
            .rsplit_once('@')
            .is_some_and(|(local_part, domain)| !local_part.is_empty() && !domain.is_empty());
        if !has_both_parts {
            return Err("must be an email address, such as ada@example.com");
        }
        if text.contains(char::is_whitespace) {
            return Err("must not hold spaces; in a query, + is a space, so write + as %2B");
        }
        Self::of(text).ok_or("must be at most 2,048 bytes")
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
    fn an_address_to_look_up_has_both_parts_and_no_spaces() {
        for (text, is_one) in [
            ("ada@example.com", true),
            (" ada+tag@example.com ", true),
            ("a@b@example.com", true),
            ("", false),
            ("ada", false),
            ("@example.com", false),
            (" @example.com", false),
            ("ada@", false),
            ("@", false),
            ("ada tag@example.com", false),
            ("ada@example .com", false),
            ("ada\n@example.com", false),
        ] {
            assert_eq!(EmailKey::parse(text).is_ok(), is_one, "{text}");
        }
    }

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
}
